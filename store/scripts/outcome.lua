-- Keep what CallKaro says of a call: with its delivery, or, while that is not known, 30 days long.
--
-- ARGV[1]: our delivery id that came with it, '' if none did. ARGV[2]: JSON, {sid, try, record,
-- cancelled, message}: see take_outcome(). Returns {what became of it, the delivery's id or ''}.
even_when_full()
local o = cjson.decode(ARGV[2])
local now = math.floor(now_us() / 1000)

local function delivery_of()
  if ARGV[1] ~= '' and redis.call('EXISTS', P .. 'delivery:' .. ARGV[1]) == 1 then return ARGV[1] end
  if o.sid == '' then return nil end
  local id = redis.call('GET', P .. 'call:' .. o.sid)
  if id and redis.call('EXISTS', P .. 'delivery:' .. id) == 1 then return id end
  return nil
end

local id = delivery_of()
if id then return {take_outcome(id, o, now), id} end
local key = P .. 'orphan:' .. (ARGV[1] ~= '' and ARGV[1] or o.sid)
if redis.call('HLEN', key) >= MOST_OUTCOMES then return {'full', ''} end
local is_new = redis.call('HSETNX', key, o.sid .. ':' .. o.try, ARGV[2])
redis.call('EXPIRE', key, KEEP_ORPHANS_S)
return {is_new == 1 and 'kept' or 'duplicate', ''}
