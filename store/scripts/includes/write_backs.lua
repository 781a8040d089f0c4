-- include: keys, time, timeline, write_back_id
-- Write-backs are made in the step that moves a call or keeps its outcome. bridge:write_back_on says which
-- routes want them: {route = "<moment> <moment>..."}. The field `write_backs` of the call has their ids, one
-- a line; `told` counts their changes, for readers that wait for news of the call.
local MOMENT_OF_STATUS = {delivered = 'accepted', failed = 'failed', skipped = 'skipped', unknown = 'unknown'}
local moments_of_routes  -- nil: not read yet; a script reads it once

local function wants_write_back(route, moment)
  if moments_of_routes == nil then
    moments_of_routes = {}
    local flat = redis.call('HGETALL', P .. 'write_back_on')
    for i = 1, #flat, 2 do moments_of_routes[flat[i]] = ' ' .. flat[i + 1] .. ' ' end
  end
  local moments = moments_of_routes[route or '']
  return moments and string.find(moments, ' ' .. moment .. ' ', 1, true) ~= nil
end

local BY_PERSON = {['call_me.test'] = true, ['list.row'] = true}

-- Return the type of an event and that of the record that it is about, as its record says before its data;
-- '': none.
local function types_of(event)
  local record = redis.call('HGET', P .. 'event:' .. event, 'record') or ''
  local head = string.sub(record, 1, (string.find(record, ',"data":', 1, true) or #record + 1) - 1)
  return string.match(head, '"type":"([^"]*)"') or '', string.match(head, '"subject_type":"([^"]*)"') or ''
end

local function next_order()
  local order = whole(math.max(now_us(), tonumber(redis.call('GET', P .. 'order') or '0') + 1))
  redis.call('SET', P .. 'order', order)
  return order
end

local function note_told(parent) redis.call('HINCRBY', P .. 'delivery:' .. parent, 'told', 1) end

-- Move a write-back from the index of one status to that of another; from nil: it is new.
local function index_write_back(id, order, from, to)
  if from then redis.call('ZREM', P .. 'write_backs:status:' .. from, id) end
  redis.call('ZADD', P .. 'write_backs', order, id)
  redis.call('ZADD', P .. 'write_backs:status:' .. to, order, id)
  local parent = redis.call('HGET', write_back_key(id), 'of')
  if parent and redis.call('EXISTS', P .. 'delivery:' .. parent) == 1 then note_told(parent) end
end

-- Make the write-back of a moment of a call, once. of: {sid, try, at_ms} of an outcome, else {}. at_ms: when
-- it happened; the clock of CallKaro may be ahead of ours. There is none for a call that a person made, a test
-- call or that of a list, nor of an erased person, nor for a change of our own: if it was told, that would be
-- the next change. A form's event has no record (no subject), and its receiver knows it by its event's id.
local function make_write_back(parent, moment, of)
  local key = P .. 'delivery:' .. parent
  local got = redis.call('HMGET', key, 'subject', 'source', 'route', 'event', 'routes', 'erased_ms', 'call_sid',
    'write_backs', 'record_page', 'reason')
  if got[6] or (moment == 'skipped' and got[10] == 'own_change') then return end
  local sid = of.sid and of.sid ~= '' and of.sid or got[7] or ''
  local name = of.try and moment .. ':' .. of.try or moment
  local id = WRITE_BACK_ID .. redis.sha1hex(parent .. '\n' .. name .. '\n' .. sid)
  local own = write_back_key(id)
  if redis.call('EXISTS', own) == 1 then return end
  local event_type, subject_type = types_of(got[4])  -- the event may have megabytes
  if BY_PERSON[event_type] then return end
  local now, order = now_ms(), next_order()
  local fields = {'event', got[4], 'source', got[2], 'subject', got[1] or '', 'route', got[3], 'to', 'write_back',
    'routes', got[5], 'status', 'queued', 'order', order, 'created_ms', whole(now), 'lease', 0, 'next_ms',
    whole(now), 'timeline', timeline_with('', now, 'queued'), 'of', parent, 'moment', moment,
    'at_ms', whole(math.max(math.min(of.at_ms or now, now), 0)), 'subject_type', subject_type}
  local function set(field, value)
    if value then fields[#fields + 1], fields[#fields + 2] = field, value end
  end
  set('call_sid', sid ~= '' and sid)
  set('try', of.try)
  set('record_page', got[9])
  -- Redis had lost it while a worker sent it: see remember_lost() in move.lua.
  set('was_sent', redis.call('EXISTS', P .. 'write_back_sent:' .. id) == 1 and '1')
  redis.call('HSET', own, unpack(fields))
  redis.call('HSET', key, 'write_backs', (got[8] or '') .. id .. '\n')
  redis.call('ZADD', P .. 'due:write_back', whole(now), id)
  index_write_back(id, order, nil, 'queued')
end

-- A write-back that can't be made stops nothing, least of all an outcome that proves an acceptance.
local function tell_crm(parent, route, moment, of)
  local is_read, wants = pcall(wants_write_back, route, moment)
  if is_read and wants then pcall(make_write_back, parent, moment, of) end
end
