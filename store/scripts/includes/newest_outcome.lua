-- include: keys, time, past_calls, outcome_index, delivery_changed, figures
-- The field `newest` of a delivery says which of its outcomes is the newest one, and what lists and
-- figures need of it: "<result> <try_count> <is_final> <converted> <talked_s> <outcomes> <call_sid>". `-`:
-- not known; 1, 0: yes, no. talked_s: of all dials of this call. outcomes: how many outcomes the delivery
-- had. schemas/headline.py says which outcome is the newest.

-- Return an instant that as_record() wrote (UTC), ms; nil: there is none.
local function instant_ms(text)
  if type(text) ~= 'string' then return nil end
  local y, mo, d, h, mi, s, rest = string.match(text, '^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)(.*)$')
  if not y then return nil end
  y, mo, d = tonumber(y), tonumber(mo), tonumber(d)
  -- Days since 1970: of a year that begins in March, so that a leap day is its last day.
  if mo <= 2 then y, mo = y - 1, mo + 12 end
  local days = 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400)
    + math.floor((153 * (mo - 3) + 2) / 5) + d - 719469
  local ms = string.sub((string.match(rest, '^%.(%d+)') or '') .. '000', 1, 3)
  return ((days * 24 + tonumber(h)) * 60 + tonumber(mi)) * 60000 + tonumber(s) * 1000 + tonumber(ms)
end

-- Return a number of JSON as a number; nil: it is none.
local function number(value) return type(value) == 'number' and value or nil end

local IS_RESULT = {}  -- a newer release may know others
for _, place in ipairs(OUTCOME_PLACES) do IS_RESULT[place] = place ~= 'none' end

-- Return the outcome that a record describes: {sid, try, at_ms, result, is_final, talked_s, converted,
-- version}.
local function read_outcome(record)
  local o = cjson.decode(record)
  local sid, converted = o.call_sid, o.conversion_status
  if converted == nil then converted = o.converted end  -- of an erased person: see erasure.lua
  return {sid = type(sid) == 'string' and sid or '', try = number(o.try_count) or 0,
    at_ms = instant_ms(o.ended_at) or instant_ms(o.received_at),
    result = IS_RESULT[o.result or ''] and o.result or 'unrecognised',
    is_final = o.is_final ~= false, talked_s = number(o.duration_s), version = o.version_id,
    converted = type(converted) == 'boolean' and converted}
end

-- Say whether an outcome can be the newest one: it is of a call to the person (try_count -1: a person
-- called CallKaro) and not from before "call again".
local function counts(o, past)
  if o.try < 0 or is_past(past, o.sid) then return false end
  return o.sid ~= '' or (past or '') == ''  -- without a call_sid nobody knows which call it was
end

local function is_newer(o, than)
  if o.try ~= than.try then return o.try > than.try end
  local at, than_at = o.at_ms or -math.huge, than.at_ms or -math.huge
  if at ~= than_at then return at > than_at end
  return o.sid > than.sid
end

local function yes_no(value)
  if value == nil then return '-' end
  return value and '1' or '0'
end

local function newest_text(o, talked_s, count)
  return table.concat({o.result, whole(o.try), yes_no(o.is_final), yes_no(o.converted), whole(talked_s),
    whole(count), o.sid}, ' ')
end

-- Return the outcome that `newest` describes, with the number of `outcomes`; talked_s: of all dials of its
-- call. nil: there is none. It does not say when it was, and not the version of the agent.
local function read_newest(newest)
  local result, try, is_final, converted, talked_s, outcomes, sid =
    string.match(newest or '', '^(%S+) (%S+) (%S) (%S) (%d+) (%d+) (.*)$')
  if not result then return nil end
  return {result = result, try = tonumber(try), is_final = is_final == '1', converted = converted == '1',
    talked_s = tonumber(talked_s), outcomes = tonumber(outcomes), sid = sid}
end

-- Return the outcome of a record that can be the newest one; nil: it can't. One that can't be read does not
-- count: it must not keep away those that follow.
local function counting(record, past)
  local is_readable, o = pcall(read_outcome, record)
  return is_readable and counts(o, past) and o or nil
end

-- Return the records of all outcomes of a delivery.
local function outcome_records(key)
  local records = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.match(field, '^outcome:') then records[#records + 1] = redis.call('HGET', key, field) end
  end
  return records
end

-- Return what the outcomes of a delivery say now, and the version of the agent; nil: none counts.
local function newest_of(key, past, count)
  local best, talked_s = nil, 0
  for _, record in ipairs(outcome_records(key)) do
    local o = counting(record, past)
    if o then
      talked_s = talked_s + (o.talked_s or 0)
      if not best or is_newer(o, best) then best = o end
    end
  end
  if not best then return nil end
  return newest_text(best, talked_s, count), best.version
end

-- Say whether `newest` may be another one than it says: an older release, which does not know it, kept an
-- outcome since, or called again.
local function is_outdated(known, past, count)
  return (known and known.outcomes or 0) ~= count or known and not counts(known, past)
end

-- version: of the agent in the newest outcome; nil: it has none; false: it is the same outcome as before.
local function set_newest(id, order, status, was, is, version)
  if was == is then return end
  if version ~= false then version_of[id] = version or '' end
  local key = P .. 'delivery:' .. id
  if is then redis.call('HSET', key, 'newest', is) else redis.call('HDEL', key, 'newest') end
  delivery_changed(id, order, {status = status, newest = was}, {status = status, newest = is})
end

-- Say whether an outcome is newer than the one that `newest` describes; nil: that one can't be read.
local function is_newer_than_kept(o, known, key)
  if o.try ~= known.try then return o.try > known.try end
  local kept = redis.call('HGET', key, 'outcome:' .. known.sid .. ':' .. whole(known.try))
  local is_readable, than = pcall(read_outcome, kept)
  if not is_readable then return nil end
  return is_newer(o, than)
end

-- Work out the newest outcome after `record` was kept as the last of `count`; was: the field `newest`. The
-- others, which may have a megabyte, are read only where `newest` does not say enough of them.
local function add_to_newest(id, order, status, was, past, record, count)
  local key, known, o = P .. 'delivery:' .. id, read_newest(was), counting(record, past)
  local is_later = o and (not known or is_newer_than_kept(o, known, key))
  if is_outdated(known, past, count - 1) or (o and is_later == nil) then
    set_newest(id, order, status, was, newest_of(key, past, count))
    return
  end
  local best, version = known, false
  if is_later then best, version = o, o.version end
  local talked_s = (known and known.talked_s or 0) + (o and o.talked_s or 0)
  set_newest(id, order, status, was, best and newest_text(best, talked_s, count), version)
end

-- Work out the newest outcome again: after the calls of `past` changed, or for an older release's record.
local function refresh_newest(id, order, status)
  local key = P .. 'delivery:' .. id
  local got = redis.call('HMGET', key, 'newest', 'past', 'outcomes')
  if not got[1] and not got[3] then return end
  set_newest(id, order, status, got[1] or nil, newest_of(key, got[2] or '', tonumber(got[3]) or 0))
end
