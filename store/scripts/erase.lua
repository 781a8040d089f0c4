-- Take everything personal out of deliveries, but for what CallKaro must yet be told to drop.
--
-- ARGV: their ids. What comes of one that is on its way is taken out as it comes.
even_when_full()
local now = math.floor(now_us() / 1000)
for _, id in ipairs(ARGV) do
  if redis.call('EXISTS', P .. 'delivery:' .. id) == 1 then scrub(id, now) end
end
return #ARGV
