-- include: keys
-- Ask for a drain. Returns 1: the caller must enqueue it; 0: it was asked for a moment ago.
local function set_wakeup()
  return redis.call('SET', P .. 'wakeup', '1', 'NX', 'PX', 1000) and 1 or 0
end
