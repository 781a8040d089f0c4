-- Keep events as they are now, without what is personal. ARGV: id, record, id, record...
-- One that was forgotten meanwhile stays so: nothing would ever prune it again.
even_when_full()
for i = 1, #ARGV, 2 do
  local key = P .. 'event:' .. ARGV[i]
  if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'record', ARGV[i + 1]) end
end
