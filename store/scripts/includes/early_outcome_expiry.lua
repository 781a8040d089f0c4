-- Early outcomes are kept for 30 days after the last one.
local function expire_early_outcomes(key) redis.call('EXPIRE', key, 30 * 86400) end
