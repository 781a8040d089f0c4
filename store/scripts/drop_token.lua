-- include: keys
-- Delete an access token that its CRM refused, unless another worker has got a new one meanwhile: Zoho gives ten
-- in ten minutes. ARGV[1]: the source. ARGV[2]: the token that was refused.
even_when_full()
local key = P .. 'token:' .. ARGV[1]
local is_read, kept = pcall(cjson.decode, redis.call('GET', key) or '{}')
if is_read and kept.token ~= ARGV[2] then return 0 end
return redis.call('DEL', key)
