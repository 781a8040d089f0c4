-- include: keys, time
-- Lease the message that may be sent now and is due for the longest, so that only one of many workers
-- sends it.
--
-- A message waits while an older one of its name (of the same pause, the same source) is in the
-- outbox: a receiver that gets "resolved" first and "began" after it thinks that the trouble goes on.
-- If something began and ended while the receiver was away, it gets both messages.
-- alert_put_off.lua limits how long a message may block the others of its name. Messages of different
-- names do not wait for each other.
--
-- ARGV[1]: the lease, ms; 0: only look. ARGV[2]: at most how many tries a message has.
-- Returns {id, record}, see alert.lua; {}: no message may be sent now.
even_when_full()
local lease_ms, tries_max = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = now_ms()
local OUT, DUE = P .. 'alerts:out', P .. 'due:alert'

local function due_ms(id) return tonumber(redis.call('ZSCORE', DUE, id) or 0) end

local function older(a, b)
  if a and a.message.number < b.message.number then return a end
  return b
end

local function forget(id)
  redis.call('HDEL', OUT, id)
  redis.call('ZREM', DUE, id)
end

local first = {}  -- by name
local flat = redis.call('HGETALL', OUT)
for i = 1, #flat, 2 do
  local one = {id = flat[i], record = flat[i + 1], message = cjson.decode(flat[i + 1])}
  -- A message of an older release has neither, and waits for no other.
  one.message.number, one.message.name = one.message.number or 0, one.message.name or one.id
  one.due_ms = due_ms(one.id)
  -- A sender removes a message after its last try. If it is still here, each sender died while it sent
  -- it, or a release that can't read it claims it. It must not block the others for ever.
  if one.message.tries >= tries_max and one.due_ms <= now then
    forget(one.id)
  else
    first[one.message.name] = older(first[one.message.name], one)
  end
end

local found
for _, one in pairs(first) do
  if one.due_ms <= now and (not found or one.due_ms < found.due_ms) then found = one end
end
if not found then return {} end
if lease_ms > 0 then
  found.message.tries = found.message.tries + 1
  redis.call('HSET', OUT, found.id, cjson.encode(found.message))
  redis.call('ZADD', DUE, whole(now + lease_ms), found.id)
end
return {found.id, found.record}
