-- Put in front of every script. Scripts take the time from Redis, so that processes whose clocks
-- differ agree on what is due and whose lease is over.
local P = 'bridge:'
local KEEP_ORPHANS_S = 30 * 86400
local MOST_OUTCOMES = 50  -- of one delivery; CallKaro redials 10 times at the most

local function now_us()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

local function whole(number) return string.format('%.0f', number) end

-- A full Redis refuses a script whose first write needs memory, and lets one finish that has begun
-- to write. What records, repairs or frees must get through, so it begins with this.
local function even_when_full() redis.call('DEL', P .. 'nothing') end

-- --- what is counted ------------------------------------------------------------------------------

-- A script counts here while it works, and count_all() writes it down once, after the script: a few
-- commands, however many deliveries it moved. Fields are "<what> <word> <name>".
local stands, came = {}, {}
local COUNTED_WHEN_REACHED = {delivered = true, skipped = true, failed = true, unknown = true,
  cancelled = true, held = true}
-- How long each piece of the time series is, and for how long it is kept, s: bridge/measures.py.
local PIECES = {{name = 'minute', length = 60, kept = 4 * 3600},
  {name = 'ten', length = 600, kept = 32 * 3600}, {name = 'hour', length = 3600, kept = 9 * 86400}}

local function stand(status, route, by)
  local field = status .. ' ' .. route
  stands[field] = (stands[field] or 0) + by
end

local function reach(status, route)
  if not COUNTED_WHEN_REACHED[status] then return end
  local field = 'to ' .. status .. ' ' .. route
  came[field] = (came[field] or 0) + 1
end

local function count_totals(counts)
  for field, by in pairs(counts) do redis.call('HINCRBY', P .. 'measured', field, whole(by)) end
end

local function count_in_time(counts)
  if next(counts) == nil then return end
  local now_s = math.floor(now_us() / 1000000)
  for _, piece in ipairs(PIECES) do
    local key = P .. piece.name .. ':' .. whole(math.floor(now_s / piece.length))
    local is_new = false
    for field, by in pairs(counts) do
      if redis.call('HINCRBY', key, field, whole(by)) == by then is_new = true end
    end
    if is_new then redis.call('EXPIRE', key, piece.kept) end
  end
end

local function count_all()
  for field, by in pairs(stands) do
    if by ~= 0 then redis.call('HINCRBY', P .. 'standing', field, whole(by)) end
  end
  count_totals(came)
  count_in_time(came)
end

-- What a delivery can be listed by; `order` (its place in time, in us) is the score in all of them.
-- route: nil where the caller does not have it at hand.
local function index_status(id, order, from, to, route)
  if from == to then return end
  route = route or redis.call('HGET', P .. 'delivery:' .. id, 'route') or ''
  if from then stand(from, route, -1) end
  stand(to, route, 1)
  reach(to, route)
  if from then redis.call('ZREM', P .. 'deliveries:status:' .. from, id) end
  if from == 'held' then redis.call('ZREM', P .. 'bulk', id) end
  redis.call('ZADD', P .. 'deliveries:status:' .. to, order, id)
end

-- What was never tried and what is tried again wait apart: a claim takes from both, so that a
-- backlog of one can't hold up the other. A call that is to be called off at CallKaro goes first.
local function set_due(id, status, ms)
  local set = P .. 'due'
  if status == 'retrying' then set = P .. 'due:retry' end
  if status == 'delivered' then set = P .. 'due:cancel' end
  redis.call('ZADD', set, whole(ms), id)
end

local function unset_due(id)
  redis.call('ZREM', P .. 'due', id)
  redis.call('ZREM', P .. 'due:retry', id)
  redis.call('ZREM', P .. 'due:cancel', id)
end

-- Time held for lawful hours, or until a person released it, does not make an event too old; and
-- time paused uses up no patience.
local COUNTED = {outside_hours = 'held_ms', bulk = 'held_ms', paused = 'paused_ms'}
local function count_held(key, reason, since_ms, now_ms)
  if COUNTED[reason or ''] and since_ms then
    redis.call('HINCRBY', key, COUNTED[reason], whole(now_ms - tonumber(since_ms)))
  end
  redis.call('HDEL', key, 'held_since_ms')
