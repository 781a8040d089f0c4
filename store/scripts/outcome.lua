-- include: keys, time, outcomes, early_outcome_expiry
-- Keep what CallKaro says of a call: with its delivery, or for 30 days while the delivery is not known.
--
-- ARGV[1]: our delivery id in it; '': it has none. ARGV[2]: JSON, {sid, try, record, result, cancelled,
-- not_dialled, message}: see take_outcome(). Returns {'stored', 'duplicate', 'full' or 'kept'; the
-- delivery's id or ''}.
even_when_full()
local o = cjson.decode(ARGV[2])
local now = now_ms()

local function delivery_of()
  if ARGV[1] ~= '' and redis.call('EXISTS', P .. 'delivery:' .. ARGV[1]) == 1 then return ARGV[1] end
  if o.sid == '' then return nil end
  local id = redis.call('GET', P .. 'call:' .. o.sid)
  if id and redis.call('EXISTS', P .. 'delivery:' .. id) == 1 then return id end
  return nil
end

local id = delivery_of()
if id then return {take_outcome(id, o, now), id} end
local key = P .. 'early_outcome:' .. (ARGV[1] ~= '' and ARGV[1] or o.sid)
if redis.call('HLEN', key) >= MOST_OUTCOMES then return {'full', ''} end
local is_new = redis.call('HSETNX', key, o.sid .. ':' .. o.try, ARGV[2])
expire_early_outcomes(key)
return {is_new == 1 and 'kept' or 'duplicate', ''}
