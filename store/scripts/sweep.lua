-- include: keys, time, due, status_index, timeline_note, errors, figures, write_back_id
-- Repair what dead workers left. A phone may have rung for a delivery whose lease ran out in `sending`,
-- so it becomes `unknown`. Other deliveries become due again, under a new lease number.
--
-- ARGV[1]: at most how many. ARGV[2]: the message for `unknown`. ARGV[3]: the lease of a delivery whose
-- record raised an error, until the caller has counted the error, ms.
-- Returns {how many became unknown, how many became due again, {id, text, id, text...}}: the errors.
even_when_full()
local now = now_ms()
local unknown, back, raised = 0, 0, {}

local function give_back(id, status)
  redis.call('HINCRBY', delivery_key(id), 'lease', 1)
  redis.call('HSET', delivery_key(id), 'next_ms', whole(now))
  set_due(id, status, now)
  back = back + 1
end

local over = redis.call('ZRANGE', P .. 'leased', '-inf', '(' .. whole(now), 'BYSCORE', 'LIMIT', 0, ARGV[1])
local function repair(id)
  local key = delivery_key(id)
  local found = redis.call('HMGET', key, 'status', 'order', 'to', 'cancel_ms')
  if found[1] == 'sending' and found[3] ~= 'call' then
    -- An empty campaign calls nobody, so it is safe to create it again. A write-back is sent again
    -- with the same id, by which its receiver knows it.
    redis.call('HSET', key, 'status', 'retrying', 'reason', 'worker_died')
    redis.call('HDEL', key, 'message')
    index_status(id, found[2], 'sending', 'retrying')
    note(key, now, 'retrying', 'worker_died')
    give_back(id, 'retrying')
  elseif found[1] == 'sending' then
    -- The lease number stays, so that a late answer to this attempt still settles it.
    redis.call('HSET', key, 'status', 'unknown', 'reason', 'worker_died', 'message', ARGV[2])
    index_status(id, found[2], 'sending', 'unknown')
    note(key, now, 'unknown', 'worker_died')
    count_figures(id, now)
    unknown = unknown + 1
  elseif found[1] == 'queued' or found[1] == 'retrying' or (found[1] == 'delivered' and found[4]) then
    give_back(id, found[1])
  end
end

for _, id in ipairs(over) do
  local is_repaired, text = try(repair, id)
  if is_repaired then
    redis.call('ZREM', P .. 'leased', id)
  else
    redis.call('ZADD', P .. 'leased', whole(now + tonumber(ARGV[3])), id)
    raised[#raised + 1] = id
    raised[#raised + 1] = text
  end
end
return {unknown, back, raised}
