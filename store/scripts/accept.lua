-- include: keys, time, new_delivery, suppression, background_tasks, wakeup
-- Store events with their deliveries, in one transaction; ask for a drain if anything is due now. The events
-- may be of several requests.
--
-- ARGV[1]: JSON, a list of {fingerprint, remember_s, event, status, source, subject, is_test, is_reconciled,
--          deliveries, background_task, person, happening}. A delivery is {id, route, to, wait_ms, bulk, flood,
--          listed_ms, name, number, phone, record_page, terms, actor}: see write_delivery(). background_task: {id, record}, work for the event
--          besides deliveries. happening: {own, other, at_ms, from, to}, see same_event().
--          person: {key, record}, a person who must not be called from this step on.
-- ARGV[2]: the routes' digest.
-- ARGV[3..]: the events' records, JSON, in the same order. They are stored as they are: cjson would
--          lose digits of long ids.
-- Returns {1 if the caller must enqueue a drain, else 0; an answer for each event}: {'', delivery's
--          status...} for a new event; {event, status, delivery, route, status, delivery, route,
--          status...} for a duplicate, with the ids of the first; an error for an event that can't be stored:
--          it costs no other event its place.
local items = cjson.decode(ARGV[1])
local digest = ARGV[2]
local us = now_us()
local ms = math.floor(us / 1000)
local last = tonumber(redis.call('GET', P .. 'order') or '0')
-- A new store notes from its first event on what reconciles compare: see store/reconciles.py.
if last == 0 then redis.call('SET', P .. 'happenings_since', 0, 'NX') end
local order = math.max(us, last + 1)
local answers = {}
local is_due_now = false

