-- include: keys, time, claiming, early_outcomes, pauses, errors, shared, campaign_index, index_changes
-- Lease what is due to one worker: move it from due to leased, and raise its lease number, which makes
-- the number of the worker before it stale.
--
-- ARGV[1]: at most how many. ARGV[2]: the lease, ms. ARGV[3]: how long nothing is claimed after a start
-- of Redis, ms: Redis may have lost its last second, and first the workers replay their journals.
-- ARGV[4]: when to look again at what a pause holds, ms. ARGV[5]: about how many bytes of records.
-- ARGV[6]: JSON, {route = key}: the key of the campaign that a route's calls join now, of the routes that
-- name one. ARGV[7]: '1': only requests to delete a scheduled call, because replicas are away and would permit
-- no call. ARGV[8]: the run id of Redis, which changes at each start; empty: our user may not ask for it, and
-- then a restart goes unseen.
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

local settling = settling_ms(ARGV[8], grace_ms, now)
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

-- Return the scope of the pause that stops a delivery; nil: no pause does. A call of a route that names its
-- campaign joins the one of now, whatever an earlier attempt joined.
local named_campaigns = cjson.decode(ARGV[6])
local function scope_of(found)
  local scope = pause_of(found.source, found.route, found.event)
  if scope or found.to ~= 'call' then return scope end
  return pause_of_campaign(named_campaigns[found.route]
    or campaign_named(found.to, found.campaign_key, found.batch_id))
end

local waiting = {queued = true, held = true, retrying = true}
local raised = {}
local claims = {whole(now), closed_ms, 0, 0, raised}
local refusal  -- an error that is not a record's; nil: there was none

local FIELDS = {'status', 'order', 'reason', 'held_since_ms', 'event', 'source', 'route', 'paused_by', 'cancel_ms',
  'to', 'campaign_key', 'batch_id'}

-- Return a record, {field = value}; flat: as Redis gave it. While there is a pause, only FIELDS are read, and flat
-- is nil: what a pause holds may have megabytes, and is looked at again and again.
local function read(key)
  local found = {}
  if has_pauses() then
    for i, value in ipairs(redis.call('HMGET', key, unpack(FIELDS))) do found[FIELDS[i]] = value or nil end
    return found, nil
  end
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return found, flat
end

-- Return the fields of a record that was just leased; flat: as they were before, or nil. A held one changed
-- more than the lease and its time.
local function leased_fields(key, found, flat, number)
  if not flat or found.status == 'held' then return redis.call('HGETALL', key) end
  local fields = {'lease', whole(number)}
  for i = 1, #flat, 2 do
    if flat[i] ~= 'lease' and flat[i] ~= 'next_ms' then
      fields[#fields + 1] = flat[i]
      fields[#fields + 1] = flat[i + 1]
    end
  end
  return fields
end

local function claim_whole(id, from)
  local key = P .. 'delivery:' .. id
  local found, flat = read(key)
  local status = found.status
  leave_index(from, id)
  claims[3] = claims[3] + 1
  local is_cancel = status == 'delivered' and found.cancel_ms
  -- It was settled in the meantime, or its record is gone: there is nothing to do.
  if not status or not (waiting[status] or is_cancel) then return end
  if not is_cancel then
    -- CallKaro may have reported its call while Redis had lost the delivery.
    if attach_early_outcomes(id, id, now) then
      if not waiting[redis.call('HGET', key, 'status')] then return end
      flat = nil  -- it is another record now
    end
    local scope = scope_of(found)
    if scope then return hold(id, key, found, scope, now, look_again_ms) end
  end
  local number = lease(id, key, found, now, lease_ms)
  local event = redis.call('HGET', P .. 'event:' .. found.event, 'record')
  if is_open and not is_cancel then
    redis.call('HSET', P .. 'breaker', 'probe', id, 'probe_ms', whole(now + PROBE_LEASE_MS))
  end
  local fields = leased_fields(key, found, flat, number)
  bytes_left = bytes_left - #(event or '')
  for _, text in ipairs(fields) do bytes_left = bytes_left - #text end
  if bytes_left < 0 then claims[4] = 1 end
  claims[#claims + 1] = {id, number, fields, event or ''}
end

-- Claim a delivery. If its record raises an error, it is leased, and the caller counts the error. Returns
-- false if Redis refuses a command: then the delivery stays due, and nothing more is claimed.
local function claim(id, from)
  local ok, problem = pcall(claim_whole, id, from)
  if ok then return true end
  local text = text_of(problem)
  if not text then
    refusal = problem
    leave_index('leased', id)
    change_index(from, id, whole(now))
    return false
  end
  change_index('leased', id, whole(now + lease_ms))
  raised[#raised + 1] = id
  raised[#raised + 1] = text
  return true
end

-- What was claimed before an error of Redis is handed out: else its leases would have to run out.
local function answer()
  local is_written, problem = pcall(write_indexes)
  if not is_written then refusal = refusal or problem end
  if refusal and #claims == 5 and #raised == 0 then error(refusal, 0) end
  return claims
end

-- The breaker does not stop requests to delete a scheduled call.
local cancels = redis.call('ZRANGE', P .. 'due:cancel', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
for _, id in ipairs(cancels) do
  if bytes_left < 0 or not claim(id, 'due:cancel') then return answer() end
end
if closed_ms > 0 or ARGV[7] == '1' or #cancels >= limit then return answer() end
-- While the breaker is open, one delivery is the probe.
local due_now, ids = due_ids(limit - #cancels), {}
for i, due in ipairs(due_now) do ids[i] = due[1] end
look_for_early_outcomes(ids)
for _, due in ipairs(due_now) do
  if bytes_left < 0 then break end
  local before = #claims
  if not claim(due[1], due[2]) then break end
  if is_open and #claims > before then break end
end
return answer()