end

-- The timeline is a line a change: "<ms> <status> <reason>". Cut at 8 kB: a delivery that changes
-- more often than that is in a loop, and its first changes tell more than its last ones.
local function noted(timeline, now_ms, status, reason)
  if #timeline > 8000 then return timeline end
  return timeline .. string.format('%.0f %s %s\n', now_ms, status, reason or '')
end

local function note(key, now_ms, status, reason)
  local timeline = redis.call('HGET', key, 'timeline') or ''
  redis.call('HSET', key, 'timeline', noted(timeline, now_ms, status, reason))
end

-- How many deliveries each route got of late, those of this script included.
local matches = {}

-- Return why a new delivery waits for a person; nil: it goes its way.
local function why_bulk(d, now_ms)
  if d.flood then
    local seen = matches[d.route]
    if not seen then
      local since = (now_ms - d.flood.within_ms) * 1000
      seen = redis.call('ZCOUNT', P .. 'deliveries:route:' .. d.route, whole(since), '+inf')
    end
    matches[d.route] = seen + 1
    if seen >= d.flood.over then return d.flood.message end
  end
  return d.bulk
end

-- Write a new delivery d = {id, route, to, wait_ms, bulk, flood} of an event {event, source,
-- subject}. Writing down what lists it is the caller's: by is called with each (key, score).
-- Returns its status.
local function write_delivery(d, item, digest, order, now_ms, by)
  local bulk = why_bulk(d, now_ms)
  local status = bulk and 'held' or 'queued'
  local fields = {'event', item.event, 'source', item.source, 'subject', item.subject, 'route', d.route,
    'to', d.to, 'routes', digest, 'status', status, 'order', order, 'created_ms', now_ms, 'lease', 0}
  local timeline = noted('', now_ms, 'queued')
  local more = {'next_ms', now_ms + d.wait_ms, 'timeline', timeline}
  if bulk then
    more = {'reason', 'bulk', 'message', bulk, 'held_since_ms', whole(now_ms),
      'timeline', noted(timeline, now_ms, 'held', 'bulk')}
  end
  for _, one in ipairs(more) do fields[#fields + 1] = one end
  redis.call('HSET', P .. 'delivery:' .. d.id, unpack(fields))
  by('deliveries', order)
  by('deliveries:status:' .. status, order)
  by('deliveries:route:' .. d.route, order)
  by('deliveries:source:' .. item.source, order)
  if item.subject ~= '' then by('deliveries:subject:' .. item.subject, order) end
  if bulk then by('bulk', order) else by('due', now_ms + d.wait_ms) end
  stand(status, d.route, 1)
  reach(status, d.route)
  return status
end

-- --- what a number was called for ----------------------------------------------------------------

-- bridge:number:<phone> has a field for each call, "<rings_ms> <keep_until_ms> <day> <route>", and
-- bridge:calls:<day>:<route> is the set of a route's calls of a day. rings = {phone, call, value,
-- keep_until_ms, cap, at_ms}: value and cap where there is a rule that asks for them.
local KEEP_DAY_S = 4 * 86400

local function take_number(rings, now_ms)
  local keep_ms = rings.keep_until_ms - now_ms
  if rings.value and keep_ms > 0 then
    local key = P .. 'number:' .. rings.phone
    redis.call('HSET', key, rings.call, rings.value)
    if redis.call('PTTL', key) < keep_ms then redis.call('PEXPIRE', key, whole(keep_ms)) end
  end
  if rings.cap then
    redis.call('SADD', P .. 'calls:' .. rings.cap, rings.call)
    redis.call('EXPIRE', P .. 'calls:' .. rings.cap,
      math.max(KEEP_DAY_S, math.ceil((rings.at_ms - now_ms) / 1000) + KEEP_DAY_S))
  end
end

local function give_back_number(rings)
  if rings.value then redis.call('HDEL', P .. 'number:' .. rings.phone, rings.call) end
  if rings.cap then redis.call('SREM', P .. 'calls:' .. rings.cap, rings.call) end
