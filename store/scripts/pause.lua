-- include: keys
-- Pause a scope; a scope that is paused already keeps its first reason.
--
-- ARGV[1]: the scope. ARGV[2]: the pause's record, JSON. Returns 1 if the pause is new, else 0.
even_when_full()
return redis.call('HSETNX', P .. 'pauses', ARGV[1], ARGV[2])
