-- include: keys, time, outbox, waiting
-- Find what people must be alerted of, and put a message into the outbox for each change.
--
-- ARGV[1]: how old a backlog may become, ms. ARGV[2]: how many refused requests in a row are
-- too many: forged or unsigned ones, or authentic ones that can't be parsed. ARGV[3]: at most how many messages are kept, the newest. ARGV[4]: 1 if RQ's workers are
-- suspended.
-- The script finds and records a change in one step, so only one of many workers reports it.
-- Returns how many messages are new.
even_when_full()
local backlog_ms, refused_max, kept_max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local us = now_us()
local now = math.floor(us / 1000)
local ON = P .. 'alerts'

local current = {}  -- what is wrong now, by name: {type, facts}
local function add(name, kind, facts) current[name] = {type = kind, facts = facts} end

local function pairs_of(key)
  local flat, i = redis.call('HGETALL', key), -1
  return function()
    i = i + 2
    return flat[i], flat[i + 1]
  end
end

-- A person may have written the message of a pause, so an alert does not contain it.
local function look_at_pauses()
  for scope, record in pairs_of(P .. 'pauses') do
    local kept = cjson.decode(record)
    if kept.reason == 'failing' then
      -- The bridge wrote this message, without personal data.
      local facts = {scope = scope, route = string.sub(scope, 7), message = kept.message, since_ms = kept.since_ms}
      add('failing ' .. scope, 'route.failing', facts)
    else
      local facts = {scope = scope, reason = kept.reason, since_ms = kept.since_ms}
      add('paused ' .. kept.reason .. ' ' .. scope, 'destination.paused', facts)
    end
  end
  local open_ms = redis.call('HGET', P .. 'breaker', 'open_ms')
  if open_ms then
    local facts = {scope = 'callkaro', reason = 'breaker', since_ms = tonumber(open_ms)}
    add('paused breaker callkaro', 'destination.paused', facts)
  end
  if ARGV[4] == '1' then  -- RQ does not say since when
    local facts = {scope = 'workers', reason = 'suspended', since_ms = now}
    add('paused suspended workers', 'destination.paused', facts)
  end
end

local function look_at_unknown()
  local key = P .. 'deliveries:status:unknown'
  local count = redis.call('ZCARD', key)
  if count == 0 then return end
  add('unknown', 'delivery.unknown', {count = count, delivery = redis.call('ZRANGE', key, 0, 0)[1]})
end

local function look_at_backlog()
  local oldest = oldest_waiting(now)
  if not oldest or now - oldest <= backlog_ms then return end
  local waiting = redis.call('ZCARD', P .. 'deliveries:status:queued')
    + redis.call('ZCARD', P .. 'deliveries:status:retrying')
  add('backlog', 'backlog.old', {oldest_s = math.floor((now - oldest) / 1000), waiting = waiting})
end

-- key: a hash of source -> its requests in a row that were refused for one cause.
local function look_at_rows(key, what, kind)
  for source, count in pairs_of(P .. key) do
    if tonumber(count) >= refused_max then
      local facts = {source = source, in_a_row = tonumber(count)}
      add(what .. ' ' .. source, kind, facts)
    end
  end
end

local function look_at_bulk()
  local count = redis.call('ZCARD', P .. 'bulk')
  if count > 0 then add('bulk', 'bulk.held', {count = count}) end
end

local function look_at_channels()
  for source, record in pairs_of(P .. 'channels') do
    local expires_ms = cjson.decode(record).expires_ms
    if expires_ms and expires_ms <= now then
      add('channel ' .. source, 'channel.lapsed', {source = source, since_ms = expires_ms})
    end
  end
end

look_at_pauses()
look_at_unknown()
look_at_backlog()
look_at_rows('alerts:refused', 'signatures', 'source.signatures_failing')
look_at_rows('alerts:unparsed', 'bodies', 'source.bodies_failing')
look_at_bulk()
look_at_channels()

read_outbox()
local new = 0
for name, record in pairs_of(ON) do
  if not current[name] then
    local kept = cjson.decode(record)
    redis.call('HDEL', ON, name)
    kept.facts.began_ms = kept.at_ms
    send(us, name, kept.type, kept.facts, true)
    new = new + 1
  end
end
for name, one in pairs(current) do
  local record = cjson.encode({type = one.type, facts = one.facts, at_ms = now})
  if redis.call('HSETNX', ON, name, record) == 1 then
    send(us, name, one.type, one.facts, false)
    new = new + 1
  end
end
forget_oldest(kept_max)
return new
