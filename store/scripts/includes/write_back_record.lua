-- include: keys, pauses, write_back_id, write_back_record_key
-- The order of the write-backs of one CRM record. bridge:write_back_record:<record> has `sending`: the one
-- whose request may be on the wire; and `newest:<field>`: "<at_ms> <call> <write-back>", the newest call that was
-- written to that field of the record. Each field has its own, because what is not known of a call is not
-- written: it must not hide what an older one would tell. It expires after 30 days.
local RECORD_KEPT_S = 30 * 86400
local WRITE_BACK_FIELDS = {'source', 'subject', 'subject_type', 'of', 'moment', 'try', 'call_sid', 'order', 'at_ms',
  'sent_fields'}

local function read_write_back(id)
  local found = {id = id}
  for i, value in ipairs(redis.call('HMGET', write_back_key(id), unpack(WRITE_BACK_FIELDS))) do
    if value then found[WRITE_BACK_FIELDS[i]] = value end
  end
  return found
end

-- A call of a form has no record, so it is one of its own.
local function record_of(w)
  if not w.subject or w.subject == '' then return P .. 'write_back_record:' .. (w.of or w.id) end
  return write_back_record_key(w.source or '', w.subject_type or '', w.subject)
end

local function note_in_record(w, field, value)
  local key = record_of(w)
  redis.call('HSET', key, field, value)
  redis.call('EXPIRE', key, RECORD_KEPT_S)
end

-- Say whether write-back `a` is of a later moment of the call than `b`. An outcome is later than the
-- acceptance of the same call, and than the outcomes of its earlier dials.
local function is_later(a, b)
  if a.call_sid and a.call_sid == b.call_sid and a.moment ~= b.moment then return a.moment == 'outcome' end
  local try, than = tonumber(a.try or ''), tonumber(b.try or '')
  if a.call_sid == b.call_sid and try and than and try ~= than then return try > than end
  return tonumber(a.order) > tonumber(b.order)
end

-- Say whether write-back `a` can stand for `b`. "Call again" makes another call, and the CRM is told of both.
local function is_of_same_call(a, b) return not b.call_sid or a.call_sid == b.call_sid end

-- What was told, or will be: a later write-back that failed does not stand for an earlier one.
local STANDS = {queued = true, held = true, retrying = true, sending = true, delivered = true}

local function is_superseded(w)
  local others = redis.call('HGET', P .. 'delivery:' .. (w.of or ''), 'write_backs') or ''
  for id in string.gmatch(others, '[^\n]+') do
    if id ~= w.id and STANDS[redis.call('HGET', write_back_key(id), 'status') or ''] then
      local other = read_write_back(id)
      if is_of_same_call(other, w) and is_later(other, w) then return true end
    end
  end
  return false
end

-- Say whether write-back `a`, of a moment at which nobody knew the call_sid, is of the call of `b`: that is
-- the delivery's call now, and not one from before "call again".
local function is_of_call_without_sid(a, b)
  return not a.call_sid and b.call_sid and redis.call('HGET', P .. 'delivery:' .. b.of, 'call_sid') == b.call_sid
end

-- Return the write-back of a newer call, if `newest` names it; nil: it does not.
local function newer_than(w, newest)
  local at_ms, call, id = string.match(newest or '', '^(%d+) (%S+) (%S+)$')
  if not at_ms or tonumber(at_ms) <= (tonumber(w.at_ms or '') or 0) then return nil end
  if call ~= w.of then return id end
  local told = read_write_back(id)
  if is_of_same_call(told, w) or is_of_call_without_sid(told, w) then return nil end  -- see is_superseded()
  return id
end

-- Return the write-back of a newer call that was written to this field of the same record; nil: none was.
local function newer_in_field(w, name)
  return newer_than(w, redis.call('HGET', record_of(w), 'newest:' .. name))
end

-- Note, for its claim, the fields of the record to which a newer call was written.
local function note_newer_fields(w)
  local flat, names = redis.call('HGETALL', record_of(w)), {}
  for i = 1, #flat, 2 do
    local name = string.match(flat[i], '^newest:(.*)$')
    if name and newer_than(w, flat[i + 1]) then names[#names + 1] = name end
  end
  if #names > 0 then redis.call('HSET', write_back_key(w.id), 'newer_fields', cjson.encode(names)) end
end

-- Return why the request of a write-back must not be sent now, as move.lua answers it; nil: it may be sent.
-- names: JSON, the record's fields that the request sets.
local function write_back_forbidden(id, names)
  local w = read_write_back(id)
  if pause_of_write_back(w.source) then return 'paused 0' end
  if is_superseded(w) then return 'no superseded' end
  local open = redis.call('HGET', record_of(w), 'sending')
  if open and open ~= id and redis.call('HGET', write_back_key(open), 'status') == 'sending' then
    return 'behind ' .. open
  end
  -- A newer call was written to one of its fields since it was claimed. The next claim knows that.
  for _, name in ipairs(cjson.decode(names or '[]')) do
    local newer = newer_in_field(w, name)
    if newer then return 'behind ' .. newer end
  end
  return nil
end

-- Note what a write-back's move means for its record. to: its new status. Of one that the CRM refused, the fields
-- may be written, and only the record of its call refused.
local function note_written(id, to, reason)
  local w = read_write_back(id)
  if to == 'sending' then return note_in_record(w, 'sending', id) end
  local may_be_written = to == 'delivered' or (to == 'failed' and reason == 'refused')
  if not may_be_written then return end
  for _, name in ipairs(cjson.decode(w.sent_fields or '[]')) do
    if not newer_in_field(w, name) then
      note_in_record(w, 'newest:' .. name, (w.at_ms or '0') .. ' ' .. (w.of or '-') .. ' ' .. id)
    end
  end
end
