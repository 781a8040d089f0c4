-- include: keys, shared
-- Say whether an event is a person's test call, which tries whether a failing route is fixed. The
-- event's record says so, too, but it may have megabytes: to read 30 of those took 170 ms.
local function is_test_call(event)
  return redis.call('HGET', P .. 'event:' .. event, 'is_test') == '1'
end

local is_any_paused  -- nil: not read yet; a script reads it once
local function has_pauses()
  if is_any_paused == nil then is_any_paused = shared_size('pauses') > 0 end
  return is_any_paused
end

-- Return the scope of the pause that stops a delivery of this source, route and event; nil: no pause
-- does. A test call passes the pause of a route whose calls failed.
local function pause_of(source, route, event)
  if not has_pauses() then return nil end
  local scopes = {'all', 'callkaro', 'source:' .. source, 'route:' .. route}
  local found = redis.call('HMGET', P .. 'pauses', unpack(scopes))
  for i, scope in ipairs(scopes) do
    local is_failing = found[i] and string.find(found[i], '"reason":"failing"', 1, true)
    if found[i] and not (is_failing and is_test_call(event)) then return scope end
  end
  return nil
end

-- Return the scope of the pause that stops the write-backs of a source; nil: no pause does.
local function pause_of_write_back(source)
  if not has_pauses() then return nil end
  for _, scope in ipairs({'all', 'crm:' .. (source or '')}) do
    if redis.call('HEXISTS', P .. 'pauses', scope) == 1 then return scope end
  end
  return nil
end

-- Return the scope of the pause of a campaign; nil: it is not paused. campaign: its key or its batch_id;
-- nil: there is none.
local function pause_of_campaign(campaign)
  if not campaign or not has_pauses() then return nil end
  local batch_id = redis.call('HGET', P .. 'campaign:' .. campaign, 'batch_id') or campaign
  local scope = 'campaign:' .. batch_id
  return redis.call('HEXISTS', P .. 'pauses', scope) == 1 and scope or nil
end
