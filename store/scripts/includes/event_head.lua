-- Return an event's record without its data, which may have megabytes. The data comes last: within a
-- text, JSON would have a backslash before the quotes.
local function head_of(record)
  local data = string.find(record, ',"data":', 1, true)
  return data and string.sub(record, 1, data - 1) .. '}' or record
end
