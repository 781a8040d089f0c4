-- The offsets of CALLKARO_TIMEZONE from UTC: {from when, ms; how far, s}. store/local_time.py writes them
-- into this line, because Lua knows no time zones.
local ZONE_OFFSETS = {{0, 0}}

-- Return the day (its number since 1970) and the hour ("00" to "23") of a time in ms, in that zone.
local function local_hour(ms)
  local offset_s = ZONE_OFFSETS[1][2]
  for i = 2, #ZONE_OFFSETS do
    if ms < ZONE_OFFSETS[i][1] then break end
    offset_s = ZONE_OFFSETS[i][2]
  end
  local local_s = math.floor(ms / 1000) + offset_s
  return math.floor(local_s / 86400), string.format('%02d', math.floor(local_s % 86400 / 3600))
end
