-- include: keys
-- The keys that all records share.
local SHARED = {'pauses', 'breaker', 'suppressed', 'failing', 'rate'}
local shared_sizes = {}  -- by key: how many fields it had; a script reads it once
local function shared_size(key)
  shared_sizes[key] = shared_sizes[key] or redis.call('HLEN', P .. key)
  return shared_sizes[key]
end

-- Raise the error of such a key before a record is looked at. Each record would meet it, so it must not be
-- counted as an error of records: all that is due would fail, one after another.
local function check_shared_keys()
  local names = {}
  for i, key in ipairs(SHARED) do names[i] = P .. key end
  local is_any = redis.call('EXISTS', unpack(names)) > 0
  for _, key in ipairs(SHARED) do
    if not is_any then
      shared_sizes[key] = 0
    elseif key == 'rate' then
      redis.call('GET', P .. key)
    else
      shared_size(key)
    end
  end
end