end

-- What a delivery took when it was last sent; nil: nothing.
local function rings_of(key)
  local kept = redis.call('HGET', key, 'rings')
  return kept and cjson.decode(kept) or nil
end

-- A call that CallKaro dropped before its time rang nobody.
local function give_back_dropped(key, now_ms)
  local rings = rings_of(key)
  if rings and rings.at_ms > now_ms then give_back_number(rings) end
end

local is_any_suppressed  -- nil: not looked yet; once a script is enough
local function is_suppressed(who)
  if is_any_suppressed == nil then
    is_any_suppressed = redis.call('EXISTS', P .. 'suppressed') == 1
  end
  return is_any_suppressed and redis.call('HEXISTS', P .. 'suppressed', who) == 1
end

-- Return the record with the persons of another one added: both name CRM records that go with them.
local function with_persons(record, other)
  local kept, added = cjson.decode(record), cjson.decode(other).persons
  if type(added) ~= 'table' or #added == 0 then return record end
  local persons = type(kept.persons) == 'table' and kept.persons or {}
  local known = {}
  for _, person in ipairs(persons) do known[person] = true end
  for _, person in ipairs(added) do
    if not known[person] and #persons < 100 then persons[#persons + 1] = person end
  end
  kept.persons = persons
  return cjson.encode(kept)
end

-- Keep a suppression. The first one stays, with the records of the later ones, unless it replaces.
local function keep_suppressed(who, record, replaces)
  local kept = redis.call('HGET', P .. 'suppressed', who)
  if kept then
    record = replaces and with_persons(record, kept) or with_persons(kept, record)
    redis.call('HSET', P .. 'suppressed', who, record)
    return 0
  end
  redis.call('HSET', P .. 'suppressed', who, record)
  -- Each has a place of its own in the list: pages part between places.
  local newest = redis.call('ZRANGE', P .. 'suppressions', 0, 0, 'REV', 'WITHSCORES')
  local place = math.max(now_us(), (tonumber(newest[2]) or 0) + 1)
  redis.call('ZADD', P .. 'suppressions', whole(place), who)
  return 1
end

-- --- errands: what is done for an event or a person besides deliveries ---------------------------

local function put_errand(id, record, due_ms)
  redis.call('HSET', P .. 'errands', id, record)
  redis.call('ZADD', P .. 'due:errand', whole(due_ms), id)
end

-- --- erasing a person ----------------------------------------------------------------------------

local TOLD = {'call_sid', 'delivery_id', 'try_count', 'result', 'hangup_reason', 'is_final', 'duration_s',
  'ended_at', 'batch_id'}
local TRIED = {'number', 'at', 'duration_ms', 'status_code', 'error'}

local function only(record, names)
  local found, kept = cjson.decode(record), {}
  for _, name in ipairs(names) do
    if found[name] ~= nil and found[name] ~= cjson.null then kept[name] = found[name] end
  end
  return cjson.encode(kept)
end

-- Take everything personal out of a delivery. While CallKaro is yet to be told to drop its call,
-- what it takes to say so stays.
local function scrub(id, now_ms)
  local key = P .. 'delivery:' .. id
  local got = redis.call('HMGET', key, 'subject', 'phone', 'cancel_ms', 'request')
  if got[1] and got[1] ~= '' then redis.call('ZREM', P .. 'deliveries:subject:' .. got[1], id) end
  if got[2] then redis.call('ZREM', P .. 'deliveries:phone:' .. got[2], id) end
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.match(field, '^attempt:') then
      redis.call('HSET', key, field, only(redis.call('HGET', key, field), TRIED))
    elseif string.match(field, '^outcome:') then
      redis.call('HSET', key, field, only(redis.call('HGET', key, field), TOLD))
    end
  end
  redis.call('HDEL', key, 'phone', 'consent', 'rings', 'request')
  if got[3] and got[4] then
    redis.call('HSET', key, 'request', only(got[4], {'agent_id', 'to_number'}))
  end
  redis.call('HSET', key, 'subject', '', 'message', 'The person in it was erased.')
  redis.call('HSETNX', key, 'erased_ms', whole(now_ms))
