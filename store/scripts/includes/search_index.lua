-- include: keys
-- The search index. `terms` of a delivery: the terms that lead to it, one after another, each of eight
-- characters; then a blank and the terms that are only compared. A term is the keyed hash of a text.
-- Its first three characters name its index, which other terms share: one key for each term of each person
-- would take more memory than all else of the index. An index is a zset of the orders of deliveries (us),
-- by the same number: an id takes three times as many bytes, and bridge:deliveries knows whose order it is.
local TERM = 8  -- as in schemas/search.py

-- Return the names of the indexes that terms belong to, {name = true}.
local function search_indexes(terms)
  local found = {}
  if not terms then return found end
  local blank = string.find(terms, ' ', 1, true) or #terms + 1
  for at = 1, blank - 1, TERM do found['find:' .. string.sub(terms, at, at + 2)] = true end
  return found
end

-- Move a delivery from the indexes of its old terms to those of its new ones; nil: it has none. order: its
-- place in time. An index that can't be written stops nothing: the audit repairs it.
local function index_terms(order, old, new)
  if old == new or not order then return end
  local was, now = search_indexes(old), search_indexes(new)
  for index in pairs(was) do
    if not now[index] then pcall(redis.call, 'ZREM', P .. index, order) end
  end
  for index in pairs(now) do
    if not was[index] then pcall(redis.call, 'ZADD', P .. index, order, order) end
  end
end
