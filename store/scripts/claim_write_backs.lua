-- include: keys, time, claiming, pauses, errors, shared, erased_write_back, write_back_id, write_back_record
-- Lease what is due of write-backs to one worker, as claim.lua does with calls. CallKaro's breaker and its
-- pauses do not concern them.
--
-- ARGV[1]: for how many threads. ARGV[2]: the lease, ms. ARGV[3]: how long
-- nothing is claimed after a start of Redis, ms. ARGV[4]: when to look again at what a pause holds, ms. ARGV[5]:
-- about how many bytes of records. ARGV[6]: at most how many, by source: one thread takes them. ARGV[7]: the run id of Redis.
-- Returns {raised, claim...}: raised is {id, text, id, text...}, the errors of records; a claim is {id,
-- lease, its fields (flat), the fields of its call (flat; empty: it is gone), the event's record}.
even_when_full()
check_shared_keys()
local lease_ms, look_again_ms, bytes_left = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
local raised = {}
local claims = {raised}
if settling_ms(ARGV[7], tonumber(ARGV[3]), now) > 0 then return claims end

local MOST_CLAIMED = 100  -- at once: nobody else is served meanwhile
local WAITS = {queued = true, held = true, retrying = true}
local FIELDS = {'status', 'order', 'reason', 'held_since_ms', 'source', 'route', 'paused_by', 'of', 'event',
  'erased_ms'}

local function claim(id)
  local key, found = write_back_key(id), {}
  for i, value in ipairs(redis.call('HMGET', key, unpack(FIELDS))) do found[FIELDS[i]] = value or nil end
  redis.call('ZREM', P .. 'due:write_back', id)
  -- It was settled in the meantime, or its record is gone: there is nothing to do.
  if not WAITS[found.status or ''] then return end
  -- Its person was erased while its request was on the wire, or by an older release.
  local call = P .. 'delivery:' .. (found.of or '')
  if found.erased_ms or redis.call('HEXISTS', call, 'erased_ms') == 1 then return cancel_erased(id, now) end
  local scope = pause_of_write_back(found.source)
  if scope then return hold(id, key, found, scope, now, look_again_ms) end
  note_newer_fields(read_write_back(id))
  local number = lease(id, key, found, now, lease_ms)
  local fields = redis.call('HGETALL', key)
  local parent = redis.call('HGETALL', call)
  local event = redis.call('HGET', P .. 'event:' .. (found.event or ''), 'record') or ''
  bytes_left = bytes_left - #event
  for _, texts in ipairs({fields, parent}) do
    for _, text in ipairs(texts) do bytes_left = bytes_left - #text end
  end
  claims[#claims + 1] = {id, number, fields, parent, event}
end

-- Those of a source without room stay due, and others are looked at. It may have thousands at the front: then a
-- page farther back is looked at, each time another one.
local PAGE, MOST_LOOKED_AT = 200, 1000
local looked_at, passed = 0, 0
local threads, rooms, has_thread = tonumber(ARGV[1]), cjson.decode(ARGV[6]), {}

local function consider(id)
  local source = redis.call('HGET', write_back_key(id), 'source') or ''
  local room = rooms[source]
  if room == 0 or (threads == 0 and not has_thread[source]) then
    passed = passed + 1
    return
  end
  local before = #claims
  claim(id)
  if #claims == before then return end
  if not has_thread[source] then threads = threads - 1 end
  if room then has_thread[source], rooms[source] = true, room - 1 end
end

-- Returns whether there is room for more.
local function look_at(due)
  for _, id in ipairs(due) do
    if bytes_left < 0 or #claims > MOST_CLAIMED then return false end
    local is_whole, text = try(consider, id)
    if not is_whole then
      passed = passed + 1  -- it may be due still
      redis.call('ZADD', P .. 'leased', whole(now + lease_ms), id)
      raised[#raised + 1] = id
      raised[#raised + 1] = text
    end
  end
  looked_at = looked_at + #due
  return true
end

local DUE = P .. 'due:write_back'
while looked_at < MOST_LOOKED_AT do
  local due = redis.call('ZRANGE', DUE, '-inf', whole(now), 'BYSCORE', 'LIMIT', passed, PAGE)
  if not look_at(due) or #due < PAGE then return claims end
end
local farther_back = redis.call('ZCOUNT', DUE, '-inf', whole(now)) - passed
if farther_back > 0 then
  local from = passed + now % (math.max(farther_back - PAGE, 0) + 1)
  look_at(redis.call('ZRANGE', DUE, whole(from), whole(math.min(from + PAGE, passed + farther_back) - 1)))
end
return claims