end

-- --- what CallKaro accepted, as it tells us later ------------------------------------------------

-- Proof of acceptance, in any status: whatever was planned for the delivery is off.
local function accepted(id, found, sid, message, now_ms)
  local key = P .. 'delivery:' .. id
  if found.status == 'delivered' then return end
  redis.call('ZREM', P .. 'leased', id)
  unset_due(id)
  redis.call('HDEL', key, 'reason', 'next_ms', 'held_since_ms', 'paused_by')
  redis.call('HSET', key, 'status', 'delivered', 'message', message)
  if sid ~= '' then redis.call('HSETNX', key, 'call_sid', sid) end
  index_status(id, found.order, found.status, 'delivered')
  note(key, now_ms, 'delivered')
  -- It was given back if the call seemed not to have been accepted.
  local rings = rings_of(key)
  if rings then take_number(rings, now_ms) end
end

local function is_past(past, sid)
  if sid == '' then return false end
  return string.find('\n' .. (past or '') .. '\n', '\n' .. sid .. '\n', 1, true) ~= nil
end

-- Keep an outcome with its delivery. o: {sid, try, record, cancelled, not_dialled, message}.
-- Returns 'stored', 'duplicate' or 'full'.
local function take_outcome(id, o, now_ms)
  local key = P .. 'delivery:' .. id
  local field = 'outcome:' .. o.sid .. ':' .. o.try
  if redis.call('HEXISTS', key, field) == 1 then return 'duplicate' end
  local told = redis.call('HINCRBY', key, 'outcomes', 1)
  if told > MOST_OUTCOMES then return 'full' end
  if o.record ~= '' then redis.call('HSET', key, field, o.record) end
  local got = redis.call('HMGET', key, 'status', 'order', 'past', 'call_sid', 'erased_ms')
  if o.sid ~= '' then redis.call('SET', P .. 'call:' .. o.sid, id) end
  -- Of a call that was made before a person said "call again": it proves nothing of the new one.
  if is_past(got[3], o.sid) then
    if got[5] then scrub(id, now_ms) end
    return 'stored'
  end
  local was_accepted = got[1] == 'delivered' or (got[1] == 'cancelled' and got[4])
  if not was_accepted then
    accepted(id, {status = got[1], order = got[2]}, o.sid, o.message, now_ms)
    got[1] = 'delivered'
  end
  if o.not_dialled and told == 1 then
    local rings = rings_of(key)
    if rings then give_back_number(rings) end  -- it never rang
  end
  if o.cancelled and got[1] == 'delivered' then
    unset_due(id)
    redis.call('HDEL', key, 'cancel_ms', 'next_ms')
    redis.call('HSET', key, 'status', 'cancelled', 'reason', 'by_callkaro', 'message', o.message)
    index_status(id, got[2], 'delivered', 'cancelled')
    note(key, now_ms, 'cancelled', 'by_callkaro')
    give_back_dropped(key, now_ms)
  end
  if got[5] then scrub(id, now_ms) end
  return 'stored'
end

-- Nobody knows whether this delivery, which Redis had lost, was called: a person decides.
local function doubt(id, message, now_ms)
  local key = P .. 'delivery:' .. id
  local got = redis.call('HMGET', key, 'status', 'order')
  if got[1] ~= 'queued' and got[1] ~= 'held' and got[1] ~= 'retrying' then return end
  unset_due(id)
  redis.call('HDEL', key, 'next_ms', 'held_since_ms', 'paused_by')
  redis.call('HSET', key, 'status', 'unknown', 'reason', 'worker_died', 'message', message)
  index_status(id, got[2], got[1], 'unknown')
  note(key, now_ms, 'unknown', 'worker_died')
end

-- Give a delivery what came for it before anyone knew that it was meant. Returns whether any did.
local function adopt(id, orphan, now_ms)
  local key = P .. 'orphan:' .. orphan
  if redis.call('EXISTS', key) == 0 then return false end
  for _, kept in ipairs(redis.call('HVALS', key)) do
    local o = cjson.decode(kept)
    if o.doubt then doubt(id, o.message, now_ms) else take_outcome(id, o, now_ms) end
  end
  redis.call('DEL', key)
  return true
