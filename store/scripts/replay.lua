-- include: keys, time, new_delivery, wakeup
-- Give an event the deliveries that today's routes make of it and that it never had.
--
-- ARGV[1]: the event's id. ARGV[2]: JSON, {event, status, source, subject, deliveries}, as in
-- accept.lua. ARGV[3]: the routes' digest. ARGV[4]: the event's record, read again; '': it stays.
-- Returns {} if there is no such event, else {1 if the caller must enqueue a drain, status, new
-- delivery's id...}.
local key = P .. 'event:' .. ARGV[1]
local item = cjson.decode(ARGV[2])
local found = redis.call('HMGET', key, 'status', 'deliveries', 'record')
if not found[1] then return {} end
-- The person was erased while the caller read the event: what it read must not come back.
if ARGV[4] ~= '' and cjson.decode(found[3]).data == cjson.null then return {} end
local us = now_us()
local ms = math.floor(us / 1000)
local order = math.max(us, tonumber(redis.call('GET', P .. 'order') or '0') + 1)
local listed, is_due_now, new = found[2] or '', false, {}

-- A delivery whose record was forgotten counts, too: it was handled once.
local had = {}
for id in string.gmatch(listed, '(%S+) [^\n]*\n') do had[id] = true end

for _, d in ipairs(item.deliveries) do
  if not had[d.id] then
    local status = write_delivery(d, item, ARGV[3], order, ms, function(name, score, member)
      redis.call('ZADD', P .. name, score, member)
    end)
    is_due_now = is_due_now or (status == 'queued' and d.wait_ms <= 0)
    listed = listed .. d.id .. ' ' .. d.route .. '\n'
    new[#new + 1] = d.id
    order = order + 1
  end
end

local status = listed ~= '' and 'routed' or item.status
if status ~= found[1] then
  local place = redis.call('ZSCORE', P .. 'events', ARGV[1]) or us
  redis.call('ZREM', P .. 'events:' .. found[1], ARGV[1])
  if status ~= 'routed' then redis.call('ZADD', P .. 'events:' .. status, place, ARGV[1]) end
end
redis.call('HSET', key, 'status', status, 'deliveries', listed)
if ARGV[4] ~= '' then redis.call('HSET', key, 'record', ARGV[4]) end
redis.call('SET', P .. 'order', whole(order))
return {is_due_now and set_wakeup() or 0, status, unpack(new)}
