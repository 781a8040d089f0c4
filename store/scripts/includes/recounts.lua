-- include: time
-- Counts that are wrong are made again page by page, in the order of the deliveries, which move meanwhile.
-- A recount is a hash: the counts so far, and in its field `place` the order (us) of the last delivery that is
-- counted. What moves at or before that place is counted in both hashes; what moves behind it will be read
-- as it is then. The field `campaign` says of which campaign a recount is, where there are many counts.
local recounts = {}  -- by key; each is read once: a script that moves deliveries moves no place

-- Say whether a recount is under way that has counted the deliveries of this order (us). campaign: nil for
-- the counts of all deliveries.
local function is_recounted(recount, order, campaign)
  local found = recounts[recount]
  if not found then
    local got = redis.pcall('HMGET', recount, 'place', 'campaign')
    found = {place = tonumber(got[1] or '') or -math.huge, campaign = got[2] or nil}
    recounts[recount] = found
  end
  return found.campaign == campaign and (tonumber(order) or math.huge) <= found.place
end

local function add_counts(key, changes)
  for field, by in pairs(changes) do
    if by ~= 0 then redis.call('HINCRBY', key, field, whole(by)) end
  end
end

-- Count the next page of an index. fields_of(id): a list of the fields in which a delivery counts. After the
-- last page the recount takes the place of the counts. Returns how many the page had, and whether it was the
-- last.
local function recount_page(recount, counts, index, size, fields_of)
  local place = redis.call('HGET', recount, 'place')
  local page = redis.call('ZRANGE', index, place and '(' .. place or '-inf', '+inf', 'BYSCORE',
    'LIMIT', 0, size, 'WITHSCORES')
  local found = {}
  for i = 1, #page, 2 do
    for _, field in ipairs(fields_of(page[i])) do found[field] = (found[field] or 0) + 1 end
  end
  add_counts(recount, found)
  if #page == 2 * size then
    redis.call('HSET', recount, 'place', page[#page])
    return size, false
  end
  redis.call('HDEL', recount, 'place', 'campaign')
  redis.call('DEL', counts)
  if redis.call('EXISTS', recount) == 1 then redis.call('RENAME', recount, counts) end
  return #page / 2, true
end
