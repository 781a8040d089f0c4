-- include: keys, forget
-- bridge:broken has the deliveries whose records no script can read or write: {id = the error's text}.
-- Nothing wakes them. The status page counts them until an audit finds their records in order, or gone.

-- Put a delivery aside. Returns whether it was not there before.
local function put_aside(id, text)
  forget(id)
  return redis.call('HSETNX', P .. 'broken', id, text) == 1
end
