-- include: keys, errors, outcome_index, campaign_index, write_back_id
-- Go through indexes from the newest entry on, and find the records that match. Redis serves no other
-- client during that time, so the script looks at a limited number of records; the caller goes on from
-- there.
--
-- ARGV[1]: JSON, {indexes, high, low, limit, look, kind, fields, values, outcomes, campaign, unfinished,
-- any_of, chosen, within}. A record of this kind matches if each of the fields has one of its values,
-- {value = true}; without fields all match. outcomes: the places that a delivery may have in the index of
-- outcomes, {place = true}; absent: any. high and low are orders in the syntax of ZRANGE. look: at most how
-- many entries are looked at.
-- campaign: {campaigns, routes, named}, sets as {name = true}: see CampaignFilter; absent: any. unfinished:
-- true: only what waits, or was accepted and may still ring.
-- any_of and chosen are given for a search: the record has all terms of one entry of any_of, or it is
-- chosen. chosen: [id, order, id, order...], the newest first, listed beside the entries of the indexes.
-- within: lists of indexes; a record that matches is in one index of each list, or is chosen. To ask an index
-- of a page of records takes less time than to read each of them. Only what is in all of them is read.
-- Returns {the order to go on below; '' at the end, id, order, id, order...}.
local query = cjson.decode(ARGV[1])
local within, fields = query.within or {}, query.fields
local PAGE = 100
local DENSE = 8  -- entries of an index that are read in the time of one look-up by order
local streams, answer, found, looked = {}, {''}, 0, 0
for i, name in ipairs(query.indexes) do
  local has_orders = string.find(name, '^find:')  -- see includes/search_index.lua
  streams[i] = {name = P .. name, high = query.high, at = 1, page = {}, has_orders = has_orders}
