-- Scripts take the time from Redis, so that processes whose clocks differ agree on which delivery is
-- due and which lease has ended.
local function now_us()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

local function now_ms() return math.floor(now_us() / 1000) end

-- Return a number as text without a fraction and without an exponent.
local function whole(number) return string.format('%.0f', number) end
