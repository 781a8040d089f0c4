-- include: keys, time
-- bridge:number:<phone> has a field for each call: "<at_ms> <keep_until_ms> <day> <route>".
-- bridge:calls:<day>:<route> is the set of a route's calls on a day. The delivery has its claim in
-- the field number_claim, JSON: {phone, call, value, keep_until_ms, cap, at_ms}. `value` exists if
-- a rule reads the number's history, `cap` if the route has max_per_day.
-- bridge:record_calls:<record> has a field for each call of a CRM's record: "<sent_ms> <keep_until_ms>
-- <1 if its event named a record that was merged into this one, else 0> <route>". The claim has it in
-- record = {key, value, keep_until_ms}.
local KEEP_DAY_S = 4 * 86400

local function claim_number(claim, now)
  local keep_ms = claim.keep_until_ms - now
  if claim.value and keep_ms > 0 then
    local key = P .. 'number:' .. claim.phone
    redis.call('HSET', key, claim.call, claim.value)
    if redis.call('PTTL', key) < keep_ms then redis.call('PEXPIRE', key, whole(keep_ms)) end
  end
  if claim.cap then
    redis.call('SADD', P .. 'calls:' .. claim.cap, claim.call)
    redis.call('EXPIRE', P .. 'calls:' .. claim.cap,
      math.max(KEEP_DAY_S, math.ceil((claim.at_ms - now) / 1000) + KEEP_DAY_S))
  end
  local record = claim.record
  if record and record.keep_until_ms > now then
    local key = P .. 'record_calls:' .. record.key
    redis.call('HSET', key, claim.call, record.value)
    local keep_ms = record.keep_until_ms - now
    if redis.call('PTTL', key) < keep_ms then redis.call('PEXPIRE', key, whole(keep_ms)) end
  end
end

local function release_number(claim)
  if claim.value then redis.call('HDEL', P .. 'number:' .. claim.phone, claim.call) end
  if claim.cap then redis.call('SREM', P .. 'calls:' .. claim.cap, claim.call) end
  if claim.record then redis.call('HDEL', P .. 'record_calls:' .. claim.record.key, claim.call) end
end

-- Return the claim of a delivery from its last request; nil: it has none.
local function number_claim_of(key)
  local kept = redis.call('HGET', key, 'number_claim')
  return kept and cjson.decode(kept) or nil
end

-- A call that CallKaro deleted before its time did not ring, so its number is free again.
local function release_future_claim(key, now)
  local claim = number_claim_of(key)
  if claim and claim.at_ms > now then release_number(claim) end
end
