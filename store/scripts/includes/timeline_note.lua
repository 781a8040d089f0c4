-- include: timeline
-- Add a line to the timeline of a delivery, for a caller that has not read it.
local function note(key, now, status, reason)
  local timeline = redis.call('HGET', key, 'timeline') or ''
  redis.call('HSET', key, 'timeline', timeline_with(timeline, now, status, reason))
end
