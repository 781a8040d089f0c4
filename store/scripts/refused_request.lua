-- include: keys, time
-- Keep a refused request, or without one only delete what is too old or too much.
--
-- ARGV[1]: how many each source keeps, the newest. ARGV[2]: for how long, ms. ARGV[3], ARGV[4]: the
-- source and the id of a request; '' where there is none. ARGV[5..]: its fields and their values.
-- Returns how many were deleted.
local keep, for_ms, source, id = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local NAMES = P .. 'refused_requests'
if id == '' then even_when_full() end
local us = now_us()

local function index_of(name) return NAMES .. ':' .. name end

local function delete_oldest(index, count)
  if count < 1 then return 0 end
  local ids = redis.call('ZRANGE', index, 0, count - 1)
  for _, one in ipairs(ids) do
    redis.call('DEL', P .. 'refused_request:' .. one)
    redis.call('ZREM', index, one)
  end
  return #ids
end

if id ~= '' and keep > 0 then
  local index, key = index_of(source), P .. 'refused_request:' .. id
  redis.call('SADD', NAMES, source)
  local order = us  -- above those of all sources: a cursor is an order
  for _, name in ipairs(redis.call('SMEMBERS', NAMES)) do
    local last = redis.call('ZRANGE', index_of(name), -1, -1, 'WITHSCORES')[2]
    order = math.max(order, tonumber(last or '0') + 1)
  end
  redis.call('ZADD', index, whole(order), id)
  redis.call('HSET', key, 'at_ms', whole(math.floor(us / 1000)), 'source', source, unpack(ARGV, 5))
  redis.call('PEXPIRE', key, for_ms)
  redis.call('PEXPIRE', index, for_ms)
end

local deleted = 0
for _, name in ipairs(redis.call('SMEMBERS', NAMES)) do
  local index = index_of(name)
  local old = redis.call('ZCOUNT', index, '-inf', '(' .. whole(us - for_ms * 1000))
  local count = redis.call('ZCARD', index)
  deleted = deleted + delete_oldest(index, math.max(old, count - keep))
  if redis.call('EXISTS', index) == 0 then redis.call('SREM', NAMES, name) end
end
return deleted
