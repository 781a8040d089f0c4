-- include: keys
-- Permit no request to a CRM for a time; a longer one that was asked for stays. ARGV[1]: the source.
-- ARGV[2]: for how long, ms. ARGV[3]: '1': no write-back, and reads go on.
even_when_full()
local key = P .. (ARGV[3] == '1' and 'crm_slow_writes:' or 'crm_slow:') .. ARGV[1]
if redis.call('PTTL', key) < tonumber(ARGV[2]) then redis.call('SET', key, '1', 'PX', ARGV[2]) end
return 1
