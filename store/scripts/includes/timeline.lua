-- The timeline has one line for each change: "<ms> <status> <reason>". It is cut at 8 kB: a delivery
-- that changes more often is in a loop, and then its first changes say more than its last ones.
local function timeline_with(timeline, now, status, reason)
  if #timeline > 8000 then return timeline end
  return timeline .. string.format('%.0f %s %s\n', now, status, reason or '')
end
