-- include: keys, write_back_id
-- Remove a delivery from each set that due.lua writes.
local function unset_due(id)
  if is_write_back(id) then return redis.call('ZREM', P .. 'due:write_back', id) end
  redis.call('ZREM', P .. 'due', id)
  redis.call('ZREM', P .. 'due:retry', id)
  redis.call('ZREM', P .. 'due:cancel', id)
end
