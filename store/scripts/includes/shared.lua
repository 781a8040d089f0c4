-- include: keys
-- Raise the error of a key that all records share before a record is looked at. Each record would meet
-- it, so it must not be counted as an error of records: all that is due would fail, one after another.
local shared_sizes = {}  -- by key: how many fields it had; a script reads it once
local function shared_size(key)
  shared_sizes[key] = shared_sizes[key] or redis.call('HLEN', P .. key)
  return shared_sizes[key]
end

local function check_shared_keys()
  for _, key in ipairs({'pauses', 'breaker', 'suppressed', 'failing'}) do shared_size(key) end
  redis.call('GET', P .. 'rate')
end
