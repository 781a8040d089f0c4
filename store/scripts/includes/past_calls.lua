-- Say whether a call_sid is in `past`: the calls from before a person's "call again", one a line.
local function is_past(past, sid)
  if sid == '' then return false end
  return string.find('\n' .. (past or '') .. '\n', '\n' .. sid .. '\n', 1, true) ~= nil
end
