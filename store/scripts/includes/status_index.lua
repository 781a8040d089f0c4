-- include: keys, status_counts, delivery_changed, write_back_id, write_backs, index_changes
-- Move a delivery from the index of one status to that of another. `order` (the delivery's place in
-- time, us) is the score in all indexes. route: nil if the caller has not read it. record: what
-- delivery_changed() needs; nil: it is read.
local function index_status(id, order, from, to, route, record)
  if from == to then return end
  if is_write_back(id) then return index_write_back(id, order, from, to) end
  route = route or redis.call('HGET', P .. 'delivery:' .. id, 'route') or ''
  if from then count_status(from, route, order, -1) end
  count_status(to, route, order, 1)
  count_reached(to, route)
  if from then leave_index('deliveries:status:' .. from, id) end
  if from == 'held' then leave_index('bulk', id) end
  change_index('deliveries:status:' .. to, id, order)
  delivery_changed(id, order, {status = from}, {status = to}, record)
end
