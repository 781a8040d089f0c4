-- include: time
-- Add up how long a delivery was held. Time held for lawful hours, or until a person released the
-- delivery, does not make its event too old. Neither held nor paused time counts against the 24
-- hours of retries.
local HELD_FIELDS = {outside_hours = 'held_ms', bulk = 'held_ms', paused = 'paused_ms'}

local function count_held(key, reason, since_ms, now)
  local field = HELD_FIELDS[reason or '']
  if field and since_ms then redis.call('HINCRBY', key, field, whole(now - tonumber(since_ms))) end
  redis.call('HDEL', key, 'held_since_ms')
end
