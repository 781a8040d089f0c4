-- include: keys
-- Keep the id of the CRM's record of a call with the delivery, unless that is gone or its person was erased.
-- ARGV[1]: the delivery. ARGV[2]: the call_sid; '': it has none. ARGV[3]: the CRM's id.
even_when_full()
local key = P .. 'delivery:' .. ARGV[1]
local got = redis.call('HMGET', key, 'status', 'erased_ms')
if not got[1] or got[2] then return 0 end
redis.call('HSET', key, 'crm_call:' .. ARGV[2], ARGV[3])
return 1
