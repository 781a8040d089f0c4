-- include: keys
-- Remove a delivery from the index of its CRM record, and from those of the records that were merged
-- into it (merged_from: their ids, one a line).
local function unindex_subject(key, id)
  local got = redis.call('HMGET', key, 'subject', 'merged_from')
  local index = P .. 'deliveries:subject:'
  if got[1] and got[1] ~= '' then redis.call('ZREM', index .. got[1], id) end
  for subject in string.gmatch(got[2] or '', '[^\n]+') do redis.call('ZREM', index .. subject, id) end
end
