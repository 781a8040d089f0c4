-- include: keys, event_head
-- Read events without their data, which lists do not show: it may have megabytes.
--
-- ARGV[1]: about how many bytes of records to read. ARGV[2..]: the events' ids.
-- Returns {record, status, deliveries} for each event in order, '' where there is no such event; of
-- the first ones only, if their records have more bytes.
local most, bytes, answer = tonumber(ARGV[1]), 0, {}
for i = 2, #ARGV do
  if bytes > most then break end
  local found = redis.call('HMGET', P .. 'event:' .. ARGV[i], 'record', 'status', 'deliveries')
  local record = found[1] or ''
  bytes = bytes + #record
  answer[#answer + 1] = {head_of(record), found[2] or '', found[3] or ''}
end
return answer
