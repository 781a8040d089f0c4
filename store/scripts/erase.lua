-- include: keys, time, erasure, figures
-- Remove all personal data from deliveries, except for the calls that CallKaro must still delete.
--
-- ARGV: their ids. If an answer or an outcome arrives later, its personal data is removed then.
even_when_full()
local now = now_ms()
for _, id in ipairs(ARGV) do
  if redis.call('EXISTS', P .. 'delivery:' .. id) == 1 then
    count_figures(id, now)
    anonymize(id, now)
  end
end
return #ARGV
