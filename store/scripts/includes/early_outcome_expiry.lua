-- What arrived early is kept for 30 days after the last of it.
local function expire_early_outcomes(key) redis.call('EXPIRE', key, 30 * 86400) end
