-- include: keys
-- Count again how many deliveries have each status, if the counts differ from the indexes: after an
-- upgrade from a release that did not count, or after a repair.
--
-- If they agree, this costs ten small commands. Else each run counts a page: 2,000 take about 8 ms, and
-- Redis serves no other client during that time. Deliveries move meanwhile: see status_counts.lua.
--
-- ARGV[1]: how many deliveries a page has. Returns {how many were counted, 1 if that was the last page}; -1
-- in the place of the first: the counts were right.
even_when_full()
local STATUSES = {'queued', 'held', 'sending', 'retrying', 'unknown', 'delivered', 'skipped', 'failed',
  'cancelled'}
local recount, PAGE = P .. 'status_recount', tonumber(ARGV[1])

local function is_right()
  local sums, flat = {}, redis.call('HGETALL', P .. 'status_counts')
  for i = 1, #flat, 2 do
    local status = string.match(flat[i], '^%S*')
    sums[status] = (sums[status] or 0) + tonumber(flat[i + 1])
  end
  for _, status in ipairs(STATUSES) do
    if (sums[status] or 0) ~= redis.call('ZCARD', P .. 'deliveries:status:' .. status) then return false end
  end
  return true
end

local function count_page(ids)
  local counts = {}
  for _, id in ipairs(ids) do  -- a key of another type costs that record alone
    local got = redis.pcall('HMGET', P .. 'delivery:' .. id, 'status', 'route')
    if got[1] and got[2] then
      local field = got[1] .. ' ' .. got[2]
      counts[field] = (counts[field] or 0) + 1
    end
  end
  for field, count in pairs(counts) do redis.call('HINCRBY', recount, field, count) end
end

local function finish()
  redis.call('HDEL', recount, 'place')
  redis.call('DEL', P .. 'status_counts')
  if redis.call('EXISTS', recount) == 1 then redis.call('RENAME', recount, P .. 'status_counts') end
end

local place = redis.call('HGET', recount, 'place')
if not place and is_right() then return {-1, 1} end
local ids = redis.call('ZRANGE', P .. 'deliveries', place and '(' .. place or '-inf', '+inf', 'BYSCORE',
  'LIMIT', 0, PAGE, 'WITHSCORES')
local page = {}
for i = 1, #ids, 2 do page[#page + 1] = ids[i] end
count_page(page)
if #page == PAGE then
  redis.call('HSET', recount, 'place', ids[#ids])
  return {PAGE, 0}
end
finish()
return {#page, 1}
