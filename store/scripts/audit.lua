-- include: keys, time, due, forget, write_back_id, newest_outcome, outcome_index, errors, figures, campaign_index
-- include: index_changes, search_index
-- Repair what no crash should leave behind: a waiting delivery that nothing would wake, a delivery that
-- is missing in an index, and an index entry whose delivery is gone. What an older release stored is
-- counted in the figures. An erased delivery, which an older release erased, loses its entries of the search.
--
-- It looks before it writes: each index is asked once for all deliveries of the page, so that a sound
-- record costs one command, and one for each of its search terms.
--
-- ARGV[1]: the lease for a delivery that is `sending` without a lease, ms. ARGV[2]: the number that
-- bridge:indexed has once all is indexed. ARGV[3]: '1': check the search index, too. ARGV[4..]: ids.
-- Returns {woken, indexed, forgotten, {id, text, id, text...}, {id...}}: the errors of records, and the
-- deliveries that an older release made: they have no terms yet.
even_when_full()
local now = now_ms()
local woken, indexed, forgotten, raised, without_terms = 0, 0, 0, {}, {}
local is_all_indexed = tonumber(redis.call('GET', P .. 'indexed') or '0') >= tonumber(ARGV[2])
local waiting = {queued = true, held = true, retrying = true}

-- Put a delivery into an index, or remove it, if the index says that it is not so yet. Returns 1 if it was
-- missing, or there by mistake. A key of another type raises its error for each record.
local function put(name, is_there, order, id)
  local score = index_score(name, id)
  if is_there and tonumber(score or '') == tonumber(order) and score then return 0 end
  if not is_there and not score then return 0 end
  if is_there then change_index(name, id, order) else leave_index(name, id) end
  return is_there and score and 0 or 1
end

-- Put a delivery into the index of outcomes.
local function index_outcome(id, found)
  if is_outdated(read_newest(found.newest), found.past, tonumber(found.outcomes or '0')) then
    refresh_newest(id, found.order, found.status)
    found.newest = redis.call('HGET', P .. 'delivery:' .. id, 'newest') or nil
  end
  local at, changed = outcome_place(found.to, found.status, found.newest), 0
  for _, place in ipairs(OUTCOME_PLACES) do
    -- A key of another type is no fault of this record: see shared.lua.
    local is_put, by = pcall(put, outcome_index(place), place == at, found.order, id)
    changed = changed + (is_put and by or 0)
  end
  return is_all_indexed and changed or 0  -- what an older release stored is no fault
end

-- Put a call into the index of its campaign, with the times of its acceptances.
local function index_campaign(id, found)
  if not found.campaign then return 0 end
  if not join_campaign(found.campaign, id, found.order, found.route, found.status, found.newest) then return 0 end
  local timeline = redis.call('HGET', P .. 'delivery:' .. id, 'timeline') or ''
  for ms in string.gmatch('\n' .. timeline, '\n(%d+) delivered ') do note_call(found.campaign, tonumber(ms)) end
  return is_all_indexed and 1 or 0
end

local function index(id, found)
  local added = put('deliveries', true, found.order, id)
  for _, status in ipairs(ALL_STATUSES) do
    added = added + put('deliveries:status:' .. status, status == found.status, found.order, id)
  end
  added = added + put('deliveries:route:' .. found.route, true, found.order, id)
  added = added + put('deliveries:source:' .. found.source, true, found.order, id)
  local is_put, by = pcall(index_campaign, id, found)
  added = added + (is_put and by or 0) + index_outcome(id, found)
  if added > 0 then indexed = indexed + 1 end
end

local WAKING = {'due', 'due:retry', 'due:cancel', 'due:write_back'}
local function wake(id, status)
  if index_score('leased', id) then return end
  if status == 'sending' then
    change_index('leased', id, whole(now + tonumber(ARGV[1])))
  else
    for _, name in ipairs(WAKING) do
      if index_score(name, id) then return end
    end
    set_due(id, status, now)
    redis.call('HSET', delivery_key(id), 'next_ms', whole(now))
  end
  woken = woken + 1
end

-- Look at a record. An error of it costs that record alone.
local has_broken = redis.call('EXISTS', P .. 'broken') == 1
local function check(look, id)
  local is_whole, text = try(look, id)
  if not is_whole then
    raised[#raised + 1] = id
    raised[#raised + 1] = text
  elseif has_broken then
    redis.call('HDEL', P .. 'broken', id)
  end
end

local function look_at_write_back(id)
  local status, order = unpack(redis.call('HMGET', write_back_key(id), 'status', 'order'))
  if not status or not tonumber(order or '') then return end
  local added = put('write_backs', true, order, id)
  for _, other in ipairs(ALL_STATUSES) do
    added = added + put('write_backs:status:' .. other, other == status, order, id)
  end
  if added > 0 then indexed = indexed + 1 end
  if waiting[status] or status == 'sending' then wake(id, status) end
end

local function repair_search(id, order, terms, erased_ms)
  if erased_ms then
    index_terms(order, terms or nil, nil)
    if terms then redis.call('HDEL', P .. 'delivery:' .. id, 'terms') end
  elseif not terms then
    without_terms[#without_terms + 1] = id
  elseif ARGV[3] == '1' then
    index_terms(order, nil, terms)  -- what is there already, too: to look costs as much
  end
end

local write_backs = {}  -- of the deliveries of this page
local function look_at(id)
  local got = redis.call('HMGET', P .. 'delivery:' .. id, 'status', 'order', 'route', 'source',
    'cancel_ms', 'reason', 'to', 'newest', 'outcomes', 'figures', 'past',
    'campaign_key', 'batch_id', 'write_backs', 'terms', 'erased_ms')
  if not got[1] then
    if forget(id) > 0 then forgotten = forgotten + 1 end
  elseif got[2] and got[3] and got[4] then
    if tonumber(got[2]) then repair_search(id, got[2], got[15], got[16]) end
    local found = {status = got[1], order = got[2], route = got[3], source = got[4], to = got[7],
      newest = got[8] or nil, outcomes = got[9] or nil, past = got[11] or '',
      campaign = campaign_named(got[7], got[12], got[13])}
    index(id, found)
    local has_other_newest = found.newest ~= (got[8] or nil)
    if has_other_newest or may_be_miscounted(got[10], got[1], got[9]) then count_figures(id, now, true) end
    -- A delivered one waits, too, while CallKaro must still delete its call.
    local waits = waiting[got[1]] or got[1] == 'sending' or (got[1] == 'delivered' and got[5])
    if got[1] == 'held' and got[6] == 'bulk' then
      put('bulk', true, got[2], id)  -- it waits for a person
    elseif waits then
      wake(id, got[1])
    end
  end
  for one in string.gmatch(got[14] or '', '[^\n]+') do write_backs[#write_backs + 1] = one end
end

ask_together({unpack(ARGV, 4)})
for i = 4, #ARGV do check(look_at, ARGV[i]) end
for first = 1, #write_backs, AT_ONCE do
  local part = {unpack(write_backs, first, math.min(first + AT_ONCE - 1, #write_backs))}
  ask_together(part)
  for _, one in ipairs(part) do check(look_at_write_back, one) end
end
return {woken, indexed, forgotten, raised, without_terms}
