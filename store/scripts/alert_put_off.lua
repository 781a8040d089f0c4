-- Let a message that was not taken be due later, unless it is given up for what waits behind it.
--
-- A newer message of its name waits for it (alert_claim.lua). One that a receiver never takes would
-- keep a new pause from being told for all of its tries; so after a while it goes, and the newer one
-- is sent. The newest of a name has all of its tries, and one that is over says what it was.
--
-- ARGV[1]: id. ARGV[2]: how much later, ms. ARGV[3]: how old it may be with a newer one behind, ms.
-- Returns 1; 0: it is given up, or was forgotten meanwhile.
even_when_full()
local id, wait_ms, holds_up_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = math.floor(now_us() / 1000)
local OUT, DUE = P .. 'alerts:out', P .. 'due:alert'

local function holds_up_another(message)
  for _, record in ipairs(redis.call('HVALS', OUT)) do
    local other = cjson.decode(record)
    if other.name == message.name and (other.number or 0) > (message.number or 0) then return true end
  end
  return false
end

local record = redis.call('HGET', OUT, id)
if not record then return 0 end
local message = cjson.decode(record)
if now - message.at_ms > holds_up_ms and holds_up_another(message) then
  redis.call('HDEL', OUT, id)
  redis.call('ZREM', DUE, id)
  return 0
end
redis.call('ZADD', DUE, whole(now + wait_ms), id)
return 1
