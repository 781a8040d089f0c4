-- include: keys, time, due, held_time, timeline_note, status_index, early_outcomes, pauses
-- include: errors, shared, campaign_index
-- Lease what is due to one worker: move it from due to leased, and raise its lease number, which makes
-- the number of the worker before it stale.
--
-- ARGV[1]: at most how many. ARGV[2]: the lease, ms. ARGV[3]: how long nothing is claimed after a start
-- of Redis, ms: Redis may have lost its last second, and first the workers replay their journals.
-- ARGV[4]: when to look again at what a pause holds, ms. ARGV[5]: about how many bytes of records.
-- ARGV[6]: JSON, {route = key}: the key of the campaign that a route's calls join now, of the routes that
-- name one. ARGV[7]: the run id of Redis, which changes at each start; empty: our user may not ask for it,
-- and then a restart goes unseen.
-- Returns {now_ms, wait_ms, looked_at, is_cut, raised, claim...}: nothing (more) can be claimed for
-- wait_ms; looked_at counts what was due, claimed or not; is_cut: 1 if the claims have ARGV[5] bytes,
-- else 0; raised: {id, text, id, text...}, the errors of records, whose count is the caller's work; a
-- claim is {id, lease, delivery's fields (flat), event's record}.
even_when_full()
check_shared_keys()
local limit, lease_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local grace_ms, look_again_ms, bytes_left = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local PROBE_LEASE_MS = 90000  -- longer than a lease: the worker that probes may have died
local now = now_ms()

local function since_restart_ms()
  local run = ARGV[7]
  if run == '' then return grace_ms end
  local kept = redis.call('HMGET', P .. 'run', 'id', 'since_ms')
  if kept[1] == run then return now - tonumber(kept[2]) end
  -- A Redis that is new to us, or was emptied, has lost nothing that a worker could replay.
  local since = kept[1] and now or 0
  redis.call('HSET', P .. 'run', 'id', run, 'since_ms', whole(since))
  return now - since
end

local settling = grace_ms - since_restart_ms()
if settling > 0 then return {whole(now), settling, 0, 0, {}} end

local breaker = redis.call('HMGET', P .. 'breaker', 'open_ms', 'probe_ms')
local is_open = breaker[1] and true
local closed_ms = is_open and math.max(tonumber(breaker[2]) - now, 0) or 0

