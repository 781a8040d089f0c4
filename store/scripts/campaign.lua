-- Keep a campaign under its key: the first stored batch_id wins. Whoever waited for it is due.
--
-- ARGV[1]: the key. ARGV[2]: the batch_id. ARGV[3]: the campaign's record, JSON.
-- Returns the batch_id that is kept.
even_when_full()
local key = P .. 'campaign:' .. ARGV[1]
if redis.call('HSETNX', key, 'batch_id', ARGV[2]) == 1 then
  redis.call('HSET', key, 'record', ARGV[3])
  redis.call('ZADD', P .. 'campaigns', now_us(), ARGV[1])
end
redis.call('DEL', P .. 'campaign-lock:' .. ARGV[1])
local now = math.floor(now_us() / 1000)
local waiting = redis.call('SMEMBERS', P .. 'awaiting:' .. ARGV[1])
for _, id in ipairs(waiting) do
  if redis.call('ZSCORE', P .. 'due', id) then
    redis.call('ZADD', P .. 'due', now, id)
    redis.call('HSET', P .. 'delivery:' .. id, 'next_ms', string.format('%.0f', now))
  end
end
redis.call('DEL', P .. 'awaiting:' .. ARGV[1])
return redis.call('HGET', key, 'batch_id')
