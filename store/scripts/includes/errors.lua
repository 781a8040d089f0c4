-- An error of one record must cost that record alone. An error of Redis, or of our user's rights, is not
-- the record's: the next record would meet it, too.
local OF_A_RECORD = {ERR = true, WRONGTYPE = true}
-- How Redis 6.2 to 7 and Valkey refuse a command in a script for want of a right, or because they have
-- not got it: some of them with the code ERR.
local OF_REDIS = {'ACL failure', 'run this command or subcommand', 'access at least one of the keys',
  'Unknown command', 'Unknown Redis command', 'Unknown Valkey command'}

-- Return the text of an error that the record caused; nil: any record would cause it, as with NOPERM,
-- OOM or READONLY. The text names commands and fields, never a value. (Redis 6.2 puts the place of the
-- script first, and raises texts.)
local function text_of(raised)
  local text = type(raised) == 'table' and raised.err or tostring(raised)
  local said = string.gsub(string.gsub(text, '^[%S]+: ?%-?%d+: ', ''), '^%-', '')
  local code = string.match(said, '^(%u%u+) ')
  if code and not OF_A_RECORD[code] then return nil end
  for _, sentence in ipairs(OF_REDIS) do
    if string.find(said, sentence, 1, true) then return nil end
  end
  return string.sub(text, 1, 200)
end

-- Call a function. Returns true and its first two results, or false and the text of the record's error.
-- Raises any other error.
local function try(work, ...)
  local ok, first, second = pcall(work, ...)
  if ok then return true, first, second end
  local text = text_of(first)
  if not text then error(first, 0) end
  return false, text
end
