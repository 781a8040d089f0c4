-- Forget that a number was not to be called. ARGV[1]: its keyed hash. Returns 1: it was suppressed.
even_when_full()
redis.call('ZREM', P .. 'suppressions', ARGV[1])
return redis.call('HDEL', P .. 'suppressed', ARGV[1])
