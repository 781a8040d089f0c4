-- include: keys, campaign_index, errors
-- Count the calls of a campaign again from their records, and drop from its index what is not of it.
--
-- ARGV[1]: the campaign. ARGV[2]: a longer index is counted again only if its length differs from the counts,
-- or if records of its oldest calls are gone.
-- Counting reads each call in one step: 1,000 take about 4 ms. Returns how many were counted; -1: none;
-- a text: the error of its keys.
even_when_full()
local index, counts, PAGE = campaign_index(ARGV[1]), CAMPAIGN_COUNTS .. ARGV[1], 5000

local function counted()
  local sum, flat = 0, redis.call('HGETALL', counts)
  for i = 1, #flat, 2 do
    local status = string.match(flat[i], '^(%S+) ')
    if status and status ~= 'outcome' then sum = sum + tonumber(flat[i + 1]) end
  end
  return sum
end

-- An older release, which has no such index, prunes the oldest records first.
local function has_strays()
  for _, id in ipairs(redis.call('ZRANGE', index, 0, 9)) do
    if redis.call('EXISTS', P .. 'delivery:' .. id) == 0 then return true end
  end
  return false
end

local function recount()
  local size = redis.call('ZCARD', index)
  if size > tonumber(ARGV[2]) and counted() == size and not has_strays() then return -1 end
  local strays, at = {}, 0
  local called = redis.call('HMGET', counts, 'first_ms', 'last_ms')
  repeat
    local ids = redis.call('ZRANGE', index, at, at + PAGE - 1)
    for _, id in ipairs(ids) do
      local is_read, found = pcall(campaign_record, id)
      local status = is_read and redis.call('HGET', P .. 'delivery:' .. id, 'status')
      if status and found.campaign == ARGV[1] then
        count_call(counts, found.route, status, found.newest, 1)
      else
        strays[#strays + 1] = id
      end
    end
    at = at + #ids
  until #ids < PAGE
  for _, id in ipairs(strays) do redis.call('ZREM', index, id) end
  redis.call('DEL', counts)
  for i, name in ipairs({'first_ms', 'last_ms'}) do
    if called[i] then redis.call('HSET', counts, name, called[i]) end
  end
  if redis.call('EXISTS', index, CAMPAIGN_PRUNED .. ARGV[1]) == 0 then redis.call('SREM', P .. 'campaigns_used', ARGV[1]) end
  return size
end

-- A key of another type stops no other check.
local _, found = try(recount)
return found
