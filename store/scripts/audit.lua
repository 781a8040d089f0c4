-- include: keys, time, due, forget, write_back_id, newest_outcome, outcome_index, errors, figures, campaign_index
-- Repair what no crash should leave behind: a waiting delivery that nothing would wake, a delivery that
-- is missing in an index, and an index entry whose delivery is gone. What an older release stored is
-- counted in the figures.
--
-- It looks before it writes: each index is asked once for all deliveries of the page, so that a sound
-- record costs about five commands.
--
-- ARGV[1]: the lease for a delivery that is `sending` without a lease, ms. ARGV[2]: the number that
-- bridge:indexed has once all is indexed. ARGV[3..]: ids.
-- Returns {woken, indexed, forgotten, {id, text, id, text...}}: the errors of records.
even_when_full()
local now = now_ms()
local woken, indexed, forgotten, raised = 0, 0, 0, {}
local is_all_indexed = tonumber(redis.call('GET', P .. 'indexed') or '0') >= tonumber(ARGV[2])
local waiting = {queued = true, held = true, retrying = true}

-- Return a function (key, id) that returns the score of one of these deliveries; nil: it is not in that
-- index. A key is read once: what this script itself wrote for an id since, it must not look up again.
local function reader_of(ids)
  local looked = {}
  return function(key, id)
    if looked[key] == nil then
      local scores = redis.pcall('ZMSCORE', key, unpack(ids))
      looked[key] = not scores.err and {}
      for i, one in ipairs(looked[key] and ids or {}) do looked[key][one] = scores[i] end
    end
    -- A key of another type raises its error for each record, as it would when it is written.
    return looked[key] and looked[key][id] or not looked[key] and redis.call('ZSCORE', key, id) or nil
  end
end

-- Put a delivery into an index, or remove it, if score says that it is not so yet. Returns 1 if it was
-- missing, or there by mistake.
local function put(key, is_there, order, id, score)
  if not is_there then return score and redis.call('ZREM', key, id) or 0 end
  return tonumber(score or '') == tonumber(order) and score and 0 or redis.call('ZADD', key, order, id)
end

local delivery_score = reader_of({unpack(ARGV, 3)})
local function put_looking(key, is_there, order, id)
  return put(key, is_there, order, id, delivery_score(key, id))
end
local function put_now(key, is_there, order, id)
  return put(key, is_there, order, id, redis.call('ZSCORE', key, id))
end

-- Put a delivery into the index of outcomes.
local function index_outcome(id, found)
  local put_one = put_looking
  if is_outdated(read_newest(found.newest), found.past, tonumber(found.outcomes or '0')) then
    refresh_newest(id, found.order, found.status)
    found.newest = redis.call('HGET', P .. 'delivery:' .. id, 'newest') or nil
    put_one = put_now
  end
  local at, changed = outcome_place(found.to, found.status, found.newest), 0
  for _, place in ipairs(OUTCOME_PLACES) do
    -- A key of another type is no fault of this record: see shared.lua.
    local is_put, by = pcall(put_one, outcome_key(place), place == at, found.order, id)
    changed = changed + (is_put and by or 0)
  end
  return is_all_indexed and changed or 0  -- what an older release stored is no fault
end

-- Put a call into the index of its campaign, with the times of its acceptances.
local function index_campaign(id, found)
  if not found.campaign or redis.call('ZSCORE', campaign_index(found.campaign), id) then return 0 end
  if not join_campaign(found.campaign, id, found.order, found.route, found.status, found.newest) then return 0 end
  local timeline = redis.call('HGET', P .. 'delivery:' .. id, 'timeline') or ''
  for ms in string.gmatch('\n' .. timeline, '\n(%d+) delivered ') do note_call(found.campaign, tonumber(ms)) end
  return is_all_indexed and 1 or 0
end

