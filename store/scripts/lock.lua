-- include: keys
-- Take a lock. ARGV[1]: its key, without the prefix. ARGV[2]: for how long, ms.
-- Returns 1: the caller has it now; 0: another process has it.
even_when_full()
return redis.call('SET', P .. ARGV[1], '1', 'NX', 'PX', ARGV[2]) and 1 or 0
