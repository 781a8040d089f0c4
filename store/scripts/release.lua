-- include: keys, time, due, write_back_id
-- Make due what a pause holds. The script looks at a page of all held deliveries; the caller goes on.
--
-- ARGV[1]: the scope that was resumed. ARGV[2]: the order to start above. ARGV[3]: at most how many to
-- look at. ARGV[4]: the index, `deliveries` or `write_backs`.
-- Returns {released, the order to go on from; '' at the end}.
even_when_full()
local page = redis.call('ZRANGE', P .. ARGV[4] .. ':status:held', '(' .. ARGV[2], '+inf', 'BYSCORE',
  'LIMIT', 0, ARGV[3], 'WITHSCORES')
local now = now_ms()
local released = 0
for i = 1, #page, 2 do
  local key = delivery_key(page[i])
  if redis.call('HGET', key, 'paused_by') == ARGV[1] then
    set_due(page[i], 'held', now)
    redis.call('HSET', key, 'next_ms', whole(now))
    released = released + 1
  end
end
return {released, #page < 2 * tonumber(ARGV[3]) and '' or page[#page]}
