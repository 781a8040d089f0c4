-- Store events with their deliveries, in one transaction; ring the bell if anything is due now.
--
-- ARGV[1]: JSON, a list of {fp, remember_s, event, status, source, subject, deliveries, errand}, each
--          delivery {id, route, to, wait_ms, bulk, flood}: see write_delivery(). errand: what the
--          event wants done besides, {id, record}; person: who is not to be called from this step on,
--          {key, record}. ARGV[2]: the routes' digest. ARGV[3..]: the events'
--          records, JSON, in the same order (kept as they are: cjson would lose digits of long ids).
-- Returns  {rung, answer...}: an answer is {'', delivery's status...} for a new event, or, for a
--          duplicate, {event, status, delivery, route, status, delivery, route, status...}.
local items = cjson.decode(ARGV[1])
local digest = ARGV[2]
local us = now_us()
local ms = math.floor(us / 1000)
local last = tonumber(redis.call('GET', P .. 'order') or '0')
local order = math.max(us, last + 1)
local answers = {}
local due_now = false

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

-- One ZADD for each index, not for each delivery: a third less work for a batch of 100.
local adds = {}
local function add(name, score, member)
  local list = adds[name]
  if not list then list = {}; adds[name] = list end
  list[#list + 1] = score
  list[#list + 1] = member
end

local function add_delivery(item, d)
  local status = write_delivery(d, item, digest, order, ms, function(name, score)
    add(name, score, d.id)
  end)
  if status == 'queued' and d.wait_ms <= 0 then due_now = true end
  order = order + 1
  return status
end

for i, item in ipairs(items) do
  local seen = P .. 'seen:' .. item.fp
  local key = P .. 'event:' .. item.event
  -- A record may outlive its seen key: an unknown delivery is kept for a person, however long.
  if redis.call('EXISTS', key) == 1 then
    redis.call('SET', seen, item.event, 'EX', item.remember_s)
    answers[i] = first_answer(item.event)
  elseif redis.call('SET', seen, item.event, 'NX', 'EX', item.remember_s) then
    local ids, answer = {}, {''}
    add('events', order, item.event)
    for _, d in ipairs(item.deliveries) do
      ids[#ids + 1] = d.id .. ' ' .. d.route .. '\n'
      answer[#answer + 1] = add_delivery(item, d)
    end
    if #ids == 0 then
      redis.call('ZADD', P .. 'events:' .. item.status, order, item.event)
      order = order + 1
    end
    redis.call('HSET', key, 'record', ARGV[i + 2], 'status', item.status, 'source', item.source,
      'deliveries', table.concat(ids))
    if item.person then
      keep_suppressed(item.person.key, item.person.record)
    end
    if item.errand then
      put_errand(item.errand.id, item.errand.record, ms)
      due_now = true
    end
    answers[i] = answer
  else
    answers[i] = first_answer(redis.call('GET', seen))
  end
end

for name, list in pairs(adds) do
  -- In pieces: Lua can unpack only a few thousand values at once.
  for from = 1, #list, 1000 do
    redis.call('ZADD', P .. name, unpack(list, from, math.min(from + 999, #list)))
  end
end
redis.call('SET', P .. 'order', string.format('%.0f', order))
-- A request that proves its source ends a row of those that did not: see alert.lua.
if items[1] then redis.call('HDEL', P .. 'alerts:refused', items[1].source) end
local rung = 0
if due_now and redis.call('SET', P .. 'bell', '1', 'NX', 'PX', 1000) then rung = 1 end
table.insert(answers, 1, rung)
return answers
