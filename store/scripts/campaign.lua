-- include: keys, time, campaign_names
-- Keep a campaign under its key: the first stored batch_id wins. The deliveries that waited for it
-- become due.
--
-- ARGV[1]: the key. ARGV[2]: the batch_id. ARGV[3]: the campaign's record, JSON. ARGV[4]: its name.
-- Returns the batch_id that is kept.
even_when_full()
local key = P .. 'campaign:' .. ARGV[1]
if redis.call('HSETNX', key, 'batch_id', ARGV[2]) == 1 then
  redis.call('HSET', key, 'record', ARGV[3])
  redis.call('ZADD', P .. 'campaigns', now_us(), ARGV[1])
  index_names(ARGV[1], ARGV[2], ARGV[4])
end
redis.call('DEL', P .. 'campaign-lock:' .. ARGV[1])
local now = now_ms()
local waiting = redis.call('SMEMBERS', P .. 'awaiting:' .. ARGV[1])
for _, id in ipairs(waiting) do
  if redis.call('ZSCORE', P .. 'due', id) then
    redis.call('ZADD', P .. 'due', now, id)
    redis.call('HSET', P .. 'delivery:' .. id, 'next_ms', whole(now))
  end
end
redis.call('DEL', P .. 'awaiting:' .. ARGV[1])
return redis.call('HGET', key, 'batch_id')