local function first_answer(event)
  local found = redis.call('HMGET', P .. 'event:' .. event, 'status', 'deliveries')
  local answer = {event, found[1] or 'routed'}
  for id, route in string.gmatch(found[2] or '', '(%S+) ([^\n]*)\n') do
    answer[#answer + 1] = id
    answer[#answer + 1] = route
    answer[#answer + 1] = redis.call('HGET', P .. 'delivery:' .. id, 'status') or 'erased'
  end
  return answer
end

-- What an event adds to indexes counts once all of it is written: what is due without its event must not be
-- called. One ZADD for each index, not for each delivery: a third less work for a batch of 100.
local staged, staged_size = {}, 0  -- index, score, member, event's number; index, ...
local storing  -- the number of the event that is being stored
local function add(name, score, member)
  local n = staged_size
  staged[n + 1], staged[n + 2], staged[n + 3], staged[n + 4] = name, score, member, storing
  staged_size = n + 4
end

-- Return what is staged by index: {index = {score, member, score, member...}}.
local function additions()
  local lists = {}
  for at = 1, staged_size, 4 do
    local list, score, member = lists[staged[at]], staged[at + 1], staged[at + 2]
    if list then
      local n = #list
      list[n + 1], list[n + 2] = score, member
    else
      lists[staged[at]] = {score, member}
    end
  end
  return lists
end

local function add_delivery(item, d)
  local status = write_delivery(d, item, digest, order, ms, add)
  if status == 'queued' and d.wait_ms <= 0 then is_due_now = true end
  order = order + 1
  return status
end

-- What came by webhook and by reconcile is one event. So an event stands under its happening, by its time,
-- for as long as its id is known; an event that came in the other way looks there. Two that came in one way
-- are never compared.
local MOST_KEPT = 100  -- changes of one record and type; the newest

-- Say whether an event may have come in the other way: a reconcile looks at each source's webhooks, and most
-- sources were never reconciled.
local was_reconciled = {}
local function may_be_told(item)
  if item.is_reconciled then return true end
  if was_reconciled[item.source] == nil then
    was_reconciled[item.source] = redis.call('HEXISTS', P .. 'reconciles', item.source) == 1
  end
  return was_reconciled[item.source]
end

local function same_event(item)
  local happening = item.happening
  return happening and may_be_told(item) and redis.call('ZRANGE', P .. happening.other, happening.from,
    happening.to, 'BYSCORE', 'LIMIT', 0, 1)[1]
end

local function note_happening(item)
  local happening = item.happening
  if not happening then return end
  local key = P .. happening.own
  redis.call('ZADD', key, happening.at_ms, item.event)
  redis.call('EXPIRE', key, item.remember_s)
  if happening.from ~= '-inf' then redis.call('ZREMRANGEBYRANK', key, 0, -MOST_KEPT - 1) end
end

local function add_event(item, record)
  local listed, answer = '', {''}
  add('events', order, item.event)
  for _, d in ipairs(item.deliveries) do
    listed = listed .. d.id .. ' ' .. d.route .. '\n'
    answer[#answer + 1] = add_delivery(item, d)
  end
  if listed == '' then
    redis.call('ZADD', P .. 'events:' .. item.status, order, item.event)
    order = order + 1
  end
  redis.call('HSET', P .. 'event:' .. item.event, 'record', record, 'status', item.status, 'source', item.source,
    'deliveries', listed)
  if item.is_test then redis.call('HSET', P .. 'event:' .. item.event, 'is_test', '1') end
  if item.person then
    keep_suppressed(item.person.key, item.person.record)
  end
  if item.background_task then
    put_background_task(item.background_task.id, item.background_task.record, ms)
    is_due_now = true
  end
  note_happening(item)
  return answer
end

-- A good request ends a row of requests that did not prove their source, and a row of those that could
-- not be parsed: see alert.lua. A test call and a list are of a person, and no requests of their source.
-- Neither is what a reconcile found.
local noted = {}
local function note_request(item)
  if noted[item.source] or item.is_reconciled or item.deliveries[1] and item.deliveries[1].actor then return end
  if redis.call('HEXISTS', P .. 'channels', item.source) == 1 then
    redis.call('HSET', P .. 'channels:notified', item.source, ms)
  end
  redis.call('HDEL', P .. 'alerts:refused', item.source)
  redis.call('HDEL', P .. 'alerts:unparsed', item.source)
  noted[item.source] = true
end

local function store_new(item, record)
  local first = same_event(item)
  if not first then return add_event(item, record) end
  redis.call('SET', P .. 'seen:' .. item.fingerprint, first, 'EX', item.remember_s)
  return first_answer(first)
end

-- Forget an event that could not be written, so that its next sending is no duplicate of nothing, and nothing
-- counts twice. since: the order of its first delivery.
local function forget(item, since)
  redis.call('DEL', P .. 'seen:' .. item.fingerprint, P .. 'event:' .. item.event)
  for _, d in ipairs(item.deliveries) do unwrite_delivery(d, item.source, since) end
end

local function store_event(i, item)
  local seen = P .. 'seen:' .. item.fingerprint
  -- A record may outlive its `seen` key: an unknown delivery is kept until a person settles it.
  if redis.call('EXISTS', P .. 'event:' .. item.event) == 1 then
    local answer = first_answer(item.event)
    redis.call('SET', seen, item.event, 'EX', item.remember_s)
    return answer
  end
  if not redis.call('SET', seen, item.event, 'NX', 'EX', item.remember_s) then
    return first_answer(redis.call('GET', seen))
  end
  storing = i
  local size_before, since = staged_size, order
  local ok, answer = pcall(store_new, item, ARGV[i + 2])
  if ok then return answer end
  staged_size = size_before
  forget(item, since)
  error(answer, 0)
end

local function accept_event(i, item)
  local answer = store_event(i, item)
  note_request(item)
  return answer
end

-- An error that a command raised is a table, and before Redis 7 a text.
local function refused(problem)
  return {err = type(problem) == 'table' and problem.err or 'ERR ' .. tostring(problem)}
end

local function refuse_all_in(index, answer)
  for at = 1, staged_size, 4 do
    if staged[at] == index then answers[staged[at + 3]] = answer end
  end
end

for i, item in ipairs(items) do
  local ok, answer = pcall(accept_event, i, item)
  answers[i] = ok and answer or refused(answer)
end

for name, list in pairs(additions()) do
  -- At most 1,000 values at a time: Lua can unpack only a few thousand.
  for from = 1, #list, 1000 do
    local added = redis.pcall('ZADD', P .. name, unpack(list, from, math.min(from + 999, #list)))
    -- An index of the search that can't be written must not refuse events whose records are written. The
    -- audit repairs it.
    if type(added) == 'table' and added.err and not string.find(name, '^find:') then
      refuse_all_in(name, refused(added))
    end
  end
end
redis.call('SET', P .. 'order', whole(order))
table.insert(answers, 1, is_due_now and set_wakeup() or 0)
return answers
