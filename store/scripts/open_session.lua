-- include: keys
-- Keep a session of the dashboard: people must get in while Redis is full, too.
--
-- ARGV[1]: the keyed hash of its id. ARGV[2]: its record, JSON. ARGV[3]: for how long, s.
even_when_full()
redis.call('SET', P .. 'session:' .. ARGV[1], ARGV[2], 'EX', ARGV[3])
