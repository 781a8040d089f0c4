-- include: keys
-- Say whether an event is a person's test call, which tries whether a failing route is fixed. The
-- event's record says so, too, but it may have megabytes: to read 30 of those took 170 ms.
local function is_test_call(event)
  return redis.call('HGET', P .. 'event:' .. event, 'is_test') == '1'
end

-- Return the scope of the pause that stops a delivery of this source, route and event; nil: no pause
-- does. A test call passes the pause of a route whose calls failed.
local is_any_paused  -- nil: not read yet; a script reads it once
local function pause_of(source, route, event)
  if is_any_paused == nil then is_any_paused = redis.call('EXISTS', P .. 'pauses') == 1 end
  if not is_any_paused then return nil end
  local scopes = {'all', 'callkaro', 'source:' .. source, 'route:' .. route}
  local found = redis.call('HMGET', P .. 'pauses', unpack(scopes))
  for i, scope in ipairs(scopes) do
    local is_failing = found[i] and string.find(found[i], '"reason":"failing"', 1, true)
    if found[i] and not (is_failing and is_test_call(event)) then return scope end
  end
  return nil
end
