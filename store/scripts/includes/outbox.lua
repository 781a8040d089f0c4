-- include: keys, time
-- The messages about alerts that must still be sent, by id, and when each is due.
local OUT, DUE = P .. 'alerts:out', P .. 'due:alert'

-- The number of each message in the outbox, by id. A new message gets a higher number than all before
-- it, so neither a clock that is set back nor two changes at one time break the order.
local numbers, last = {}, 0

local function read_outbox()
  local flat = redis.call('HGETALL', OUT)
  for i = 1, #flat, 2 do
    numbers[flat[i]] = cjson.decode(flat[i + 1]).number or 0  -- 0: an older release wrote it
    last = math.max(last, numbers[flat[i]])
  end
end

-- Put a message into the outbox, due now; read_outbox() was called before. Messages of one name are
-- sent in their order.
local function send(us, name, kind, facts, is_over)
  local id = 'msg_' .. string.sub(redis.sha1hex(whole(us) .. ' ' .. kind .. ' ' .. name), 1, 24)
  local now = math.floor(us / 1000)
  last = last + 1
  numbers[id] = last
  local message = {name = name, number = last, type = kind, facts = facts, at_ms = now,
    is_over = is_over, tries = 0}
  redis.call('HSET', OUT, id, cjson.encode(message))
  redis.call('ZADD', DUE, whole(now), id)
end

-- DUE does not show which messages are the oldest: a failed one is due long after a new one.
local function forget_oldest(kept_max)
  local ids = {}
  for id in pairs(numbers) do ids[#ids + 1] = id end
  table.sort(ids, function(a, b) return numbers[a] < numbers[b] end)
  for i = 1, #ids - kept_max do
    redis.call('HDEL', OUT, ids[i])
    redis.call('ZREM', DUE, ids[i])
  end
end
