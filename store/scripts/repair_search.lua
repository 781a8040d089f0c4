-- include: keys, search_index
-- Repair the search index of deliveries. An entry that a crash lost comes back; an erased delivery, which
-- an older release erased, loses its entries.
--
-- ARGV: the ids. Returns those of deliveries that an older release made: they have no terms yet.
even_when_full()
local missing = {}
for _, id in ipairs(ARGV) do
  local key = P .. 'delivery:' .. id
  local kind = redis.call('TYPE', key)['ok']
  local found = kind == 'hash' and redis.call('HMGET', key, 'order', 'terms', 'erased_ms') or {}
  if not tonumber(found[1] or '') then
    -- The audit repairs the other indexes of a record that is gone.
  elseif found[3] then
    index_terms(found[1], found[2] or nil, nil)
    redis.call('HDEL', key, 'terms')
  elseif found[2] then
    index_terms(found[1], nil, found[2])
  else
    missing[#missing + 1] = id
  end
end
return missing
