-- Take a right that one at a time may have. ARGV[1]: its key's rest. ARGV[2]: for how long, ms.
-- Returns 1: it is ours; 0: somebody has it.
even_when_full()
return redis.call('SET', P .. ARGV[1], '1', 'NX', 'PX', ARGV[2]) and 1 or 0
