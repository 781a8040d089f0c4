-- include: keys, metrics, recounts
-- after: write_counts
-- How many deliveries have each status now, and how many reached a status. A script counts in these
-- tables while it works. write_counts() writes them after the script, in a few commands, however many
-- deliveries the script moved.
local by_status, by_recount, reached = {}, {}, {}
local COUNTED_WHEN_REACHED = {delivered = true, skipped = true, failed = true, unknown = true,
  cancelled = true, held = true}

-- Count a delivery `by` times; order: its place in time, us.
local function count_status(status, route, order, by)
  local field = status .. ' ' .. route
  by_status[field] = (by_status[field] or 0) + by
  if is_recounted(P .. 'status_recount', order) then by_recount[field] = (by_recount[field] or 0) + by end
end

-- by: -1 takes back that this script counted it.
local function count_reached(status, route, by)
  if not COUNTED_WHEN_REACHED[status] then return end
  local field = 'to ' .. status .. ' ' .. route
  local count = (reached[field] or 0) + (by or 1)
  reached[field] = count ~= 0 and count or nil
end

local function write_counts()
  add_counts(P .. 'status_counts', by_status)
  add_counts(P .. 'status_recount', by_recount)
  count_totals(reached)
  count_in_time(reached)
end
