-- include: keys, time, due, not_due, held_time, timeline, status_index, number_claims, past_calls
-- include: newest_outcome
-- include: erasure, early_outcomes, early_outcome_expiry, pauses, breaker, breaker_wait
-- include: breaker_count, rate, errors, shared, figures, search_index, campaign_index, write_back_id
-- include: write_back_record, index_changes
-- Move deliveries from status to status, each one by compare-and-set on (lease, status).
--
-- ARGV[1]: JSON, a list of moves:
--   id
--   to: the new status
--   from_statuses: {status = true}, the statuses that the delivery may have now
--   lease: the lease number of the worker's claim; absent: a person moves the delivery, and each
--     worker's claim becomes stale
--   expected_lease: the lease that the person saw; absent: any
--   request_token: the id of the person's request, so that a repeated request changes nothing
--   restarts: true: the delivery starts again, and its known calls go into `past`
--   actor: the name of the person's token, for the timeline; absent: no person causes the move
--   reason, message, set = {field = value}, del = {field}: the fields to write or delete
--   wait_ms or due_ms: when the delivery is due next; absent: no worker claims it
--   attempt: {number, record}, the attempt to store (record: JSON)
--   needs_ms: for `sending`: how much of the lease must be left
--   phone: the keyed hash of the number, for the index by number
--   number, name: the number itself (E.164) and the person's name, for lists
--   awaits_campaign: the key of the campaign that the delivery waits for
--   guard: {phone, older_phones, person, older_persons, record, again_ms, number_cap, day_cap, day, at_ms,
--     closes_ms, keep_until_ms}, what to check in the number's history: see denial(). record: {key, is_merged,
--     since_ms, window_ms}: see same_record(). A move to `sending` also claims the number and the record
--   keeps_number: true: the claim on the number stays, because a phone may have rung
--   spread_ms: the delivery is due this much later than next_attempt_at says
--   callkaro_ok: whether CallKaro works, for the breaker; absent: the answer does not show it
--   pause: JSON, the pause of CallKaro that begins now; of a write-back, that of its CRM
--   row: {ends = true}: an accepted call ends its route's row of failures; {most, pause}: the call fails,
--     and with the failure number `most` in a row its route is paused; pause: JSON
-- ARGV[2]: requests/s to CallKaro over all workers; 0: no cap.
-- ARGV[3]: '1': a journal is replayed, because Redis may have lost these moves.
-- ARGV[4]: the lease, ms, of an attempt that Redis lost.
-- Returns for each move: 'ok', 'stale' (another lease), 'refused <status>', 'gone', 'late' (too little
-- of the lease is left), 'wait <ms>' (the rate cap), 'paused <ms>', 'behind <delivery>' (its call may
-- be for this delivery, too, and CallKaro has not answered yet; or another write-back of the same record
-- goes first), 'no <reason> ...' (see denial(); of a write-back 'no superseded': see write_back_record.lua),
-- 'known' (Redis had not lost the move), 'crashed <text>' (the record raised this error), or 'unmade'
-- (Redis refused a command of this move or of one before it; of the first move or of a journal's, the
-- script raises that error).
-- As even_when_full(), with the command that the indexes need at the end: a user without the right to it must learn
-- that before anything moves.
redis.call('ZREM', P .. 'nothing', '')
check_shared_keys()
local moves = cjson.decode(ARGV[1])
local rate = tonumber(ARGV[2])
local is_replay, new_lease_ms = ARGV[3] == '1', tonumber(ARGV[4])
local now = now_ms()

local function is_suppressed(hash)
  return shared_size('suppressed') > 0 and redis.call('HEXISTS', P .. 'suppressed', hash) == 1
end

