-- include: keys, time, due, held_time, timeline_note, status_index, index_changes
-- What the claims of calls and of write-backs have in common.

-- Return for how long nothing may be claimed yet after a start of Redis, ms; 0 or less: it may. Redis may
-- have lost its last second, and first the workers replay their journals. run: the run id of Redis; '':
-- our user may not ask for it, and then a restart goes unseen.
local function settling_ms(run, grace_ms, now)
  if run == '' then return 0 end
  local kept = redis.call('HMGET', P .. 'run', 'id', 'since_ms')
  if kept[1] == run then return grace_ms - (now - tonumber(kept[2])) end
  -- A Redis that is new to us, or was emptied, has lost nothing that a worker could replay.
  local since = kept[1] and now or 0
  redis.call('HSET', P .. 'run', 'id', run, 'since_ms', whole(since))
  return grace_ms - (now - since)
end

local messages = {}  -- by scope: the message of what its pause holds
local function pause_message(scope)
  if not messages[scope] then
    local ok, pause = pcall(cjson.decode, redis.call('HGET', P .. 'pauses', scope) or '{}')
    messages[scope] = 'Paused (' .. scope .. '): ' .. (ok and pause.message or '')
  end
  return messages[scope]
end

-- found, here and below: {status, order, reason, held_since_ms, route, paused_by}.

-- Hold a delivery for a pause, until now + look_again_ms.
local function hold(id, key, found, scope, now, look_again_ms)
  index_status(id, found.order, found.status, 'held', found.route)
  if found.paused_by ~= scope then note(key, now, 'held', 'paused') end
  if found.reason ~= 'paused' then
    count_held(key, found.reason, found.held_since_ms, now)
    redis.call('HSET', key, 'held_since_ms', whole(now))
  end
  redis.call('HSET', key, 'status', 'held', 'reason', 'paused', 'paused_by', scope,
    'message', pause_message(scope),
    'next_ms', whole(now + look_again_ms))
  -- Resuming makes it due at once; this time is for a resume that was interrupted.
  set_due(id, 'held', now + look_again_ms)
end

-- Lease a delivery that is due. Returns its lease number.
local function lease(id, key, found, now, lease_ms)
  if found.status == 'held' then
    index_status(id, found.order, 'held', 'queued', found.route)
    note(key, now, 'queued')
    count_held(key, found.reason, found.held_since_ms, now)
    redis.call('HSET', key, 'status', 'queued')
    redis.call('HDEL', key, 'reason', 'message', 'paused_by')
  end
  redis.call('HDEL', key, 'next_ms')
  change_index('leased', id, whole(now + lease_ms))
  return redis.call('HINCRBY', key, 'lease', 1)
end
