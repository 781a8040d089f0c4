-- Count anew how many deliveries stand where, if nobody has yet or a repair found the records and
-- their lists at odds. One look at each delivery: about 2 us each, at an upgrade or never.
--
-- Returns how many were counted; -1: there was no need.
even_when_full()
if redis.call('EXISTS', P .. 'counted') == 1 then return -1 end
local counts, at, PAGE = {}, 0, 5000
repeat
  local ids = redis.call('ZRANGE', P .. 'deliveries', at, at + PAGE - 1)
  for _, id in ipairs(ids) do
    local got = redis.call('HMGET', P .. 'delivery:' .. id, 'status', 'route')
    if got[1] and got[2] then
      local field = got[1] .. ' ' .. got[2]
      counts[field] = (counts[field] or 0) + 1
    end
  end
  at = at + #ids
until #ids < PAGE
redis.call('DEL', P .. 'standing')
for field, count in pairs(counts) do redis.call('HSET', P .. 'standing', field, count) end
redis.call('SET', P .. 'counted', 1)
return at
