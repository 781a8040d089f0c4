-- include: index_changes, write_back_id
-- Remove a delivery from each set that due.lua writes.
local function unset_due(id)
  if is_write_back(id) then return leave_index('due:write_back', id) end
  for _, set in ipairs({'due', 'due:retry', 'due:cancel'}) do leave_index(set, id) end
end