local function index(id, found)
  local added = put_looking(P .. 'deliveries', true, found.order, id)
  for _, status in ipairs(ALL_STATUSES) do
    added = added + put_looking(P .. 'deliveries:status:' .. status, status == found.status, found.order, id)
  end
  added = added + put_now(P .. 'deliveries:route:' .. found.route, true, found.order, id)
  added = added + put_now(P .. 'deliveries:source:' .. found.source, true, found.order, id)
  local is_put, by = pcall(index_campaign, id, found)
  added = added + (is_put and by or 0) + index_outcome(id, found)
  if added > 0 then indexed = indexed + 1 end
end

local WAKING = {'due', 'due:retry', 'due:cancel', 'due:write_back'}
local function wake(id, status, score_of)
  if score_of(P .. 'leased', id) then return end
  if status == 'sending' then
    redis.call('ZADD', P .. 'leased', whole(now + tonumber(ARGV[1])), id)
  else
    for _, name in ipairs(WAKING) do
      if score_of(P .. name, id) then return end
    end
    set_due(id, status, now)
    redis.call('HSET', delivery_key(id), 'next_ms', whole(now))
  end
  woken = woken + 1
end

-- Look at a record. An error of it costs that record alone.
local has_broken = redis.call('EXISTS', P .. 'broken') == 1
local function check(look, id, score_of)
  local is_whole, text = try(look, id, score_of)
  if not is_whole then
    raised[#raised + 1] = id
    raised[#raised + 1] = text
  elseif has_broken then
    redis.call('HDEL', P .. 'broken', id)
  end
end

local function look_at_write_back(id, score_of)
  local status, order = unpack(redis.call('HMGET', write_back_key(id), 'status', 'order'))
  if not status or not tonumber(order or '') then return end
  local added = put(P .. 'write_backs', true, order, id, score_of(P .. 'write_backs', id))
  for _, other in ipairs(ALL_STATUSES) do
    local index = P .. 'write_backs:status:' .. other
    added = added + put(index, other == status, order, id, score_of(index, id))
  end
  if added > 0 then indexed = indexed + 1 end
  if waiting[status] or status == 'sending' then wake(id, status, score_of) end
end

local write_backs = {}  -- of the deliveries of this page
local function look_at(id)
  local got = redis.call('HMGET', P .. 'delivery:' .. id, 'status', 'order', 'route', 'source',
    'cancel_ms', 'reason', 'to', 'newest', 'outcomes', 'figures', 'past',
    'campaign_key', 'batch_id', 'write_backs')
  if not got[1] then
    if forget(id) > 0 then forgotten = forgotten + 1 end
  elseif got[2] and got[3] and got[4] then
    local found = {status = got[1], order = got[2], route = got[3], source = got[4], to = got[7],
      newest = got[8] or nil, outcomes = got[9] or nil, past = got[11] or '',
      campaign = campaign_named(got[7], got[12], got[13])}
    index(id, found)
    local has_other_newest = found.newest ~= (got[8] or nil)
    if has_other_newest or may_be_miscounted(got[10], got[1], got[9]) then count_figures(id, now, true) end
    -- A delivered one waits, too, while CallKaro must still delete its call.
    local waits = waiting[got[1]] or got[1] == 'sending' or (got[1] == 'delivered' and got[5])
    if got[1] == 'held' and got[6] == 'bulk' then
      put_looking(P .. 'bulk', true, got[2], id)  -- it waits for a person
    elseif waits then
      wake(id, got[1], delivery_score)
    end
  end
  for one in string.gmatch(got[14] or '', '[^\n]+') do write_backs[#write_backs + 1] = one end
end

for i = 3, #ARGV do check(look_at, ARGV[i]) end
local AT_ONCE = 500  -- unpack() takes only some thousands
for first = 1, #write_backs, AT_ONCE do
  local part = {unpack(write_backs, first, math.min(first + AT_ONCE - 1, #write_backs))}
  local score_of_part = reader_of(part)
  for _, one in ipairs(part) do check(look_at_write_back, one, score_of_part) end
end
return {woken, indexed, forgotten, raised}
