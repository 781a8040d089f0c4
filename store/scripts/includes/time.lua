-- Scripts take the time from Redis, so that processes whose clocks differ agree on which delivery is
-- due and which lease has ended. A script has one time: newer servers see to that themselves, but those
-- before Redis 7.2 tell another one at each call, and then two records of one move differ.
local time_us
local function now_us()
  if not time_us then
    local t = redis.call('TIME')
    time_us = tonumber(t[1]) * 1000000 + tonumber(t[2])
  end
  return time_us
end

local function now_ms() return math.floor(now_us() / 1000) end

-- Return a number as text without a fraction and without an exponent.
local function whole(number) return string.format('%.0f', number) end
