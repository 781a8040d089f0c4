-- include: keys, time, timeline, status_counts, figures, search_index
-- How many deliveries each route got recently, those of this script included.
local recent = {}

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

-- Write a new delivery d = {id, route, to, wait_ms, bulk, flood, listed_ms, name, number, phone, record_page,
-- terms, actor} of an event {event, source, subject, is_test}. The caller writes the indexes: add_to is called
-- with (index, score, member) for each of them; member nil: the delivery's id.
-- Returns the delivery's status.
local function write_delivery(d, item, digest, order, now, add_to)
  local bulk = why_bulk(d, now)
  local status = bulk and 'held' or 'queued'
  local fields = {'event', item.event, 'source', item.source, 'subject', item.subject, 'route', d.route,
    'to', d.to, 'routes', digest, 'status', status, 'order', order, 'created_ms', now, 'lease', 0}
  local timeline = timeline_with('', now, 'queued')
  local more = {'next_ms', now + d.wait_ms, 'timeline', timeline}
  if bulk then
    more = {'reason', 'bulk', 'message', bulk, 'held_since_ms', whole(now),
      'timeline', timeline_with(timeline, now, 'held', 'bulk')}
  end
  if d.record_page then more[#more + 1], more[#more + 2] = 'record_page', d.record_page end
  if d.phone then
    more[#more + 1], more[#more + 2] = 'phone', d.phone
    more[#more + 1], more[#more + 2] = 'number', d.number
    add_to('deliveries:phone:' .. d.phone, order)
  end
  if d.name then more[#more + 1], more[#more + 2] = 'name', d.name end
  if d.actor then more[#more + 1], more[#more + 2] = 'actors', actors_with('', '', d.actor) end
  for _, value in ipairs(more) do fields[#fields + 1] = value end
  local figures = not item.is_test and figures_of_new(d.id, {to = d.to, source = item.source, route = d.route,
    status = status, created_ms = now}, now)
  if figures then fields[#fields + 1], fields[#fields + 2] = 'figures', figures end
  redis.call('HSET', P .. 'delivery:' .. d.id, 'terms', d.terms, unpack(fields))
  local own_order = whole(order)
  for index in pairs(search_indexes(d.terms)) do add_to(index, order, own_order) end
  add_to('deliveries', order)
  add_to('deliveries:status:' .. status, order)
  add_to('deliveries:route:' .. d.route, order)
  if d.listed_ms then note_listed(d, order) end
  add_to('deliveries:source:' .. item.source, order)
  if item.subject ~= '' then add_to('deliveries:subject:' .. item.subject, order) end
  if bulk then add_to('bulk', order) else add_to('due', now + d.wait_ms) end
  count_status(status, d.route, order, 1)
  count_reached(status, d.route)
  return status
end
