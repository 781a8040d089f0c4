-- include: keys
-- after: write_indexes
-- What a script adds to sorted sets and removes from them. It notes that in tables while it works.
-- write_indexes() writes each set after the script, in two commands, however many deliveries moved. So a
-- script asks index_score() what is in a set, or calls write_indexes() before it reads one.
local AT_ONCE = 1000  -- unpack() takes only some thousands
-- changes: by name of the set, without prefix: {member = its new score; false: no member}. scores: by name:
-- {member = its score in Redis; false: it has none}. together: the members whose scores are read with one
-- command, and {member = true}.
local indexes = {changes = {}, scores = {}, together = {}, is_together = {}}

local function note_index(name, member, score)
  local changes = indexes.changes[name] or {}
  indexes.changes[name] = changes
  changes[member] = score
end

-- Note a member of a set. Raises an error, as ZADD would, if the score is no number, or there is none: it must
-- not stop the other members that are written with it. No score of ours is infinite.
local function change_index(name, member, score)
  local number = tonumber(score or '')
  if not number or number - number ~= 0 then error('ERR value is not a valid float', 0) end
  note_index(name, member, number)
end

-- Note that this is no member of a set any more.
local function leave_index(name, member) note_index(name, member, false) end

-- Say of which members index_score() will be asked, so that it reads each set once.
local function ask_together(members)
  indexes.together, indexes.is_together, indexes.scores = members, {}, {}
  for _, member in ipairs(members) do indexes.is_together[member] = true end
end

-- Return the score of a member as this script leaves it; nil: it is not in that set.
local function index_score(name, member)
  local changed = indexes.changes[name] and indexes.changes[name][member]
  if changed ~= nil then return changed or nil end
  if not indexes.is_together[member] then return redis.call('ZSCORE', P .. name, member) or nil end
  if indexes.scores[name] then return indexes.scores[name][member] or nil end
  local scores, members = {}, indexes.together
  for first = 1, #members, AT_ONCE do
    local last = math.min(first + AT_ONCE - 1, #members)
    local found = redis.call('ZMSCORE', P .. name, unpack(members, first, last))
    for i, score in ipairs(found) do scores[members[first + i - 1]] = score end
  end
  indexes.scores[name] = scores
  return scores[member] or nil
end

-- Forget the scores of a member that the caller removes from its sets itself.
local function forget_scores(member)
  for _, scores in pairs(indexes.scores) do scores[member] = nil end
end

-- Write what was noted. A set that can't be written stops no other. Raises the error of the last one. The scores
-- that were read stay: to read them again for each record that is gone took 170 ms of a page of 400.
local function write_indexes()
  local changed, problem = indexes.changes, nil
  indexes.changes = {}
  local function write(command, name, list)
    for first = 1, #list, AT_ONCE do
      local last = math.min(first + AT_ONCE - 1, #list)
      local is_written, text = pcall(redis.call, command, P .. name, unpack(list, first, last))
      if not is_written then problem = text end
    end
  end
  for name, changes in pairs(changed) do
    local added, removed, scores = {}, {}, indexes.scores[name] or {}
    for member, score in pairs(changes) do
      scores[member] = score
      if score then
        added[#added + 1] = score
        added[#added + 1] = member
      else
        removed[#removed + 1] = member
      end
    end
    write('ZADD', name, added)
    write('ZREM', name, removed)
  end
  if problem then error(problem, 0) end
end
