-- include: write_back_record_key
-- Say which CRM records the bridge told of a call lately.
--
-- ARGV: JSON of each record, {source, subject, types}: a write-back has the type of its record only if
-- its event says it, so it may be any of them. Returns 1 or 0 for each.
local found = {}
for i, record in ipairs(ARGV) do
  local one = cjson.decode(record)
  found[i] = 0
  for _, subject_type in ipairs(one.types) do
    local key = write_back_record_key(one.source, subject_type, one.subject)
    if redis.call('EXISTS', key) == 1 then found[i] = 1 end
  end
end
return found
