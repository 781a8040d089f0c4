-- include: keys, outcome_index, write_back_id, index_changes
local ALL_STATUSES = {'queued', 'held', 'sending', 'retrying', 'unknown', 'delivered', 'skipped', 'failed', 'cancelled'}

-- Remove a delivery from each index that needs no field of it. Returns from how many.
local function forget(id)
  pcall(write_indexes)  -- what this script noted of it must not be written later
  forget_scores(id)
  if is_write_back(id) then
    local known = redis.call('ZREM', P .. 'write_backs', id) + redis.call('ZREM', P .. 'due:write_back', id)
      + redis.call('ZREM', P .. 'leased', id)
    for _, status in ipairs(ALL_STATUSES) do
      known = known + redis.call('ZREM', P .. 'write_backs:status:' .. status, id)
    end
    return known
  end
  local known = redis.call('ZREM', P .. 'deliveries', id) + redis.call('ZREM', P .. 'due', id)
    + redis.call('ZREM', P .. 'due:retry', id) + redis.call('ZREM', P .. 'due:cancel', id)
    + redis.call('ZREM', P .. 'leased', id) + redis.call('ZREM', P .. 'bulk', id)
  for _, status in ipairs(ALL_STATUSES) do
    known = known + redis.call('ZREM', P .. 'deliveries:status:' .. status, id)
  end
  for _, place in ipairs(OUTCOME_PLACES) do known = known + leave_outcome(place, id) end
  return known
end

-- Delete write-backs, by their ids, one a line.
local function forget_write_backs(ids)
  for id in string.gmatch(ids or '', '[^\n]+') do
    forget(id)
    redis.call('DEL', write_back_key(id))
  end
end
