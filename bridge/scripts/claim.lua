-- Lease what is due to one worker: due -> leased, and the lease number goes up, which fences off
-- whoever had the delivery before.
--
-- ARGV[1]: how many at the most. ARGV[2]: the lease, ms. Returns {now_ms, claim...}, a claim being
-- {id, lease, delivery's fields (flat), event's record}.
local now = math.floor(now_us() / 1000)
local ends = now + tonumber(ARGV[2])
local claims = {string.format('%.0f', now)}
local waiting = {queued = true, held = true, retrying = true}

local due = redis.call('ZRANGE', P .. 'due', '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, id in ipairs(due) do
  local key = P .. 'delivery:' .. id
  local found = redis.call('HMGET', key, 'status', 'order', 'reason', 'held_since_ms', 'event')
  local status, order = found[1], found[2]
  redis.call('ZREM', P .. 'due', id)
  -- Settled meanwhile, or its record is gone: nothing to do, and no longer due.
  if status and waiting[status] then
    if status == 'held' then
      index_status(id, order, status, 'queued')
      note(key, now, 'queued')
      -- Time held for lawful hours does not make an event too old.
      if found[3] == 'outside_hours' and found[4] then
        redis.call('HINCRBY', key, 'held_ms', string.format('%.0f', now - tonumber(found[4])))
      end
      redis.call('HSET', key, 'status', 'queued')
      redis.call('HDEL', key, 'reason', 'message', 'held_since_ms')
    end
    redis.call('HDEL', key, 'next_ms')
    redis.call('ZADD', P .. 'leased', ends, id)
    local lease = redis.call('HINCRBY', key, 'lease', 1)
    local event = redis.call('HGET', P .. 'event:' .. found[5], 'record')
    claims[#claims + 1] = {id, lease, redis.call('HGETALL', key), event or ''}
  end
end
return claims
