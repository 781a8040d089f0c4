-- include: keys
-- Permit no request to a CRM for a time; a longer one that was asked for stays. ARGV[1]: the source.
-- ARGV[2]: for how long, ms.
even_when_full()
local key = P .. 'crm_slow:' .. ARGV[1]
if redis.call('PTTL', key) < tonumber(ARGV[2]) then redis.call('SET', key, '1', 'PX', ARGV[2]) end
return 1
