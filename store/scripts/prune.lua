-- include: keys, status_counts, subject, outcome_index, errors, broken, search_index, campaign_index, forget
-- include: write_back_id
-- Delete settled deliveries, and events without a delivery, from before a time. An event goes with the
-- last of its deliveries, a write-back with its call. Campaigns stay, and so do deliveries that wait or are unknown. A record that
-- raises an error stops no other: a delivery is put aside, an event is deleted.
--
-- ARGV[1]: the time, us. ARGV[2]: at most how many of each kind. Returns how many were deleted.
even_when_full()
local before, limit = '(' .. ARGV[1], ARGV[2]
local forgotten = 0

local function forget_event(id)
  redis.call('DEL', P .. 'event:' .. id)
  for _, index in ipairs({'events', 'events:unrouted', 'events:unreadable'}) do
    redis.call('ZREM', P .. index, id)
  end
end

local function has_deliveries(event)
  for id in string.gmatch(redis.call('HGET', P .. 'event:' .. event, 'deliveries') or '', '(%S+) [^\n]*\n') do
    if redis.call('EXISTS', P .. 'delivery:' .. id) == 1 then return true end
  end
  return false
end

-- Return the call_sids that the delivery can be found by: from CallKaro's answer and its outcomes.
local function sids(key)
  local kept = redis.call('HMGET', key, 'call_sid', 'past')
  local found = {kept[1] or nil}
  for sid in string.gmatch(kept[2] or '', '[^\n]+') do found[#found + 1] = sid end
  if redis.call('HEXISTS', key, 'outcomes') == 0 then return found end
  for _, field in ipairs(redis.call('HKEYS', key)) do
    found[#found + 1] = string.match(field, '^outcome:(.*):[^:]*$')
  end
  return found
end

local function forget_delivery(id, status)
  local key = P .. 'delivery:' .. id
  local found = redis.call('HMGET', key, 'event', 'route', 'source', 'phone', 'to', 'newest', 'terms', 'order',
    'campaign_key', 'batch_id', 'write_backs')
  redis.call('ZREM', P .. 'deliveries:status:' .. status, id)
  redis.call('ZREM', P .. 'deliveries', id)
  unindex_subject(key, id)
  local place = outcome_place(found[5], status, found[6])
  if place then leave_outcome(place, id) end
  index_terms(found[8], found[7] or nil, nil)
  for i, by in ipairs({'route', 'source', 'phone'}) do
    if found[i + 1] then redis.call('ZREM', P .. 'deliveries:' .. by .. ':' .. found[i + 1], id) end
  end
  for _, sid in ipairs(sids(key)) do redis.call('DEL', P .. 'call:' .. sid) end
  forget_write_backs(found[11])
  -- Last: a record that raises an error is kept, and comes back with the next round of the audit.
  local campaign = campaign_named(found[5], found[9], found[10])
  if campaign then
    pcall(leave_campaign, campaign, id, found[8], found[2] or '', status, found[6] or nil, true)
  end
  redis.call('DEL', key)
  if found[2] then count_status(status, found[2], found[8], -1) end
  if not found[1] then return end
  local is_readable, is_needed = try(has_deliveries, found[1])
  if not is_readable or not is_needed then forget_event(found[1]) end
end

for _, status in ipairs({'delivered', 'skipped', 'failed', 'cancelled'}) do
  local index = P .. 'deliveries:status:' .. status
  for _, id in ipairs(redis.call('ZRANGE', index, '-inf', before, 'BYSCORE', 'LIMIT', 0, limit)) do
    local is_forgotten, text = try(forget_delivery, id, status)
    if not is_forgotten then put_aside(id, text) end
    forgotten = forgotten + 1
  end
end

-- An older release forgets a call without its write-backs.
for _, id in ipairs(redis.call('ZRANGE', P .. 'write_backs', '-inf', before, 'BYSCORE', 'LIMIT', 0, limit)) do
  local parent = redis.call('HGET', write_back_key(id), 'of') or ''
  if redis.call('EXISTS', P .. 'delivery:' .. parent) == 0 then forget_write_backs(id) end
end

for _, status in ipairs({'unrouted', 'unreadable'}) do
  local index = P .. 'events:' .. status
  for _, id in ipairs(redis.call('ZRANGE', index, '-inf', before, 'BYSCORE', 'LIMIT', 0, limit)) do
    forget_event(id)
    forgotten = forgotten + 1
  end
end
return forgotten
