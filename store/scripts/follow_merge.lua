-- include: keys
-- The CRM merged the record of a delivery into another one. The delivery and its event become that
-- record's, and stay listed under the former ids, too. An erased delivery or event stays as it is.
--
-- ARGV[1]: the delivery's id. ARGV[2]: its event's id. ARGV[3]: what the event's record says about its
-- subject, JSON; ARGV[4]: what it is to say. The rest of the record stays as it is: cjson would lose
-- digits of long ids. ARGV[5]: the id of the record. ARGV[6]: the former ids, one a line.
-- Returns 1, or 0 if there is nothing to change any more.
even_when_full()
local key = P .. 'delivery:' .. ARGV[1]
local found = redis.call('HMGET', key, 'order', 'erased_ms')
if not found[1] or found[2] then return 0 end
redis.call('HSET', key, 'subject', ARGV[5], 'merged_from', ARGV[6])
for subject in string.gmatch(ARGV[5] .. '\n' .. ARGV[6], '[^\n]+') do
  redis.call('ZADD', P .. 'deliveries:subject:' .. subject, found[1], ARGV[1])
end
local record = redis.call('HGET', P .. 'event:' .. ARGV[2], 'record')
local from, to = string.find(record or '', ARGV[3], 1, true)
local data = string.find(record or '', ',"data":', 1, true)
if from and (not data or from < data) then
  redis.call('HSET', P .. 'event:' .. ARGV[2], 'record',
    string.sub(record, 1, from - 1) .. ARGV[4] .. string.sub(record, to + 1))
end
return 1
