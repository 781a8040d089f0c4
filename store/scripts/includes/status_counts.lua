-- include: keys, time, metrics
-- after: write_counts
-- bridge:status_recount is there while recount.lua counts again, page by page, in the order of the
-- deliveries: the counts so far, and in its field `place` the order of the last one that is counted. What
-- moves behind that place is counted in both; what moves before it will be read as it is then.
-- How many deliveries have each status now, and how many reached a status. A script counts in these
-- tables while it works. write_counts() writes them after the script, in a few commands, however many
-- deliveries the script moved.
local by_status, by_recount, reached = {}, {}, {}
local recounted_to  -- nil: not read yet
local COUNTED_WHEN_REACHED = {delivered = true, skipped = true, failed = true, unknown = true,
  cancelled = true, held = true}

local function is_recounted(order)
  if not recounted_to then
    local place = redis.pcall('HGET', P .. 'status_recount', 'place')
    recounted_to = type(place) == 'string' and tonumber(place) or -math.huge
  end
  return (tonumber(order) or math.huge) <= recounted_to
end

-- Count a delivery `by` times; order: its place in time, us.
local function count_status(status, route, order, by)
  local field = status .. ' ' .. route
  by_status[field] = (by_status[field] or 0) + by
  if is_recounted(order) then by_recount[field] = (by_recount[field] or 0) + by end
end

local function count_reached(status, route)
  if not COUNTED_WHEN_REACHED[status] then return end
  local field = 'to ' .. status .. ' ' .. route
  reached[field] = (reached[field] or 0) + 1
end

local function add_counts(key, changes)
  for field, by in pairs(changes) do
    if by ~= 0 then redis.call('HINCRBY', key, field, whole(by)) end
  end
end

local function write_counts()
  add_counts(P .. 'status_counts', by_status)
  add_counts(P .. 'status_recount', by_recount)
  count_totals(reached)
  count_in_time(reached)
end
