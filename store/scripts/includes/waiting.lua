-- include: keys, time, pauses
local LOOKED_AT = 50  -- at most this many of each index are read

-- Return since when a delivery could have been sent, ms; nil: its time has not come. due_ms: its place
-- in a due set. What waits by its own delay, for its hours, for the time that CallKaro or a CRM asked
-- for, or for the end of a pause is not late. Time that it was held does not count.
local function waits_since(id, now, due_ms)
  local found = redis.call('HMGET', P .. 'delivery:' .. id, 'next_ms', 'first_ms', 'waiting_since_ms',
    'held_ms', 'paused_ms', 'not_before_ms', 'source', 'route', 'event')
  if not found[7] or pause_of(found[7], found[8], found[9]) then return nil end
  local since = tonumber(found[1] or '')
  if due_ms then since = math.min(since or due_ms, due_ms) end
  local free = (tonumber(found[4] or '') or 0) + (tonumber(found[5] or '') or 0)
  for i = 2, 3 do
    local tried = tonumber(found[i] or '')
    if tried then since = math.min(since or now, tried + free) end
  end
  if since then since = math.max(since, tonumber(found[6] or '') or since) end
  return since and since <= now and since or nil
end

-- Return since when the oldest delivery waits that could have been sent, ms; nil: none does.
local function oldest_waiting(now)
  local oldest
  local function look_at(id, due_ms)
    local since = waits_since(id, now, due_ms)
    if since and (not oldest or since < oldest) then oldest = since end
  end
  for _, name in ipairs({'due', 'due:retry'}) do
    local due = redis.call('ZRANGE', P .. name, '-inf', whole(now), 'BYSCORE', 'LIMIT', 0, LOOKED_AT, 'WITHSCORES')
    for i = 1, #due, 2 do look_at(due[i], tonumber(due[i + 1])) end
  end
  for _, status in ipairs({'queued', 'retrying'}) do
    for _, id in ipairs(redis.call('ZRANGE', P .. 'deliveries:status:' .. status, 0, LOOKED_AT - 1)) do
      look_at(id)
    end
  end
  return oldest
end
