-- include: keys, campaign_index, recounts, errors
-- Count the calls of a campaign again from their records, and drop from its index what is not of it.
--
-- Each run counts a page: 1,000 take about 4 ms, and Redis serves no other client during that time. Calls move
-- meanwhile: see recounts.lua. One campaign is counted at a time: a run goes on with the one that a process
-- has begun, whatever campaign it is asked for, so that none stays half counted.
--
-- ARGV[1]: the campaign. ARGV[2]: a longer index is counted again only if its length differs from the counts,
-- or if records of its oldest calls are gone. ARGV[3]: how many calls a page has.
-- Returns {how many were counted, 1 if this campaign is through}. In the place of the first: -1: its counts
-- were right; a text: the error of the keys of a campaign, which is not counted.
even_when_full()
local recount = CAMPAIGN_RECOUNT

local function counted(campaign)
  local sum, flat = 0, redis.call('HGETALL', CAMPAIGN_COUNTS .. campaign)
  for i = 1, #flat, 2 do
    local status = string.match(flat[i], '^(%S+) ')
    if status and status ~= 'outcome' then sum = sum + tonumber(flat[i + 1]) end
  end
  return sum
end

-- An older release, which has no such index, prunes the oldest records first.
local function has_strays(index)
  for _, id in ipairs(redis.call('ZRANGE', index, 0, 9)) do
    if redis.call('EXISTS', P .. 'delivery:' .. id) == 0 then return true end
  end
  return false
end

local function is_right(campaign)
  local index = P .. campaign_index(campaign)
  local size = redis.call('ZCARD', index)
  return size > tonumber(ARGV[2]) and counted(campaign) == size and not has_strays(index)
end

-- Count a page of a campaign. Returns how many calls it had, and whether it was the last.
local function count_page(campaign)
  local index, counts = P .. campaign_index(campaign), CAMPAIGN_COUNTS .. campaign
  local called = redis.call('HMGET', counts, 'first_ms', 'last_ms')
  local function fields_of(id)
    local is_read, found = try(campaign_record, id)
    if is_read and found.status and found.campaign == campaign then
      return call_fields(found.route, found.status, found.newest)
    end
    redis.call('ZREM', index, id)
    return {}
  end
  local size, is_last = recount_page(recount, counts, index, tonumber(ARGV[3]), fields_of)
  if not is_last then
    redis.call('HSET', recount, 'campaign', campaign)
    return size, false
  end
  for i, name in ipairs({'first_ms', 'last_ms'}) do
    if called[i] then redis.call('HSET', counts, name, called[i]) end
  end
  if redis.call('EXISTS', index, CAMPAIGN_PRUNED .. campaign) == 0 then
    redis.call('SREM', P .. 'campaigns_used', campaign)
  end
  return size, true
end

local campaign = ARGV[1]
local function count_again()
  local begun = redis.call('HGET', recount, 'campaign')
  if not begun and is_right(campaign) then return -1, true end
  campaign = begun or campaign
  return count_page(campaign)
end

local is_whole, size, is_last = try(count_again)
if not is_whole then  -- a key of another type stops no other check
  redis.call('DEL', recount)
  is_last = true
end
return {size, is_last and campaign == ARGV[1] and 1 or 0}
