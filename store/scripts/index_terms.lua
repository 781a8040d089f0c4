-- include: keys, search_index
-- Write what deliveries are found by, if they still exist and are not erased.
--
-- ARGV[1]: '1': only of deliveries that have no terms yet. ARGV[2..]: id, terms, id, terms...
-- Returns of how many.
even_when_full()
local done = 0
for i = 2, #ARGV, 2 do
  local key = P .. 'delivery:' .. ARGV[i]
  local found = redis.call('HMGET', key, 'order', 'terms', 'erased_ms')
  if tonumber(found[1] or '') and not found[3] and (ARGV[1] ~= '1' or not found[2]) then
    redis.call('HSET', key, 'terms', ARGV[i + 1])
    index_terms(found[1], found[2] or nil, ARGV[i + 1])
    done = done + 1
  end
end
return done
