-- include: keys, time, due, not_due, status_index, timeline_note, errors, broken, figures, write_back_id
-- Count an error that the record of a delivery raised in a script. The delivery waits, and with the last
-- error it fails. If its request may be on the wire, it becomes `unknown`. Each command here works on any
-- record that is a hash, so that nothing which is wrong with the record raises an error again.
--
-- ARGV[1]: the id. ARGV[2]: the error's text. ARGV[3]: how many errors end the delivery. ARGV[4]: how
-- long it waits after another one, ms. ARGV[5..7]: the messages: it waits, it failed, it is unknown.
-- Returns the status that the delivery has now; 'broken': its record can't be written, so that the
-- delivery was put aside; '': that is so already, or its record is gone.
even_when_full()
local id, now = ARGV[1], now_ms()
local key = delivery_key(id)

local function settle(found, status, reason, message)
  redis.call('HDEL', key, 'next_ms', 'held_since_ms', 'paused_by')
  redis.call('HSET', key, 'status', status, 'reason', reason, 'message', message)
  index_status(id, found[2], found[1], status, found[3] or '')
  note(key, now, status, reason)
  count_figures(id, now)
  return status
end

local function wait(status, errors)
  -- A call that CallKaro must delete is never given up, but the waits grow.
  local wait_ms = math.min(tonumber(ARGV[4]) * 2 ^ (errors - 1), 3600000)
  redis.call('HSET', key, 'crashes', whole(errors), 'message', ARGV[5], 'next_ms', whole(now + wait_ms))
  set_due(id, status, now + wait_ms)
  return status
end

local function count()
  local found = redis.call('HMGET', key, 'status', 'order', 'route', 'crashes', 'cancel_ms', 'lease')
  redis.call('ZREM', P .. 'leased', id)
  unset_due(id)
  local status, errors = found[1], (tonumber(found[4]) or 0) + 1
  if not status then return '' end
  -- Scripts count with these two. So these can be repaired, and the next try may go well.
  if not tonumber(found[2]) then
    found[2] = whole(now_us())
    redis.call('HSET', key, 'order', found[2])
  end
  if (tonumber(found[6]) or 2 ^ 53) >= 2 ^ 53 then redis.call('HSET', key, 'lease', 0) end
  -- No phone rings for a write-back. The next attempt asks the CRM whether this one arrived.
  if status == 'sending' and is_write_back(id) then
    redis.call('HSET', key, 'status', 'retrying')
    index_status(id, found[2], 'sending', 'retrying')
    status, found[1] = 'retrying', 'retrying'
  end
  if status == 'sending' then return settle(found, 'unknown', 'worker_died', ARGV[7]) end
  if status == 'delivered' and found[5] then return wait(status, errors) end
  if status ~= 'queued' and status ~= 'held' and status ~= 'retrying' then return status end
  if errors < tonumber(ARGV[3]) then return wait(status, errors) end
  return settle(found, 'failed', 'bad_request', ARGV[6])
end

local is_counted, answer = try(count)
if is_counted then return answer end
return put_aside(id, ARGV[2]) and 'broken' or ''
