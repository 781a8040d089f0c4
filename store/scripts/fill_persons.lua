-- include: keys
-- Fill in what an older release did not store of the persons of deliveries. What is there stays, and an
-- erased delivery stays empty.
--
-- ARGV: id, JSON {field = value}, id, JSON...
even_when_full()
for i = 1, #ARGV, 2 do
  local key = P .. 'delivery:' .. ARGV[i]
  local found = redis.call('HMGET', key, 'status', 'erased_ms')
  if found[1] and not found[2] then
    for field, value in pairs(cjson.decode(ARGV[i + 1])) do redis.call('HSETNX', key, field, value) end
  end
end
