-- Lease the messages that are due, so that of many workers one sends each.
-- ARGV[1]: how many. ARGV[2]: for how long, ms. Returns id, record, id, record…: see alert.lua.
even_when_full()
local now = math.floor(now_us() / 1000)
local OUT, DUE = P .. 'alerts:out', P .. 'due:alert'
local claimed = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', whole(now), 'LIMIT', 0, ARGV[1])) do
  local record = redis.call('HGET', OUT, id)
  if record then
    local message = cjson.decode(record)
    message.tries = message.tries + 1
    redis.call('HSET', OUT, id, cjson.encode(message))
    redis.call('ZADD', DUE, whole(now + tonumber(ARGV[2])), id)
    claimed[#claimed + 1] = id
    claimed[#claimed + 1] = record
  else
    redis.call('ZREM', DUE, id)
  end
end
return claimed
