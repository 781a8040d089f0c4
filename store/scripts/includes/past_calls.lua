-- Say whether a call_sid is in `past`: the calls from before a person's "call again", one a line. An
-- empty line stands for the outcomes without a call_sid.
local function is_past(past, sid)
  return string.find('\n' .. (past or ''), '\n' .. sid .. '\n', 1, true) ~= nil
end