end
local is_chosen = {}
if query.chosen and #query.chosen > 0 then
  streams[#streams + 1] = {at = 1, page = query.chosen, ended = true}
  for at = 1, #query.chosen, 2 do is_chosen[query.chosen[at]] = true end
end

-- Return the id of the delivery with this order; '': it is gone.
local function id_at(order)
  return redis.call('ZRANGE', P .. 'deliveries', order, order, 'BYSCORE')[1] or ''
end

-- Make '' of the ids in a page that are in none of these indexes. An index that can't be read leaves nothing out.
local function leave_out(page, indexes)
  local ids, places = {}, {}
  for at = 1, #page, 2 do
    if page[at] ~= '' then ids[#ids + 1], places[#places + 1] = page[at], at end
  end
  for _, name in ipairs(indexes) do
    if #ids == 0 then return end
    local scores = redis.pcall('ZMSCORE', P .. name, unpack(ids))
    if scores.err then return end
    local left_ids, left_places = {}, {}
    for i, score in ipairs(scores) do
      if not score then left_ids[#left_ids + 1], left_places[#left_places + 1] = ids[i], places[i] end
    end
    ids, places = left_ids, left_places
  end
  for _, at in ipairs(places) do page[at] = '' end
end

-- Put ids in the place of the orders in a page of a search, if these indexes have them; else ''. Returns false,
-- and changes nothing, where to look up each order takes less time, or an index can't be read.
local function take_ids_from(indexes, page)
  local high, low, entries = page[2], page[#page], 0
  for _, name in ipairs(indexes) do
    local count = redis.pcall('ZCOUNT', P .. name, low, high)
    if type(count) == 'table' then return false end  -- an error
    entries = entries + count
  end
  if entries > DENSE * #page / 2 then return false end
  local id_of = {}
  for _, name in ipairs(indexes) do
    local listed = redis.call('ZRANGE', P .. name, low, high, 'BYSCORE', 'WITHSCORES')
    for at = 1, #listed, 2 do id_of[listed[at + 1]] = listed[at] end
  end
  for at = 1, #page, 2 do page[at] = id_of[page[at + 1]] or '' end
  leave_out(page, {'deliveries'})  -- a delivery that was put aside is in the index of its route
  return true
end

-- Put ids in the place of the orders in a page of a search. Returns the number of the list in within that has
-- left out others already; nil: none has.
local function take_ids(page)
  for i, indexes in ipairs(within) do
    if take_ids_from(indexes, page) then return i end
  end
  for at = 1, #page, 2 do page[at] = id_at(page[at + 1]) end
end

-- Return the order of the newest entry of an index that was not taken yet; nil: there is no more.
local function head(s)
  if not s.page[s.at] and not s.ended then
    s.page = redis.call('ZRANGE', s.name, s.high, query.low, 'BYSCORE', 'REV', 'LIMIT', 0, PAGE,
      'WITHSCORES')
    s.at, s.ended = 1, #s.page < 2 * PAGE
    if #s.page > 0 then s.high = '(' .. s.page[#s.page] end
    local known = s.has_orders and #within > 0 and #s.page > 0 and take_ids(s.page)
    for i, indexes in ipairs(within) do
      if i ~= known then leave_out(s.page, indexes) end
    end
  end
  return tonumber(s.page[s.at + 1])
end

local function newest()
  local best, order
  for i = 1, #streams do
    local here = head(streams[i])
    if here and (not order or here > order) then best, order = streams[i], here end
  end
  if not best then return nil end
  best.at = best.at + 2
  local member, order = best.page[best.at - 2], best.page[best.at - 1]
  return best.has_orders and #within == 0 and id_at(order) or member, order
end

-- Before 0.1.0 only the record of an event had its source; the record begins with it.
local function source_of(id)
  local record = redis.call('HGET', P .. 'event:' .. id, 'record') or ''
  return string.match(record, '^{"id":"[^"]*","source":"([^"]*)"')
end

local function has_outcome(id)
  local got = redis.call('HMGET', P .. 'delivery:' .. id, 'to', 'status', 'newest')
  return query.outcomes[outcome_place(got[1], got[2], got[3]) or '']
end

local WAITS = {queued = true, held = true, retrying = true}
local function is_in_campaign(id)
  local got = redis.call('HMGET', P .. 'delivery:' .. id, 'to', 'status', 'route', 'campaign_key', 'batch_id')
  if got[1] ~= 'call' then return false end
  local only, route = query.campaign, got[3] or ''
  if WAITS[got[2] or ''] and only.named[route] then return only.routes[route] end
  return only.campaigns[campaign_named(got[1], got[4], got[5]) or '']
end

-- is_final is the third word of `newest`: see newest_outcome.lua.
local function is_unfinished(id)
  local got = redis.call('HMGET', P .. 'delivery:' .. id, 'status', 'newest')
  if WAITS[got[1] or ''] then return true end
  return got[1] == 'delivered' and not string.match(got[2] or '', '^%S+ %S+ 1 ')
end

local function key_of(id)
  return query.kind == 'delivery' and delivery_key(id) or P .. query.kind .. ':' .. id
end

-- Say whether a record has all terms of an entry of any_of. See includes/search_index.lua.
local function is_found(id)
  if not query.any_of or is_chosen[id] then return true end
  local kept = redis.call('HGET', key_of(id), 'terms') or ''
  for _, terms in ipairs(query.any_of) do
    local has_all = true
    for _, term in ipairs(terms) do has_all = has_all and string.find(kept, term, 1, true) end
    if has_all then return true end
  end
  return false
end

local function matches(id)
  if not is_found(id) then return false end
  if query.outcomes and not has_outcome(id) then return false end
  if query.campaign and not is_in_campaign(id) then return false end
  if query.unfinished and not is_unfinished(id) then return false end
  -- One after the other: most records fail at the first field, and HMGET makes a table of its answer.
  for i = 1, #fields do
    local value = redis.call('HGET', key_of(id), fields[i])
    if not value and query.kind == 'event' and fields[i] == 'source' then value = source_of(id) end
    if not query.values[i][value or ''] then return false end
  end
  return true
end

local last  -- several indexes of a search may have the same record
while found < query.limit and looked < query.look do
  local id, order = newest()
  if not id then
    answer[1] = ''
    return answer
  end
  looked = looked + 1
  answer[1] = order
  if id ~= last and id ~= '' then
    local is_readable, is_match = try(matches, id)
    if is_readable and is_match then
      found = found + 1
      answer[#answer + 1] = id
      answer[#answer + 1] = order
    end
  end
  last = id
end
return answer
