-- include: keys, time
-- Make a message that the receiver did not take due later, or drop it for the newer one behind it.
--
-- A newer message of its name waits for it (alert_claim.lua). A message that a receiver never takes
-- would delay the news of a new pause for all of its tries. So it is dropped after a while, and the
-- newer one is sent. The newest message of a name gets all of its tries, and a "resolved" message says
-- what began.
--
-- ARGV[1]: id. ARGV[2]: how much later, ms. ARGV[3]: how old it may be with a newer one behind it, ms.
-- Returns 1; 0: it was dropped, or is gone.
even_when_full()
local id, wait_ms, blocks_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
local OUT, DUE = P .. 'alerts:out', P .. 'due:alert'

local function blocks_another(message)
  for _, record in ipairs(redis.call('HVALS', OUT)) do
    local other = cjson.decode(record)
    if other.name == message.name and (other.number or 0) > (message.number or 0) then return true end
  end
  return false
end

local record = redis.call('HGET', OUT, id)
if not record then return 0 end
local message = cjson.decode(record)
if now - message.at_ms > blocks_ms and blocks_another(message) then
  redis.call('HDEL', OUT, id)
  redis.call('ZREM', DUE, id)
  return 0
end
redis.call('ZADD', DUE, whole(now + wait_ms), id)
return 1
