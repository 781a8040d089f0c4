-- include: keys, time
-- Reserve the turn of a request to a CRM, over all workers: never more than a number in any WINDOW_MS. That
-- is a little more than the 10 s in which CRMs count, because requests may arrive closer together than they
-- were sent.
--
-- ARGV[1]: the source. ARGV[2]: requests in 10 s. ARGV[3]: how long the request may wait, ms. ARGV[4]: '1': it
-- is a write-back's.
-- Returns in how many ms it may go; -1: not so soon, and no turn is reserved.
even_when_full()
local WINDOW_MS = 10500
local MOST_KEPT = 1000  -- turns; a later start may ask for more in 10 s than this one
local key, rate, now = P .. 'crm_turns:' .. ARGV[1], tonumber(ARGV[2]), now_ms()
local slow_ms = math.max(redis.call('PTTL', P .. 'crm_slow:' .. ARGV[1]), 0)
if ARGV[4] == '1' then slow_ms = math.max(slow_ms, redis.call('PTTL', P .. 'crm_slow_writes:' .. ARGV[1])) end
local at = now + slow_ms
local last = tonumber(redis.call('LINDEX', key, 0) or '') or 0
local before = tonumber(redis.call('LINDEX', key, rate - 1) or '')
at = math.max(at, last, before and before + WINDOW_MS or 0)
if at - now > tonumber(ARGV[3]) then return -1 end
redis.call('LPUSH', key, whole(at))
redis.call('LTRIM', key, 0, math.max(rate, MOST_KEPT) - 1)
redis.call('PEXPIRE', key, whole(at - now + 2 * WINDOW_MS))
return at - now
