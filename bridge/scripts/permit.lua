-- Permit a request to CallKaro that is no delivery's own: the creation of a campaign that calls
-- share, or the deletion of a scheduled call.
--
-- ARGV[1]: who asks. ARGV[2]: requests/s over all workers. ARGV[3]: '1': a pause does not stop it.
-- Returns {'ok'}, {'paused'} or {'wait', ms}.
local now = math.floor(now_us() / 1000)
if ARGV[3] ~= '1' then
  if redis.call('HEXISTS', P .. 'pauses', 'all') == 1
    or redis.call('HEXISTS', P .. 'pauses', 'callkaro') == 1 then return {'paused'} end
  -- While the breaker is open, the one delivery that probes may have its campaign made.
  local breaker = redis.call('HMGET', BREAKER, 'open_ms', 'probe')
  if breaker[1] then
    if breaker[2] == '' then return {'wait', breaker_wait_ms(ARGV[1], now)} end
    redis.call('HSET', BREAKER, 'probe', ARGV[1])
  end
end
local wait = rate_wait_ms(tonumber(ARGV[2]), now)
if wait > 0 then return {'wait', wait} end
return {'ok'}
