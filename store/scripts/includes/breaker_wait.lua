-- include: breaker
-- Return how long the breaker still forbids a request for `name` (a delivery's id, or a word), ms;
-- 0: it permits the request.
local function breaker_wait_ms(name, now)
  if not has_breaker() then return 0 end
  local found = redis.call('HMGET', BREAKER, 'open_ms', 'probe_ms', 'probe')
  if not found[1] or found[3] == name then return 0 end
  return math.max(tonumber(found[2]) - now, 1000)
end
