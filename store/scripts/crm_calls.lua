-- include: keys
-- Read the CRM's records of calls, and note what becomes of them. The field crm_call:<call_sid> of a delivery
-- is the CRM's id of its record of that call; MAY_EXIST: a request that creates one was begun, and its answer
-- is not known.
--
-- ARGV[1]: a JSON list of [delivery, call_sid ('' if it has none), change]. A change is '': none; 'begin': note
-- that a request may create the record; 'none': it surely created none; 'id <id>': the CRM's id.
-- Returns for each what the field was before: '': there is no record; 'gone': the delivery is gone, or its
-- person was erased, so that nothing is noted and nothing may be written.
even_when_full()
local MAY_EXIST = '?'  -- as in store/write_backs.py
local found = {}
for i, call in ipairs(cjson.decode(ARGV[1])) do
  local key, field, change = P .. 'delivery:' .. call[1], 'crm_call:' .. call[2], call[3]
  local got = redis.call('HMGET', key, 'status', 'erased_ms', field)
  local before = got[3] or ''
  if not got[1] or got[2] then
    found[i] = 'gone'
  else
    local id = string.match(change, '^id (.+)$')
    if id then redis.call('HSET', key, field, id) end
    if change == 'begin' and before == '' then redis.call('HSET', key, field, MAY_EXIST) end
    if change == 'none' and before == MAY_EXIST then redis.call('HDEL', key, field) end
    found[i] = before
  end
end
return found
