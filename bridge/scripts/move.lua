-- Move deliveries from status to status, each one by compare-and-set on (lease, status).
--
-- ARGV[1]: JSON, a list of moves:
--   id, to, from = {status = true}: where it may come from
--   lease: the number it was claimed under; absent: a person moves it
--   reason, message, set = {field = value}: what to write beside the status
--   wait_ms or due_ms: when to look at it again; absent: it is nobody's to claim
--   attempt = {number, record}: the attempt to write down (record: JSON)
--   needs_ms: for `sending`: how much of the lease must be left
--   phone: the keyed hash to list it by; awaits: the campaign key it waits for
-- ARGV[2]: requests/s to CallKaro over all workers; 0: no cap.
-- Returns for each: 'ok', 'stale' (another lease), 'refused <status>', 'gone', 'late' (too little
-- of the lease is left), or 'wait <ms>' (the rate cap).
local moves = cjson.decode(ARGV[1])
local rate = tonumber(ARGV[2])
local now = math.floor(now_us() / 1000)
-- A rate cap that may only be met to the millisecond would be lost to the workers' own pace.
local SLACK_MS = 20

local function rate_wait_ms()
  if rate <= 0 then return 0 end
  local free_at = math.max(tonumber(redis.call('GET', P .. 'rate') or '0'), now - SLACK_MS)
  if free_at > now then return math.ceil(free_at - now) end
  redis.call('SET', P .. 'rate', string.format('%.3f', free_at + 1000 / rate), 'PX', 60000)
  return 0
end

local function move(m)
  local key = P .. 'delivery:' .. m.id
  local found = redis.call('HMGET', key, 'status', 'lease', 'order', 'reason', 'timeline')
  local status, order, reason, timeline = found[1], found[3], found[4] or nil, found[5] or ''
  if not status then return 'gone' end
  if m.attempt and m.to ~= 'sending' then
    -- Evidence is never thrown away, not even that of a worker that lost its lease.
    redis.call('HSET', key, 'attempt:' .. m.attempt.number, m.attempt.record)
  end
  if m.lease and tonumber(found[2]) ~= m.lease and m.to ~= 'delivered' then return 'stale' end
  if not m.from[status] then return 'refused ' .. status end

  local write = {'status', m.to}  -- one HSET for all: a command each was a third of the work
  local function set(field, value)
    write[#write + 1] = field
    write[#write + 1] = value
  end
  if m.to == 'sending' then
    local ends = tonumber(redis.call('ZSCORE', P .. 'leased', m.id) or '0')
    if ends - now < m.needs_ms then return 'late' end
    local wait = rate_wait_ms()
    if wait > 0 then return 'wait ' .. wait end
    set('attempt:' .. m.attempt.number, m.attempt.record)
  else
    redis.call('ZREM', P .. 'leased', m.id)
  end
  if m.reason then set('reason', m.reason) end
  if m.message then set('message', m.message) end
  for field, value in pairs(m.set or {}) do set(field, value) end
  if m.to == 'held' then set('held_since_ms', string.format('%.0f', now)) end
  if m.phone then
    set('phone', m.phone)
    redis.call('ZADD', P .. 'deliveries:phone:' .. m.phone, order, m.id)
  end
  if m.awaits then
    redis.call('SADD', P .. 'awaiting:' .. m.awaits, m.id)
    redis.call('EXPIRE', P .. 'awaiting:' .. m.awaits, 86400)  -- it looks again by itself, too
  end
  local due = m.due_ms or (m.wait_ms and now + m.wait_ms)
  -- The campaign may have come since the worker looked, and then nobody would wake it.
  if m.awaits and redis.call('EXISTS', P .. 'campaign:' .. m.awaits) == 1 then due = now end
  if due then
    local due_text = string.format('%.0f', due)
    set('next_ms', due_text)
    redis.call('ZADD', P .. 'due', due_text, m.id)
  else
    redis.call('ZREM', P .. 'due', m.id)
  end
  if status ~= m.to or reason ~= m.reason then
    set('timeline', noted(timeline, now, m.to, m.reason))
  end
  index_status(m.id, order, status, m.to)
  redis.call('HDEL', key, 'reason', 'message', 'next_ms')
  redis.call('HSET', key, unpack(write))
  return 'ok'
end

local results = {}
for i, m in ipairs(moves) do results[i] = move(m) end
return results
