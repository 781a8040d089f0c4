-- include: time, breaker
local OPENS_AFTER = 20  -- failures in a row, over all workers
local FIRST_PROBE_MS = 5000
local LAST_PROBE_MS = 60000

-- Count a success or a failure of CallKaro at a request for `name`. Only a failure of the probe
-- itself delays the next probe.
local function count_callkaro_result(is_ok, name, now)
  if is_ok then
    if has_breaker() then redis.call('DEL', BREAKER) end
    is_breaker_there = false
    return
  end
  is_breaker_there = true
  local failures = redis.call('HINCRBY', BREAKER, 'failures', 1)
  local found = redis.call('HMGET', BREAKER, 'open_ms', 'probe', 'probes')
  local probes = tonumber(found[3] or '0')
  if found[1] and found[2] ~= name then return end
  if not found[1] and failures < OPENS_AFTER then return end
  if not found[1] then redis.call('HSET', BREAKER, 'open_ms', whole(now)) end
  local wait = math.min(FIRST_PROBE_MS * 2 ^ probes, LAST_PROBE_MS)
  redis.call('HSET', BREAKER, 'probe_ms', whole(now + wait), 'probe', '', 'probes', probes + 1)
end
