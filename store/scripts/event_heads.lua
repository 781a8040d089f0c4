-- include: keys, errors
-- Read events without their data, which lists do not show: it may have megabytes.
--
-- ARGV[1]: about how many bytes of records to read. ARGV[2..]: the events' ids.
-- Returns {record, status, deliveries} for each event in order, '' where there is none, or no hash; of
-- the first ones only, if their records have more bytes.
local most, bytes, answer = tonumber(ARGV[1]), 0, {}

-- Return a record without its data. The data comes last: within a text, JSON would have a backslash
-- before the quotes.
local function head_of(record)
  local data = string.find(record, ',"data":', 1, true)
  return data and string.sub(record, 1, data - 1) .. '}' or record
end

for i = 2, #ARGV do
  if bytes > most then break end
  local is_hash, found = try(redis.call, 'HMGET', P .. 'event:' .. ARGV[i], 'record', 'status', 'deliveries')
  if not is_hash then found = {} end
  local record = found[1] or ''
  bytes = bytes + #record
  answer[#answer + 1] = {head_of(record), found[2] or '', found[3] or ''}
end
return answer
