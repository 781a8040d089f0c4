-- Lease the errands that are due to one worker; whoever dies over one leaves it to the next.
--
-- ARGV[1]: how many at the most. ARGV[2]: the lease, ms. Returns {id, record, id, record...}.
even_when_full()
local now = math.floor(now_us() / 1000)
local found = {}
for _, id in ipairs(redis.call('ZRANGE', P .. 'due:errand', '-inf', whole(now), 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  local record = redis.call('HGET', P .. 'errands', id)
  if record then
    redis.call('ZADD', P .. 'due:errand', whole(now + tonumber(ARGV[2])), id)
    found[#found + 1] = id
    found[#found + 1] = record
  else
    redis.call('ZREM', P .. 'due:errand', id)
  end
end
return found
