-- include: keys, time
-- The counts of what happened: since ever, and by buckets of time. A field is "<what> <word> <name>".

-- How long each bucket of the time series is, and how long Redis keeps it, s. TIME_BUCKETS in
-- store/counters.py shows them for a little less long.
local TIME_BUCKETS = {{name = 'minute', length = 60, kept = 4 * 3600},
  {name = 'ten', length = 600, kept = 32 * 3600}, {name = 'hour', length = 3600, kept = 9 * 86400}}

local function count_totals(counts)
  for field, by in pairs(counts) do redis.call('HINCRBY', P .. 'metrics', field, whole(by)) end
end

local function count_in_time(counts)
  if next(counts) == nil then return end
  local now_s = math.floor(now_us() / 1000000)
  for _, bucket in ipairs(TIME_BUCKETS) do
    local key = P .. 'bucket:' .. bucket.name .. ':' .. whole(math.floor(now_s / bucket.length))
    local is_new = false
    for field, by in pairs(counts) do
      if redis.call('HINCRBY', key, field, whole(by)) == by then is_new = true end
    end
    if is_new then redis.call('EXPIRE', key, bucket.kept) end
  end
end
