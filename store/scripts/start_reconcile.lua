-- include: keys, time, background_tasks
-- Keep a reconcile with the background task that does it, unless one of its source runs.
--
-- One that has no task any more does not run: the task of the one before may have been ended just when
-- this one began.
-- ARGV[1]: the source. ARGV[2]: the run's record. ARGV[3], ARGV[4]: the task's id and record.
-- ARGV[5..]: the statuses of one that runs.
-- Returns 1, or 0 if one runs.
local latest = redis.call('HGET', P .. 'reconciles', ARGV[1])
local status = latest and cjson.decode(latest).status
for i = 5, #ARGV do
  if status == ARGV[i] and redis.call('HEXISTS', P .. 'background_tasks', ARGV[3]) == 1 then return 0 end
end
redis.call('HSET', P .. 'reconciles', ARGV[1], ARGV[2])
put_background_task(ARGV[3], ARGV[4], now_ms())
return 1
