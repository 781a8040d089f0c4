-- include: keys, time, metrics
-- after: write_counts
-- How many deliveries have each status now, and how many reached a status. A script counts in these
-- tables while it works. write_counts() writes them after the script, in a few commands, however many
-- deliveries the script moved.
local by_status, reached = {}, {}
local COUNTED_WHEN_REACHED = {delivered = true, skipped = true, failed = true, unknown = true,
  cancelled = true, held = true}

local function count_status(status, route, by)
  local field = status .. ' ' .. route
  by_status[field] = (by_status[field] or 0) + by
end

local function count_reached(status, route)
  if not COUNTED_WHEN_REACHED[status] then return end
  local field = 'to ' .. status .. ' ' .. route
  reached[field] = (reached[field] or 0) + 1
end

local function write_counts()
  for field, by in pairs(by_status) do
    if by ~= 0 then redis.call('HINCRBY', P .. 'status_counts', field, whole(by)) end
  end
  count_totals(reached)
  count_in_time(reached)
end
