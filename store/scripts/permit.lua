-- include: keys, time, breaker, breaker_wait, rate
-- Permit a request to CallKaro that does not belong to one delivery: the creation of a campaign that
-- calls share, or the deletion of a scheduled call.
--
-- ARGV[1]: a name for the request. ARGV[2]: requests/s over all workers. ARGV[3]: '1': a pause does not
-- stop it. ARGV[4]: how long it may wait for its turn, ms. ARGV[5..]: the deliveries that need it.
-- Returns {'ok', in how many ms it may go}, {'paused'}, or {'wait', ms}: ask again after that time.
even_when_full()
local now = now_ms()

-- While the breaker is open, the campaign of the delivery that probes may be created.
local function probes(probe)
  for i = 5, #ARGV do
    if ARGV[i] == probe then return true end
  end
  return probe == ARGV[1]
end

if ARGV[3] ~= '1' then
  if redis.call('HEXISTS', P .. 'pauses', 'all') == 1
    or redis.call('HEXISTS', P .. 'pauses', 'callkaro') == 1 then return {'paused'} end
  local breaker = redis.call('HMGET', BREAKER, 'open_ms', 'probe')
  if breaker[1] then
    if not probes(breaker[2]) then return {'wait', breaker_wait_ms(ARGV[1], now)} end
    redis.call('HSET', BREAKER, 'probe', ARGV[1])
  end
end
local most = tonumber(ARGV[4])
local wait = rate_wait_ms(tonumber(ARGV[2]), now, most)
if wait > most then return {'wait', wait} end
return {'ok', wait}
