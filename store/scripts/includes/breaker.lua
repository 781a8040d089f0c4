-- include: keys
local BREAKER = P .. 'breaker'

-- Say whether there is anything in the breaker: it is open, or it only counts failures.
local has_breaker  -- nil: not read yet; a script reads it once
local function is_breaker_kept()
  if has_breaker == nil then has_breaker = redis.call('EXISTS', BREAKER) == 1 end
  return has_breaker
end
