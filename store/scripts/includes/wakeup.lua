-- include: keys
-- Set the wake-up. Returns 1: the caller must enqueue a drain; 0: the wake-up was set already.
local function set_wakeup()
  return redis.call('SET', P .. 'wakeup', '1', 'NX', 'PX', 1000) and 1 or 0
end
