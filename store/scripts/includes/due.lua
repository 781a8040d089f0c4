-- include: time, index_changes, write_back_id
-- First attempts and retries wait in two sets. A claim takes from both, so that a backlog in one set
-- does not hold up the other. Calls that CallKaro must delete have a set of their own and go first.
-- Write-backs have one of their own, too.
local function set_due(id, status, ms)
  local set = 'due'
  if status == 'retrying' then set = 'due:retry' end
  if status == 'delivered' then set = 'due:cancel' end
  if is_write_back(id) then set = 'due:write_back' end
  change_index(set, id, whole(ms))
end