-- Take half from each set, in turn; if one set has too few, the other fills up. Of an odd number, the
-- set whose first delivery is due for longer gets one more.
local function due_ids(limit)
  local fresh = redis.call('ZRANGE', P .. 'due', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
  local again = redis.call('ZRANGE', P .. 'due:retry', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
  local first, second, of_first, of_second = fresh, again, 'due', 'due:retry'
  if #fresh == 0 or (#again > 0 and tonumber(again[2]) < tonumber(fresh[2])) then
    first, second, of_first, of_second = again, fresh, 'due:retry', 'due'
  end
  local ids = {}
  for i = 1, 2 * limit, 2 do
    if first[i] then ids[#ids + 1] = {first[i], of_first} end
    if second[i] then ids[#ids + 1] = {second[i], of_second} end
    if #ids >= limit then break end
  end
  ids[limit + 1] = nil
  return ids
end

local messages = {}  -- by scope: the message of what its pause holds
local function pause_message(scope)
  if not messages[scope] then
    local ok, pause = pcall(cjson.decode, redis.call('HGET', P .. 'pauses', scope) or '{}')
    messages[scope] = 'Paused (' .. scope .. '): ' .. (ok and pause.message or '')
  end
  return messages[scope]
end

-- Return the scope of the pause that stops a delivery; nil: no pause does. A call of a route that names its
-- campaign joins the one of now, whatever an earlier attempt joined.
local named_campaigns = cjson.decode(ARGV[6])
local function scope_of(found)
  local scope = pause_of(found[6], found[7], found[5])
  if scope or found[10] ~= 'call' then return scope end
  return pause_of_campaign(named_campaigns[found[7]] or campaign_named(found[10], found[11], found[12]))
end

local function hold(id, key, found, scope)
  local order, status = found[2], found[1]
  index_status(id, order, status, 'held', found[7])
  if found[8] ~= scope then note(key, now, 'held', 'paused') end
  if found[3] ~= 'paused' then
    count_held(key, found[3], found[4], now)
    redis.call('HSET', key, 'held_since_ms', whole(now))
  end
  redis.call('HSET', key, 'status', 'held', 'reason', 'paused', 'paused_by', scope,
    'message', pause_message(scope),
    'next_ms', whole(now + look_again_ms))
  -- Resuming makes it due at once; this time is for a resume that was interrupted.
  set_due(id, 'held', now + look_again_ms)
end

local waiting = {queued = true, held = true, retrying = true}
local raised = {}
local claims = {whole(now), closed_ms, 0, 0, raised}
local refusal  -- an error that is not a record's; nil: there was none

local function claim_whole(id, from)
  local key = P .. 'delivery:' .. id
  local found = redis.call('HMGET', key, 'status', 'order', 'reason', 'held_since_ms', 'event',
    'source', 'route', 'paused_by', 'cancel_ms', 'to', 'campaign_key', 'batch_id')
  local status = found[1]
  redis.call('ZREM', P .. from, id)
  claims[3] = claims[3] + 1
  local is_cancel = status == 'delivered' and found[9]
  -- It was settled in the meantime, or its record is gone: there is nothing to do.
  if not status or not (waiting[status] or is_cancel) then return end
  if not is_cancel then
    -- CallKaro may have reported its call while Redis had lost the delivery.
    if attach_early_outcomes(id, id, now) and not waiting[redis.call('HGET', key, 'status')] then return end
    local scope = scope_of(found)
    if scope then return hold(id, key, found, scope) end
  end
  if status == 'held' then
    index_status(id, found[2], status, 'queued', found[7])
    note(key, now, 'queued')
    count_held(key, found[3], found[4], now)
    redis.call('HSET', key, 'status', 'queued')
    redis.call('HDEL', key, 'reason', 'message', 'paused_by')
  end
  redis.call('HDEL', key, 'next_ms')
  redis.call('ZADD', P .. 'leased', whole(now + lease_ms), id)
  local lease = redis.call('HINCRBY', key, 'lease', 1)
  local event = redis.call('HGET', P .. 'event:' .. found[5], 'record')
  if is_open and not is_cancel then
    redis.call('HSET', P .. 'breaker', 'probe', id, 'probe_ms', whole(now + PROBE_LEASE_MS))
  end
  local fields = redis.call('HGETALL', key)
  bytes_left = bytes_left - #(event or '')
  for _, text in ipairs(fields) do bytes_left = bytes_left - #text end
  if bytes_left < 0 then claims[4] = 1 end
  claims[#claims + 1] = {id, lease, fields, event or ''}
end

-- Claim a delivery. If its record raises an error, it is leased, and the caller counts the error. Returns
-- false if Redis refuses a command: then the delivery stays due, and nothing more is claimed.
local function claim(id, from)
  local ok, problem = pcall(claim_whole, id, from)
  if ok then return true end
  local text = text_of(problem)
  if not text then
    refusal = problem
    pcall(redis.call, 'ZREM', P .. 'leased', id)
    pcall(redis.call, 'ZADD', P .. from, whole(now), id)
    return false
  end
  redis.call('ZADD', P .. 'leased', whole(now + lease_ms), id)
  raised[#raised + 1] = id
  raised[#raised + 1] = text
  return true
end

-- What was claimed before an error of Redis is handed out: else its leases would have to run out.
local function answer()
  if refusal and #claims == 5 and #raised == 0 then error(refusal, 0) end
  return claims
end

-- The breaker does not stop requests to delete a scheduled call.
local cancels = redis.call('ZRANGE', P .. 'due:cancel', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
for _, id in ipairs(cancels) do
  if bytes_left < 0 or not claim(id, 'due:cancel') then return answer() end
end
if closed_ms > 0 or #cancels >= limit then return answer() end
-- While the breaker is open, one delivery is the probe.
for _, due in ipairs(due_ids(limit - #cancels)) do
  if bytes_left < 0 then break end
  local before = #claims
  if not claim(due[1], due[2]) then break end
  if is_open and #claims > before then break end
end
return answer()
