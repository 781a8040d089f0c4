-- Repair what dead workers left: a lease that ran out in `sending` may have rung a phone and
-- becomes `unknown`; elsewhere the delivery is due again, under a new lease number.
--
-- ARGV[1]: how many at the most. ARGV[2]: the message for `unknown`.
-- Returns {unknown, given back}.
even_when_full()
local now = math.floor(now_us() / 1000)
local unknown, back = 0, 0

local function give_back(id, status)
  redis.call('HINCRBY', P .. 'delivery:' .. id, 'lease', 1)
  redis.call('HSET', P .. 'delivery:' .. id, 'next_ms', whole(now))
  set_due(id, status, now)
  back = back + 1
end

local over = redis.call('ZRANGE', P .. 'leased', '-inf', '(' .. whole(now), 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, id in ipairs(over) do
  local key = P .. 'delivery:' .. id
  local found = redis.call('HMGET', key, 'status', 'order', 'to', 'cancel_ms')
  redis.call('ZREM', P .. 'leased', id)
  if found[1] == 'sending' and found[3] == 'campaign' then
    -- An empty campaign rings nobody, so making it is simply tried again.
    redis.call('HSET', key, 'status', 'retrying', 'reason', 'worker_died')
    redis.call('HDEL', key, 'message')
    index_status(id, found[2], 'sending', 'retrying')
    note(key, now, 'retrying', 'worker_died')
    give_back(id, 'retrying')
  elseif found[1] == 'sending' then
    -- The lease number stays: that attempt's late answer still settles it.
    redis.call('HSET', key, 'status', 'unknown', 'reason', 'worker_died', 'message', ARGV[2])
    index_status(id, found[2], 'sending', 'unknown')
    note(key, now, 'unknown', 'worker_died')
    unknown = unknown + 1
  elseif found[1] == 'queued' or found[1] == 'retrying' or (found[1] == 'delivered' and found[4]) then
    give_back(id, found[1])
  end
end
return {unknown, back}
