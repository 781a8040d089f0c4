-- include: keys
-- Count again how many deliveries have each status, if the counts differ from the indexes: after an
-- upgrade from a release that did not count, or after a repair.
--
-- If they agree, this costs ten small commands. Counting reads each delivery in one step: 200,000 took
-- 0.8 s. Returns how many were counted; -1: the counts were right.
even_when_full()
local STATUSES = {'queued', 'held', 'sending', 'retrying', 'unknown', 'delivered', 'skipped', 'failed',
  'cancelled'}

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

if is_right() then return -1 end
local counts, at, PAGE = {}, 0, 5000
repeat
  local ids = redis.call('ZRANGE', P .. 'deliveries', at, at + PAGE - 1)
  for _, id in ipairs(ids) do
    local got = redis.call('HMGET', P .. 'delivery:' .. id, 'status', 'route')
    if got[1] and got[2] then
      local field = got[1] .. ' ' .. got[2]
      counts[field] = (counts[field] or 0) + 1
    end
  end
  at = at + #ids
until #ids < PAGE
redis.call('DEL', P .. 'status_counts')
for field, count in pairs(counts) do redis.call('HSET', P .. 'status_counts', field, count) end
return at