end

local function keep_orphan(orphan, field, o)
  local key = P .. 'orphan:' .. orphan
  redis.call('HSET', key, field, cjson.encode(o))
  redis.call('EXPIRE', key, KEEP_ORPHANS_S)
end

-- --- pauses, the breaker, the rate cap -----------------------------------------------------------

local BREAKER = P .. 'breaker'
local OPENS_AFTER = 20  -- failures in a row, over all workers
local FIRST_PROBE_MS = 5000
local LAST_PROBE_MS = 60000
local PROBE_LEASE_MS = 90000  -- longer than a lease: whoever probes may have died

-- Return the scope of the pause that stops a delivery of this source and route; nil: none does.
local is_any_paused  -- nil: not looked yet; once a script is enough
local function pause_of(source, route)
  if is_any_paused == nil then is_any_paused = redis.call('EXISTS', P .. 'pauses') == 1 end
  if not is_any_paused then return nil end
  local scopes = {'all', 'callkaro', 'source:' .. source, 'route:' .. route}
  local found = redis.call('HMGET', P .. 'pauses', unpack(scopes))
  for i, scope in ipairs(scopes) do
    if found[i] then return scope end
  end
  return nil
end

local has_breaker  -- nil: not looked yet; anything in it, be it open or only counting
local function is_breaker_kept()
  if has_breaker == nil then has_breaker = redis.call('EXISTS', BREAKER) == 1 end
  return has_breaker
end

-- Return how long the breaker forbids a request by `who`, ms; 0: it may go.
local function breaker_wait_ms(who, now_ms)
  if not is_breaker_kept() then return 0 end
  local found = redis.call('HMGET', BREAKER, 'open_ms', 'probe_ms', 'probe')
  if not found[1] or found[3] == who then return 0 end
  return math.max(tonumber(found[2]) - now_ms, 1000)
end

-- Count how CallKaro took a request by `who`. Only the probe's own failure puts the next one off.
local function callkaro_took(well, who, now_ms)
  if well then
    if is_breaker_kept() then redis.call('DEL', BREAKER) end
    has_breaker = false
    return
  end
  has_breaker = true
  local failures = redis.call('HINCRBY', BREAKER, 'failures', 1)
  local found = redis.call('HMGET', BREAKER, 'open_ms', 'probe', 'probes')
  local probes = tonumber(found[3] or '0')
  if found[1] and found[2] ~= who then return end
  if not found[1] and failures < OPENS_AFTER then return end
  if not found[1] then redis.call('HSET', BREAKER, 'open_ms', whole(now_ms)) end
  local wait = math.min(FIRST_PROBE_MS * 2 ^ probes, LAST_PROBE_MS)
  redis.call('HSET', BREAKER, 'probe_ms', whole(now_ms + wait), 'probe', '', 'probes', probes + 1)
end

-- Return how long the rate cap forbids the next request, ms; 0: it may go, and has been counted.
-- reserve_ms: a request that may wait so long takes its place in the line, and is counted now.
-- The cap holds in every second, not only on average: 5 % below it leaves room for requests that
-- bunch up between here and there. A request may be SLACK_MS early, for that is the workers' pace.
local SLACK_MS = 20
local function rate_wait_ms(rate, now_ms, reserve_ms)
  if rate <= 0 then return 0 end
  local gap = 1000 / (0.95 * rate)
  local slack = math.min(SLACK_MS, gap)
  local free_at = math.max(tonumber(redis.call('GET', P .. 'rate') or '0'), now_ms - slack)
  local wait = math.max(math.ceil(free_at - now_ms), 0)
  if wait > (reserve_ms or 0) then return wait end
  redis.call('SET', P .. 'rate', string.format('%.3f', free_at + gap), 'PX',
    whole(math.max(60000, free_at - now_ms + 2 * gap)))
  return reserve_ms and wait or 0
end
