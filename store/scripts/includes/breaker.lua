-- include: keys, shared
local BREAKER = P .. 'breaker'

-- Say whether the breaker is open, or counts failures since the last success.
local is_breaker_there  -- nil: not read yet; a script reads it once
local function has_breaker()
  if is_breaker_there == nil then is_breaker_there = shared_size('breaker') > 0 end
  return is_breaker_there
end
