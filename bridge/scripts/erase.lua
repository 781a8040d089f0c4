-- Take everything personal out of deliveries, but for what CallKaro must yet be told to drop.
--
-- ARGV: their ids. Returns how many of them may still have a request on its way: what comes of that
-- is taken out as it comes.
even_when_full()
local now = math.floor(now_us() / 1000)
local on_the_way = 0
for _, id in ipairs(ARGV) do
  local status = redis.call('HGET', P .. 'delivery:' .. id, 'status')
  if status then
    scrub(id, now)
    if status == 'sending' then on_the_way = on_the_way + 1 end
  end
end
return on_the_way
