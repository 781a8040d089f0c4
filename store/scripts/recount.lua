-- include: keys, recounts
-- Count again how many deliveries have each status, if the counts differ from the indexes: after an
-- upgrade from a release that did not count, or after a repair.
--
-- If they agree, this costs ten small commands. Else each run counts a page: 2,000 take about 8 ms, and
-- Redis serves no other client during that time. Deliveries move meanwhile: see recounts.lua.
--
-- ARGV[1]: how many deliveries a page has. Returns {how many were counted, 1 if that was the last page}; -1
-- in the place of the first: the counts were right.
even_when_full()
local STATUSES = {'queued', 'held', 'sending', 'retrying', 'unknown', 'delivered', 'skipped', 'failed',
  'cancelled'}
local recount = P .. 'status_recount'

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

local function fields_of(id)
  local got = redis.pcall('HMGET', P .. 'delivery:' .. id, 'status', 'route')
  -- A key of another type costs that record alone.
  return got[1] and got[2] and {got[1] .. ' ' .. got[2]} or {}
end

if redis.call('HEXISTS', recount, 'place') == 0 and is_right() then return {-1, 1} end
local counted, is_last = recount_page(recount, P .. 'status_counts', P .. 'deliveries', tonumber(ARGV[1]),
  fields_of)
return {counted, is_last and 1 or 0}
