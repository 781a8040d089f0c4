-- Put in front of every script. Scripts take the time from Redis, so that processes whose clocks
-- differ agree on what is due and whose lease is over.
local P = 'bridge:'

local function now_us()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

-- What a delivery can be listed by; `order` (its place in time, in us) is the score in all of them.
local function index_status(id, order, from, to)
  if from == to then return end
  if from then redis.call('ZREM', P .. 'deliveries:status:' .. from, id) end
  redis.call('ZADD', P .. 'deliveries:status:' .. to, order, id)
end

-- The timeline is a line a change: "<ms> <status> <reason>". Cut at 8 kB: a delivery that changes
-- more often than that is in a loop, and its first changes tell more than its last ones.
local function noted(timeline, now_ms, status, reason)
  if #timeline > 8000 then return timeline end
  return timeline .. string.format('%.0f %s %s\n', now_ms, status, reason or '')
end

local function note(key, now_ms, status, reason)
  local timeline = redis.call('HGET', key, 'timeline') or ''
  redis.call('HSET', key, 'timeline', noted(timeline, now_ms, status, reason))
end
