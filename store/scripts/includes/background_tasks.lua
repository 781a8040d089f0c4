-- include: keys, time
-- Keep a background task: work for an event or a person besides deliveries.
local function put_background_task(id, record, due_ms)
  redis.call('HSET', P .. 'background_tasks', id, record)
  redis.call('ZADD', P .. 'due:background_task', whole(due_ms), id)
end
