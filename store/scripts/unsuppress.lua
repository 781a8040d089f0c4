-- include: keys
-- Delete a suppression. ARGV[1]: its keyed hash. Returns 1: there was one; 0: there was none.
even_when_full()
redis.call('ZREM', P .. 'suppressions', ARGV[1])
return redis.call('HDEL', P .. 'suppressed', ARGV[1])
