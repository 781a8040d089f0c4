-- include: keys
-- Return the scope of the pause that stops a delivery of this source and route; nil: no pause does.
local is_any_paused  -- nil: not read yet; a script reads it once
local function pause_of(source, route)
  if is_any_paused == nil then is_any_paused = redis.call('EXISTS', P .. 'pauses') == 1 end
  if not is_any_paused then return nil end
  local scopes = {'all', 'callkaro', 'source:' .. source, 'route:' .. route}
  local found = redis.call('HMGET', P .. 'pauses', unpack(scopes))
  for i, scope in ipairs(scopes) do
    if found[i] then return scope end
  end
  return nil
end
