-- include: keys, not_due, status_index, timeline_note, outcomes, figures, index_changes
-- bridge:early_outcome:<id> has the outcomes that arrived before the record of their delivery or
-- call. It may also have a mark_unknown: see move.lua.

-- Redis had lost this delivery, and nobody knows whether its call was made. A person decides.
local function mark_unknown(id, message, now)
  local key = P .. 'delivery:' .. id
  local got = redis.call('HMGET', key, 'status', 'order')
  if got[1] ~= 'queued' and got[1] ~= 'held' and got[1] ~= 'retrying' then return end
  unset_due(id)
  redis.call('HDEL', key, 'next_ms', 'held_since_ms', 'paused_by')
  redis.call('HSET', key, 'status', 'unknown', 'reason', 'worker_died', 'message', message)
  index_status(id, got[2], got[1], 'unknown')
  note(key, now, 'unknown', 'worker_died')
  count_figures(id, now)
end

local has_no_early = {}  -- by name: true: there are no early outcomes

-- Look for early outcomes of all these deliveries or calls, in one command if there are none.
local function look_for_early_outcomes(names)
  for first = 1, #names, AT_ONCE do
    local part, keys = {unpack(names, first, math.min(first + AT_ONCE - 1, #names))}, {}
    for i, name in ipairs(part) do keys[i] = P .. 'early_outcome:' .. name end
    local is_none = redis.call('EXISTS', unpack(keys)) == 0
    for _, name in ipairs(part) do has_no_early[name] = is_none end
  end
end

-- Attach the outcomes that arrived early to their delivery. name: its id, or the call_sid of its
-- call. Returns whether there were any.
local function attach_early_outcomes(id, name, now)
  if has_no_early[name] then return false end
  local key = P .. 'early_outcome:' .. name
  if redis.call('EXISTS', key) == 0 then return false end
  for _, kept in ipairs(redis.call('HVALS', key)) do
    local o = cjson.decode(kept)
    if o.mark_unknown then mark_unknown(id, o.message, now) else take_outcome(id, o, now) end
  end
  redis.call('DEL', key)
  return true
end
