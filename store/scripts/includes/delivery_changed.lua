-- include: outcome_index, campaign_index, write_backs, index_changes
-- Each script calls this after it changed the status or the newest outcome of a delivery, with its place
-- in time (us). was, is: {status, newest}, before and after; newest: the field of the hash; nil: there is
-- none, or only the status changed. record: as campaign_record() returns it; nil: it is read. An index that can't be written stops nothing, least of all an outcome
-- that proves an acceptance: the audit repairs it.
local function delivery_changed(id, order, was, is, record)
  local found = record or campaign_record(id)
  local before, after = was.newest, is.newest
  if before == after then before, after = found.newest, found.newest end
  if found.campaign then
    pcall(campaign_changed, id, order, found, {status = was.status, newest = before},
      {status = is.status, newest = after})
  end
  local moment = was.status ~= is.status and MOMENT_OF_STATUS[is.status]
  if moment and found.to == 'call' then tell_crm(id, found.route, moment, {}) end
  local from, at = outcome_place(found.to, was.status, before), outcome_place(found.to, is.status, after)
  if from == at then return end
  if from then leave_index(outcome_index(from), id) end
  if at then pcall(change_index, outcome_index(at), id, order) end
end
