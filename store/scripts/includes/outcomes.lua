-- include: keys, not_due, status_index, timeline_note, number_claims, erasure, past_calls, newest_outcome
-- include: time, figures, metrics, write_backs, index_changes
-- Outcomes: what CallKaro reports about a call after it accepted the call.
local MOST_OUTCOMES = 50  -- of one delivery; CallKaro redials 10 times at most

-- Record proof of acceptance, in any status: planned retries are removed.
local function record_acceptance(id, found, sid, message, now)
  local key = P .. 'delivery:' .. id
  if found.status == 'delivered' then return end
  leave_index('leased', id)
  unset_due(id)
  redis.call('HDEL', key, 'reason', 'next_ms', 'held_since_ms', 'paused_by')
  redis.call('HSET', key, 'status', 'delivered', 'message', message)
  if sid ~= '' then redis.call('HSETNX', key, 'call_sid', sid) end
  index_status(id, found.order, found.status, 'delivered')
  note(key, now, 'delivered')
  -- If the call seemed not to be accepted, its claim on the number was released. Claim it again.
  local claim = number_claim_of(key)
  if claim then claim_number(claim, now) end
end

-- A person may have asked for a new call before CallKaro said anything about the old one. If the new call
-- went out and the outcome is of a call that ended before "call again", that call is past. (If the new call
-- did not go out, the outcome proves the old one, and the new one is dropped.) Returns the past calls.
local WENT_OUT = {sending = true, unknown = true, delivered = true, cancelled = true}
local function note_past_call(key, o, found)
  local past = found.past or ''
  if not found.again_ms or not WENT_OUT[found.status] or o.record == '' or o.sid == found.call_sid or is_past(past, o.sid) then return past end
  local ended_ms = instant_ms(cjson.decode(o.record).ended_at)
  if not ended_ms or ended_ms >= tonumber(found.again_ms) then return past end
  past = past .. o.sid .. '\n'
  redis.call('HSET', key, 'past', past)
  return past
end

-- Count a dial by route and result; a person who calls CallKaro (try -1) is none. An early outcome of an
-- older release has no result of its own.
local function count_outcome(route, o)
  if tonumber(o.try) == -1 then return end
  local result = o.result or cjson.decode(o.record).result
  if not result then return end
  count_totals({['outcome ' .. result .. ' ' .. (route or '')] = 1})
end

-- Tell the CRM how a dial ended. An outcome of a person who called CallKaro (try -1) is of no dial.
local function tell_outcome(id, route, o)
  local try = tonumber(o.try)
  if o.record == '' or not try or try < 0 then return end
  local is_readable, read = pcall(read_outcome, o.record)
  tell_crm(id, route, 'outcome', {sid = o.sid, try = whole(try), at_ms = is_readable and read.at_ms or nil})
end

-- Keep an outcome with its delivery. o: {sid, try, record, result, cancelled, not_dialled, message}.
-- Returns 'stored', 'duplicate' or 'full'.
local function take_outcome(id, o, now)
  local key = P .. 'delivery:' .. id
  local field = 'outcome:' .. o.sid .. ':' .. o.try
  if redis.call('HEXISTS', key, field) == 1 then return 'duplicate' end
  local count = redis.call('HINCRBY', key, 'outcomes', 1)
  if count > MOST_OUTCOMES then return 'full' end
  local got = redis.call('HMGET', key, 'status', 'order', 'past', 'call_sid', 'erased_ms', 'again_ms', 'route',
    'newest')
  if o.record ~= '' then
    redis.call('HSET', key, field, o.record)
    pcall(count_outcome, got[7], o)
  end
  local past = note_past_call(key, o, {status = got[1], past = got[3], call_sid = got[4], again_ms = got[6]})
  if past == (got[3] or '') then
    add_to_newest(id, got[2], got[1], got[8] or nil, past, o.record, count)
  else
    refresh_newest(id, got[2], got[1])  -- without a call_sid, those kept may not count any more
  end
  if o.sid ~= '' then redis.call('SET', P .. 'call:' .. o.sid, id) end
  -- The outcome of a call from before "call again" proves nothing about the new call.
  if is_past(past, o.sid) then
    tell_outcome(id, got[7], o)  -- a phone rang all the same
    count_figures(id, now)
    if got[5] then anonymize(id, now) end
    return 'stored'
  end
  local was_accepted = got[1] == 'delivered' or (got[1] == 'cancelled' and got[4])
  if not was_accepted then
    record_acceptance(id, {status = got[1], order = got[2]}, o.sid, o.message, now)
    got[1] = 'delivered'
  end
  if o.not_dialled and count == 1 then
    local claim = number_claim_of(key)
    if claim then release_number(claim) end  -- the phone did not ring
  end
  if o.cancelled and got[1] == 'delivered' then
    unset_due(id)
    redis.call('HDEL', key, 'cancel_ms', 'next_ms')
    redis.call('HSET', key, 'status', 'cancelled', 'reason', 'by_callkaro', 'message', o.message)
    index_status(id, got[2], 'delivered', 'cancelled')
    note(key, now, 'cancelled', 'by_callkaro')
    release_future_claim(key, now)
  end
  tell_outcome(id, got[7], o)
  count_figures(id, now)
  if got[5] then anonymize(id, now) end
  return 'stored'
end
