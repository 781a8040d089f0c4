-- include: keys, time
-- Return how long the rate cap forbids the next request, ms; 0: it permits and counts the request.
-- reserve_ms: a request that may wait up to this long reserves its turn, and is counted now.
-- The cap applies in every second, not only on average. The pace is 5 % below the cap, because
-- requests may arrive closer together than they were sent. A request may be SLACK_MS early, because
-- workers poll every 20 ms.
local SLACK_MS = 20
local function rate_wait_ms(rate, now, reserve_ms)
  if rate <= 0 then return 0 end
  local gap = 1000 / (0.95 * rate)
  local slack = math.min(SLACK_MS, gap)
  local free_at = math.max(tonumber(redis.call('GET', P .. 'rate') or '') or 0, now - slack)
  local wait = math.max(math.ceil(free_at - now), 0)
  if wait > (reserve_ms or 0) then return wait end
  redis.call('SET', P .. 'rate', string.format('%.3f', free_at + gap), 'PX',
    whole(math.max(60000, free_at - now + 2 * gap)))
  return reserve_ms and wait or 0
end