-- Return the delivery whose call is for this delivery, too; nil: there is none. Both are of one route
-- and one CRM record, and at least one of their events named a record that was merged into it. If only
-- the other event did, it stands for events until its call. A later event is an update of its own.
local function same_record(m, found)
  local r = m.guard.record
  if not r then return nil end
  local key = P .. 'record_calls:' .. r.key
  local first, first_ms
  local calls = redis.call('HGETALL', key)
  for i = 1, #calls, 2 do
    local id = string.match(calls[i], '^(.*):%d+$')
    local sent, keep, is_merged, route = string.match(calls[i + 1], '^(%d+) (%d+) ([01]) (.*)$')
    if not id or not sent then return calls[i] end  -- a history that can't be read forbids the call
    if tonumber(keep) <= now then
      redis.call('HDEL', key, calls[i])
    elseif id ~= m.id and route == found.route then
      local sent_ms = tonumber(sent)
      local is_one = r.is_merged or (is_merged == '1' and r.since_ms <= sent_ms)
      if is_one and (not first or sent_ms < first_ms) then first, first_ms = id, sent_ms end
    end
  end
  return first
end

-- Return why the history of the person or of the number forbids the call; nil: it does not.
-- 'no suppressed', 'no duplicate <delivery>' (of a move to `sending`: 'behind <delivery>' while that one
-- is on the wire), 'no called_recently <when, ms>', 'no day_cap number',
-- 'no day_cap route'. A history that can't be read forbids the call. "Call again" overrides
-- `duplicate`, `again_after` and the number's daily limit, but not a suppression and not `max_per_day`.
local function denial(m, found)
  local g = m.guard
  if not g then return nil end
  local phones = {g.phone, unpack(g.older_phones or {})}
  for _, phone in ipairs(phones) do
    if is_suppressed(phone) then return 'no suppressed' end
  end
  if g.person and is_suppressed(g.person) then return 'no suppressed' end
  for _, person in ipairs(g.older_persons or {}) do
    if is_suppressed(person) then return 'no suppressed' end
  end
  local first = not found.call_again and same_record(m, found)
  if first then
    local is_open = m.to == 'sending' and redis.call('HGET', P .. 'delivery:' .. first, 'status') == 'sending'
    return (is_open and 'behind ' or 'no duplicate ') .. first
  end
  if (g.again_ms > 0 or g.number_cap > 0) and not found.call_again then
    local of_day, last = 0, nil
    for _, phone in ipairs(phones) do
      local calls = redis.call('HGETALL', P .. 'number:' .. phone)
      for i = 1, #calls, 2 do
        local at, keep, day, route = string.match(calls[i + 1], '^(%d+) (%d+) (%S+) (.*)$')
        if not at then return 'no called_recently 0' end
        local is_own = string.sub(calls[i], 1, #m.id + 1) == m.id .. ':'
        if tonumber(keep) <= now then
          redis.call('HDEL', P .. 'number:' .. phone, calls[i])
        else
          -- This delivery's own claims are of calls that were or may have been accepted.
          if day == g.day then of_day = of_day + 1 end
          local apart = math.abs(g.at_ms - tonumber(at))
          if not is_own and route == found.route and apart < g.again_ms then last = math.max(last or 0, tonumber(at)) end
        end
      end
    end
    if last then return 'no called_recently ' .. whole(last) end
    if g.number_cap > 0 and of_day >= g.number_cap then return 'no day_cap number' end
  end
  if g.day_cap > 0 then
    local cap = P .. 'calls:' .. g.day .. ':' .. found.route
    if redis.call('SCARD', cap) >= g.day_cap then return 'no day_cap route' end
  end
  return nil
end

-- Return the claim on its number and record that a delivery makes when it is sent; nil: no rule needs one.
local function new_number_claim(m, found)
  local g = m.guard
  if not g or (g.again_ms <= 0 and g.number_cap <= 0 and g.day_cap <= 0 and not g.record) then return nil end
  local claim = {phone = g.phone, call = m.id .. ':' .. m.attempt.number, at_ms = g.at_ms,
    keep_until_ms = g.keep_until_ms}
  if g.again_ms > 0 or g.number_cap > 0 then
    claim.value = whole(g.at_ms) .. ' ' .. whole(g.keep_until_ms) .. ' ' .. g.day .. ' ' .. found.route
  end
  if g.day_cap > 0 then claim.cap = g.day .. ':' .. found.route end
  if g.record then
    local keep_until_ms = math.max(now, g.at_ms) + g.record.window_ms
    claim.record = {key = g.record.key, keep_until_ms = keep_until_ms, value = whole(now) .. ' '
      .. whole(keep_until_ms) .. ' ' .. (g.record.is_merged and '1' or '0') .. ' ' .. found.route}
  end
  return claim
end

-- Return why the request must not be sent now; nil: it may be sent.
local function forbidden(m, found)
  local ends = tonumber(index_score('leased', m.id) or '0')
  if ends - now < m.needs_ms then return 'late' end
  if is_write_back(m.id) then return write_back_forbidden(m.id, m.set and m.set.sent_fields) end
  if pause_of(found.source, found.route, found.event) then return 'paused 0' end
  if pause_of_campaign(m.set and m.set.batch_id) then return 'paused 0' end
  local wait = breaker_wait_ms(m.id, now)
  if wait > 0 then return 'paused ' .. wait end
  -- The hours ended while the call waited for its campaign or its turn. A worker must prepare it
  -- again.
  if m.guard and m.guard.closes_ms and now >= m.guard.closes_ms then return 'paused 0' end
  local no = denial(m, found)
  if no then return no end
  wait = rate_wait_ms(rate, now)
  if wait > 0 then return 'wait ' .. wait end
  return nil
end

-- Record again that this attempt began, because Redis may have lost it. No worker then sends it
-- twice.
local function begin_again(m, found)
  local key = delivery_key(m.id)
  -- If the answer came first, the attempt is here already, so only the lease shows what Redis lost.
  local is_there = redis.call('HEXISTS', key, 'attempt:' .. m.attempt.number) == 1
  if tonumber(found.lease) == m.lease and is_there then return 'known' end
  redis.call('HSET', key, 'lease', m.lease)
  change_index('leased', m.id, whole(now + new_lease_ms))
  unset_due(m.id)
  return nil
end

-- Keep the first call_sid. A second one goes into `past`, and bridge:call:<sid> still finds the
-- delivery.
local function keep_call(m, found)
  local sid = m.set and m.set.call_sid
  if not sid or sid == '' then return end
  redis.call('SET', P .. 'call:' .. sid, m.id)
  if found.call_sid and found.call_sid ~= sid then
    m.set.call_sid = nil
    m.set.past = (found.past or '') .. sid .. '\n'
  end
end

-- Return all known call_sids of the delivery, one a line; an empty line for an outcome without one.
local function known_calls(key, found)
  local sids = found.past or ''
  if found.call_sid then sids = sids .. found.call_sid .. '\n' end
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local sid = string.match(field, '^outcome:(.*):[^:]*$')
    if sid and not is_past(sids, sid) then sids = sids .. sid .. '\n' end
  end
  return sids
end

local function keep_early_outcome(id, field, o)
  local key = P .. 'early_outcome:' .. id
  redis.call('HSET', key, field, cjson.encode(o))
  has_no_early[id] = nil
  expire_early_outcomes(key)
end

-- Keep the result of an attempt whose delivery Redis lost. If the CRM sends the event again, no
-- phone may ring twice. Of a write-back, it is enough to know that it may have arrived.
local function remember_lost(m)
  if not m.attempt then return end
  if is_write_back(m.id) then
    redis.call('SET', P .. 'write_back_sent:' .. m.id, '1', 'EX', RECORD_KEPT_S)
  elseif m.to == 'delivered' then
    keep_early_outcome(m.id, 'accepted', {sid = m.set and m.set.call_sid or '', try = 'accepted',
      record = '', message = m.message or ''})
  elseif is_replay and (m.to == 'sending' or m.to == 'unknown') then
    keep_early_outcome(m.id, 'mark_unknown', {mark_unknown = true,
      message = 'Redis lost this delivery while its request was on the way; a phone may have rung.'})
  elseif is_replay then
    redis.call('HDEL', P .. 'early_outcome:' .. m.id, 'mark_unknown')
  end
end

-- Return why a proof of acceptance changes nothing; nil: it counts.
local function too_late(m, found)
  local sid = m.set and m.set.call_sid or ''
  if is_past(found.past, sid) then return 'stale' end
  if found.status == 'cancelled' and found.call_sid then return 'stale' end
  return nil
end

local FIELDS = {'phone', 'status', 'lease', 'order', 'reason', 'timeline', 'source', 'route', 'call_sid', 'past',
  'held_since_ms', 'request_token', 'call_again', 'number_claim', 'erased_ms', 'event', 'actors', 'terms', 'to',
  'campaign_key', 'batch_id', 'newest', 'created_ms', 'figures', 'message', 'next_ms', 'paused_by'}
-- Return a record; more: fields that a move deletes, so that write() knows whether they are there.
local function read(key, more)
  local found, names = {}, {unpack(FIELDS)}
  for _, name in ipairs(more or {}) do names[#names + 1] = name end
  for i, value in ipairs(redis.call('HMGET', key, unpack(names))) do
    if value then found[names[i]] = value end
  end
  return found
end

-- Return the answer to a replayed move that changes nothing; nil: Redis lost the move, so make it.
local function is_known(m, found)
  if tonumber(found.lease) > m.lease then return 'stale' end
  if m.to == 'sending' then
    if not m.from_statuses[found.status] and found.status ~= 'held' then
      return 'refused ' .. found.status
    end
    return begin_again(m, found)
  end
  if found.status == 'sending' or (m.is_proof and found.status ~= 'delivered') then return nil end
  return 'known'
end

-- Store an attempt whose move is not made: the worker lost its lease, or the record raised an error.
local function keep_attempt(m, key)
  if m.attempt and m.to ~= 'sending' and redis.call('EXISTS', key) == 1 then
    redis.call('HSET', key, 'attempt:' .. m.attempt.number, m.attempt.record)
  end
end

-- Take what an attempt says of CallKaro, in any status of its delivery.
local function take_evidence(m, found)
  if not is_replay then
    if m.callkaro_ok ~= nil then count_callkaro_result(m.callkaro_ok, m.id, now) end
    if m.pause then
      local scope = is_write_back(m.id) and 'crm:' .. found.source or 'callkaro'
      redis.call('HSETNX', P .. 'pauses', scope, m.pause)
      is_any_paused = true
    end
  end
end

-- Return why the move is not made; nil: make it. It may delete the lease. It makes `failed` of an
-- answer that came too late for a retry: it rewrites m.to, m.message and m.from_statuses.
local function refusal(m, found)
  local is_stale = m.lease and tonumber(found.lease) ~= m.lease
  if is_stale and not m.is_proof then return 'stale' end
  if m.is_proof then
    local late = too_late(m, found)
    if late then return late end
  end
  if found.status == 'unknown' and found.reason == 'worker_died' and m.attempt and m.to == 'retrying' then
    -- CallKaro surely did not accept the call, so settle the delivery. But no move leads from
    -- unknown to retrying.
    m.to, m.wait_ms, m.from_statuses = 'failed', nil, {unknown = true}
    m.message = (m.message or '') .. ' CallKaro surely did not accept the call, but this was known '
      .. 'too late for an automatic retry.'
  end
  if not m.from_statuses[found.status] then return 'refused ' .. found.status end
  if m.to == 'sending' then return forbidden(m, found) end
  local no = denial(m, found)
  if no then return no end
  -- A paused route does not go on to fail what it has not sent.
  if m.row and m.row.most and not m.attempt and found.status ~= 'sending'
    and pause_of(found.source, found.route, found.event) then return 'paused 0' end
  leave_index('leased', m.id)
  return nil
end

-- Count the failures of a route in a row, over all workers.
local function count_row(m, found)
  if not m.row or is_replay then return end
  if m.row.ends then
    if shared_size('failing') > 0 then redis.call('HDEL', P .. 'failing', found.route) end
  elseif redis.call('HINCRBY', P .. 'failing', found.route, 1) >= m.row.most then
    redis.call('HSETNX', P .. 'pauses', 'route:' .. found.route, m.row.pause)
    is_any_paused = true
  end
end

local function due_ms(m)
  -- If the campaign arrived after the worker looked, nothing else would wake the delivery.
  if m.awaits_campaign and redis.call('EXISTS', P .. 'campaign:' .. m.awaits_campaign) == 1 then
    return now
  end
  return m.due_ms or (m.wait_ms and now + m.wait_ms)
end

-- Write the record in one HSET, and one HDEL if there is anything to delete: a command each took a third of
-- the time. Returns its fields as they are now, as far as the indexes and the figures need them.
local function write(m, key, found, claim)
  local after, fields, removed = {}, {}, {}
  for field, value in pairs(found) do after[field] = value end
  local function set(field, value)
    fields[#fields + 1] = field
    fields[#fields + 1] = value
    after[field] = value
  end
  local function remove(field)
    removed[#removed + 1] = field
    after[field] = nil
  end
  for _, field in ipairs({'reason', 'message', 'next_ms', 'paused_by'}) do
    if found[field] then remove(field) end
  end
  for _, field in ipairs(m.del or {}) do
    if after[field] then remove(field) end
  end
  set('status', m.to)
  if m.attempt then set('attempt:' .. m.attempt.number, m.attempt.record) end
  if m.to == 'held' then set('held_since_ms', whole(now)) end
  if m.reason then set('reason', m.reason) end
  if m.message then set('message', m.message) end
  if m.request_token then set('request_token', m.request_token) end
  if m.restarts then set('past', known_calls(key, found)) end
  if m.restarts and m.set and m.set.call_again then set('again_ms', whole(now)) end
  if m.phone then set('phone', m.phone) end
  if m.name then set('name', m.name) end
  if m.number then set('number', m.number) end
  for field, value in pairs(m.set or {}) do set(field, value) end
  if claim then
    set('number_claim', cjson.encode(claim))
  elseif m.to == 'sending' and found.number_claim then
    remove('number_claim')
  end
  local due = due_ms(m)
  if due then
    set('next_ms', whole(due))
    set_due(m.id, m.to, due + (m.spread_ms or 0))
  end
  if found.status ~= m.to or found.reason ~= m.reason then
    set('timeline', timeline_with(found.timeline or '', now, m.to, m.reason))
    local actors = m.actor and actors_with(found.actors, found.timeline or '', m.actor)
    if actors then set('actors', actors) end
  end
  if #removed > 0 then redis.call('HDEL', key, unpack(removed)) end
  local request = m.set and m.set.request
  local figures = figures_to_write(m.id, after, now, request, request)
  if figures then set('figures', figures) end
  redis.call('HSET', key, unpack(fields))
  return after
end

-- Release the claim on the number if CallKaro surely did not accept the call. Make it again if it did.
local function update_number_claim(m, key, found)
  if m.to == 'sending' or not found.number_claim then return end
  local claim = cjson.decode(found.number_claim)
  if m.to == 'delivered' and found.status ~= 'sending' then
    -- A delivered one has its claim, or an outcome released it: then the phone did not ring.
    if found.status ~= 'delivered' then claim_number(claim, now) end
  elseif m.to == 'cancelled' and found.status == 'delivered' then
    release_future_claim(key, now)
  elseif (found.status == 'sending' or found.status == 'unknown') and not m.keeps_number
    and (m.to == 'retrying' or m.to == 'failed') then
    release_number(claim)
  end
end

-- The campaign of the record may be another one now. The call still counts under its old status there.
local function update_campaign(m, found, is)
  local was = campaign_named(found.to, found.campaign_key, found.batch_id)
  if was == is then return end
  if was then leave_campaign(was, m.id, found.order, found.route, found.status, found.newest) end
  if is then join_campaign(is, m.id, found.order, found.route, found.status, found.newest) end
end

local function update_indexes(m, found, after)
  local record = campaign_record(m.id, after)
  if m.set or m.del then pcall(update_campaign, m, found, record.campaign) end
  index_status(m.id, found.order, found.status, m.to, found.route, record)
  if m.phone then
    -- The number was corrected. An operation on the old number must not find this delivery.
    if found.phone and found.phone ~= m.phone then
      redis.call('ZREM', P .. 'deliveries:phone:' .. found.phone, m.id)
    end
    redis.call('ZADD', P .. 'deliveries:phone:' .. m.phone, found.order, m.id)
  end
  if m.set and m.set.terms then index_terms(found.order, found.terms, m.set.terms) end
  if m.awaits_campaign then
    redis.call('SADD', P .. 'awaiting:' .. m.awaits_campaign, m.id)
    -- If this expires, the delivery still becomes due again by itself.
    redis.call('EXPIRE', P .. 'awaiting:' .. m.awaits_campaign, 86400)
  end
end

local function move(m)
  local key = delivery_key(m.id)
  local found = read(key, m.del)
  if not found.status then
    remember_lost(m)
    return 'gone'
  end
  -- A client repeats its request if it did not receive the answer.
  if m.request_token and found.request_token == m.request_token then return 'ok' end
  if m.expected_lease and tonumber(found.lease) ~= m.expected_lease then return 'stale' end
  m.is_proof = m.to == 'delivered' and m.attempt
  if is_replay then
    local known = is_known(m, found)
    if known then return known end
  end
  take_evidence(m, found)
  local why = not (is_replay and m.to == 'sending') and refusal(m, found)
  if why then
    keep_attempt(m, key)
    return why
  end

  if not m.lease then redis.call('HINCRBY', key, 'lease', 1) end
  -- A claimed delivery is in no due set. Only a person or a proof of acceptance moves a waiting one.
  if not m.lease or (m.is_proof and found.status ~= 'sending') then unset_due(m.id) end
  if found.status == 'held' then count_held(key, found.reason, found.held_since_ms, now) end
  if m.to == 'delivered' then keep_call(m, found) end
  local claim = m.to == 'sending' and new_number_claim(m, found)
  local after = write(m, key, found, claim)
  if claim then claim_number(claim, now) end
  update_number_claim(m, key, found)
  update_indexes(m, found, after)
  if m.attempt and is_write_back(m.id) then note_written(m.id, m.to, m.reason) end
  if m.restarts or (m.set and m.set.past) then
    refresh_newest(m.id, found.order, m.to)
    count_figures(m.id, now, m.set and m.set.request)
  end
  count_row(m, found)
  if m.to == 'delivered' and m.set and m.set.call_sid then
    attach_early_outcomes(m.id, m.set.call_sid, now)
  end
  -- If the probe sent nothing, free the probe slot.
  if not m.attempt and has_breaker() and redis.call('HGET', BREAKER, 'probe') == m.id then
    redis.call('HSET', BREAKER, 'probe', '', 'probe_ms', whole(now))
  end
  if found.erased_ms then anonymize(m.id, now) end
  return 'ok'
end

-- Raise an error of Redis. What moved before it stays moved, in the figures, too.
local function give_up(problem)
  pcall(write_figures)
  error(problem, 0)
end

-- Ask Redis together what each of these moves asks.
local function look_ahead()
  local ids, sids = {}, {}
  for i, m in ipairs(moves) do
    ids[i] = m.id
    if m.to == 'delivered' and m.set and m.set.call_sid then sids[#sids + 1] = m.set.call_sid end
  end
  ask_together(ids)
  look_for_early_outcomes(sids)
end

local results = {}
look_ahead()
-- A broken record costs its own move alone. The audit repairs what that move left half done.
for i, m in ipairs(moves) do
  local is_whole, answer = pcall(move, m)
  if not is_whole then
    local text = text_of(answer)
    pcall(keep_attempt, m, delivery_key(m.id))
    if not text then
      if i == 1 or is_replay then
        pcall(write_indexes)
        give_up(answer)
      end
      for unmade = i, #moves do results[unmade] = 'unmade' end
      break
    end
    answer = 'crashed ' .. text
  end
  results[i] = answer
end
local is_written, problem = pcall(write_indexes)
if not is_written and not text_of(problem) then give_up(problem) end
return results
