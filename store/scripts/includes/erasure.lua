-- include: keys, time, subject, search_index, write_back_id
local KEPT_OF_OUTCOME = {'call_sid', 'delivery_id', 'try_count', 'result', 'hangup_reason', 'is_final',
  'duration_s', 'ended_at', 'received_at', 'batch_id', 'version_id', 'converted'}
local KEPT_OF_ATTEMPT = {'number', 'at', 'duration_ms', 'status_code', 'error'}

local function only(record, names)
  local found, kept = cjson.decode(record), {}
  if found.conversion_status == true then found.converted = true end  -- for the figures alone
  for _, name in ipairs(names) do
    if found[name] ~= nil and found[name] ~= cjson.null then kept[name] = found[name] end
  end
  return cjson.encode(kept)
end

-- Remove all personal data from a delivery. While the bridge must still ask CallKaro to delete its
-- call, the two fields that this request needs stay.
local function anonymize(id, now)
  local key = delivery_key(id)
  local got = redis.call('HMGET', key, 'subject', 'phone', 'cancel_ms', 'request', 'terms', 'order')
  unindex_subject(key, id)
  index_terms(got[6], got[5] or nil, nil)
  if got[2] then redis.call('ZREM', P .. 'deliveries:phone:' .. got[2], id) end
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.match(field, '^attempt:') then
      redis.call('HSET', key, field, only(redis.call('HGET', key, field), KEPT_OF_ATTEMPT))
    elseif string.match(field, '^outcome:') then
      redis.call('HSET', key, field, only(redis.call('HGET', key, field), KEPT_OF_OUTCOME))
    elseif string.match(field, '^crm_call:') then
      redis.call('HDEL', key, field)
    end
  end
  redis.call('HDEL', key, 'phone', 'consent', 'number_claim', 'request', 'merged_from', 'name',
    'number', 'record_page', 'terms')
  if got[3] and got[4] then
    redis.call('HSET', key, 'request', only(got[4], {'agent_id', 'to_number'}))
  end
  redis.call('HSET', key, 'subject', '', 'message', 'This person was erased.')
  redis.call('HSETNX', key, 'erased_ms', whole(now))
end
