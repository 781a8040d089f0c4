-- include: keys
-- Fields of a delivery that had another name before 0.1.0: {old, new}.
local OLD_FIELDS = {{'asked', 'lookup_failures'}, {'asked_for', 'waiting_for'},
  {'asked_since_ms', 'waiting_since_ms'}, {'word', 'request_token'}, {'rings', 'number_claim'}}

local DELIVERY = P .. 'delivery:'
local function is_delivery(key) return string.sub(key, 1, #DELIVERY) == DELIVERY end

local function old_values(key)
  local names = {}
  for i, pair in ipairs(OLD_FIELDS) do names[i] = pair[1] end
  return redis.call('HMGET', key, unpack(names))
end

-- Rename the fields of a delivery. Returns whether there was anything to rename. A field that has its
-- new name already is newer, and stays.
local function rename_fields(key)
  local values, is_old = old_values(key), false
  for i, pair in ipairs(OLD_FIELDS) do
    if values[i] then
      redis.call('HSETNX', key, pair[2], values[i])
      redis.call('HDEL', key, pair[1])
      is_old = true
    end
  end
  return is_old
end
