-- include: keys
-- Raise the error of a key that all records share before a record is looked at. Each record would meet
-- it, so it must not be counted as an error of records: all that is due would fail, one after another.
local function check_shared_keys()
  for _, key in ipairs({'pauses', 'breaker', 'suppressed', 'failing'}) do redis.call('HLEN', P .. key) end
  redis.call('GET', P .. 'rate')
end
