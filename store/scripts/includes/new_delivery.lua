-- include: keys, time, timeline, status_counts, figures, search_index
-- How many deliveries each route got recently, those of this script included.
local recent = {}
local first_line  -- of the timeline of each delivery of this script

-- Return why a new delivery waits for a person; nil: it does not wait.
local function why_bulk(d, now)
  if d.flood then
    local seen = recent[d.route]
    if not seen then
      local since = whole((now - d.flood.within_ms) * 1000)
      seen = redis.call('ZCOUNT', P .. 'deliveries:route:' .. d.route, since, '+inf')
        - redis.call('ZCOUNT', P .. 'listed:' .. d.route, since, '+inf')
    end
    recent[d.route] = seen + 1
    if seen >= d.flood.over then return d.flood.message end
  end
  return d.bulk
end

-- Keep a row of a call list out of the flood of its route, for as long as that looks back.
local function note_listed(d, order)
  local key = P .. 'listed:' .. d.route
  redis.call('ZADD', key, order, d.id)
  redis.call('PEXPIRE', key, d.listed_ms)
end

-- New deliveries of a script that have these in common count alike: "<source>\t<route>\t<status>" -> {day, cell,
-- figures, text}.
local new_alike = {}

local function alike_of(source, route, status) return source .. '\t' .. route .. '\t' .. status end

-- Return how a delivery counts that the caller is about to make, and not by a test call, as in new_alike; nil:
-- it does not count. now: when it is made, one time for all of a script, ms.
local function figures_of_new(to, source, route, status, now)
  if to ~= 'call' then return nil end
  local alike = alike_of(source, route, status)
  local counted = new_alike[alike]
  if not counted then
    local found = {source = source, route = route, status = status, created_ms = now}
    local figures = new_figures('', found, nil, now, false, false)
    local is_placed, cell = pcall(place, figures, found)
    if not is_placed then return nil end
    counted = {day = figures.day, cell = cell, figures = figures, text = written_figures(figures)}
    new_alike[alike] = counted
  end
  return counted
end

-- Count a delivery that was written; by = -1: take back that it was counted. figures: as in new_alike, or nil.
local function count_new(status, route, order, figures, by)
  if figures then add_figures(figures.day, figures.cell, figures.figures, by) end
  count_status(status, route, order, by)
  count_reached(status, route, by)
end

-- Remove what write_delivery() wrote and counted of a delivery, or did not come to; its indexes are the caller's.
-- since: the order of the first that the caller would have written.
local function unwrite_delivery(d, source, since)
  local key = P .. 'delivery:' .. d.id
  local got = redis.pcall('HMGET', key, 'status', 'order', 'figures')
  local status, order = got[1], tonumber(got[2] or '')
  if status and order and order >= since then
    count_new(status, d.route, order, got[3] and new_alike[alike_of(source, d.route, status)], -1)
  end
  redis.call('DEL', key)
  if d.listed_ms then redis.pcall('ZREM', P .. 'listed:' .. d.route, d.id) end
end

-- Write a new delivery d = {id, route, to, wait_ms, bulk, flood, listed_ms, name, number, phone, record_page,
-- terms, actor} of an event {event, source, subject, is_test}. now: one time for all of a script, ms. The
-- caller writes the indexes: add_to is called with (index, score, member) for each of them.
-- Returns the delivery's status.
local function write_delivery(d, item, digest, order, now, add_to)
  local bulk = why_bulk(d, now)
  local status = bulk and 'held' or 'queued'
  first_line = first_line or timeline_with('', now, 'queued')
  local more = bulk and {'reason', 'bulk', 'message', bulk, 'held_since_ms', whole(now),
    'timeline', timeline_with(first_line, now, 'held', 'bulk')}
    or {'next_ms', now + d.wait_ms, 'timeline', first_line}
  if d.record_page then more[#more + 1], more[#more + 2] = 'record_page', d.record_page end
  if d.phone then
    more[#more + 1], more[#more + 2] = 'phone', d.phone
    more[#more + 1], more[#more + 2] = 'number', d.number
    add_to('deliveries:phone:' .. d.phone, order, d.id)
  end
  if d.name then more[#more + 1], more[#more + 2] = 'name', d.name end
  if d.actor then more[#more + 1], more[#more + 2] = 'actors', actors_with('', '', d.actor) end
  local figures = not item.is_test and figures_of_new(d.to, item.source, d.route, status, now)
  if figures then more[#more + 1], more[#more + 2] = 'figures', figures.text end
  -- What each has is no table: one of all fields takes 1 kB, and time to make.
  redis.call('HSET', P .. 'delivery:' .. d.id, 'terms', d.terms, 'event', item.event, 'source', item.source,
    'subject', item.subject, 'route', d.route, 'to', d.to, 'routes', digest, 'status', status, 'order', order,
    'created_ms', now, 'lease', 0, unpack(more))
  count_new(status, d.route, order, figures, 1)
  for index in pairs(search_indexes(d.terms)) do add_to(index, order, order) end
  add_to('deliveries', order, d.id)
  add_to('deliveries:status:' .. status, order, d.id)
  add_to('deliveries:route:' .. d.route, order, d.id)
  if d.listed_ms then note_listed(d, order) end
  add_to('deliveries:source:' .. item.source, order, d.id)
  if item.subject ~= '' then add_to('deliveries:subject:' .. item.subject, order, d.id) end
  if bulk then add_to('bulk', order, d.id) else add_to('due', now + d.wait_ms, d.id) end
  return status
end
