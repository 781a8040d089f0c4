-- The timeline has one line for each change: "<ms> <status> <reason>". It is cut at 8 kB: a delivery
-- that changes more often is in a loop, and then its first changes say more than its last ones.
local function timeline_with(timeline, now, status, reason)
  if #timeline > 8000 then return timeline end
  return timeline .. string.format('%.0f %s %s\n', now, status, reason or '')
end

-- Return the field `actors` with the name of the person who caused the line that timeline_with() has
-- just added to `timeline`: "<number of the line, from 0> <name>" a line. It is a field of its own, so
-- that an earlier release reads the timeline. nil: the timeline is full, and has no such line.
local function actors_with(actors, timeline, name)
  if #timeline > 8000 then return nil end
  local _, number = string.gsub(timeline, '\n', '')
  return (actors or '') .. number .. ' ' .. name .. '\n'
end
