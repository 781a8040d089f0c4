-- include: keys
-- Replace the records of events by records without personal data. ARGV: id, record, id, record...
-- An event that was deleted in the meantime is not written again: nothing would ever prune it.
even_when_full()
for i = 1, #ARGV, 2 do
  local key = P .. 'event:' .. ARGV[i]
  if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'record', ARGV[i + 1]) end
end
