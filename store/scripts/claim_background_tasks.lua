-- include: keys, time
-- Lease the background tasks that are due to one worker. If the worker dies, the lease runs out and
-- another worker takes the task.
--
-- ARGV[1]: at most how many. ARGV[2]: the lease, ms. Returns {id, record, id, record...}.
even_when_full()
local now = now_ms()
local found = {}
for _, id in ipairs(redis.call('ZRANGE', P .. 'due:background_task', '-inf', whole(now), 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  local record = redis.call('HGET', P .. 'background_tasks', id)
  if record then
    redis.call('ZADD', P .. 'due:background_task', whole(now + tonumber(ARGV[2])), id)
    found[#found + 1] = id
    found[#found + 1] = record
  else
    redis.call('ZREM', P .. 'due:background_task', id)
  end
end
return found
