-- include: keys, outcome_index
-- Each script calls this after it changed the status or the newest outcome of a delivery, with its place
-- in time (us). was, is: {status, newest}, before and after; newest: the field of the hash; nil: there is
-- none, or only the status changed. was.status nil: the delivery is new. An index that can't be written
-- stops nothing, least of all an outcome that proves an acceptance: the audit repairs it.
local function delivery_changed(id, order, was, is)
  local before, after = was.newest, is.newest
  if before == after then
    if was.status ~= 'delivered' and is.status ~= 'delivered' then return end
    local newest = redis.call('HGET', P .. 'delivery:' .. id, 'newest')
    if newest then return end  -- its place is its result, in each status
  end
  local to = (before and after) and 'call' or redis.call('HGET', P .. 'delivery:' .. id, 'to')
  local from, at = outcome_place(to, was.status, before), outcome_place(to, is.status, after)
  if from == at then return end
  if from then leave_outcome(from, id) end
  if at then pcall(redis.call, 'ZADD', outcome_key(at), order, id) end
end
