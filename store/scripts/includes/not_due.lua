-- include: keys
-- Remove a delivery from each set that due.lua writes.
local function unset_due(id)
  redis.call('ZREM', P .. 'due', id)
  redis.call('ZREM', P .. 'due:retry', id)
  redis.call('ZREM', P .. 'due:cancel', id)
end
