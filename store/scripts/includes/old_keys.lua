-- include: keys
-- Keys that had another name before 0.1.0. how: what to do if the new name exists already, because this
-- release has stored something while the old names were being moved.
local OLD_KEYS = {
  ['errands'] = {new = 'background_tasks', how = 'keep'},
  ['due:errand'] = {new = 'due:background_task', how = 'keep_scores'},
  ['standing'] = {new = 'status_counts', how = 'add'},
  ['measured'] = {new = 'metrics', how = 'add'},
  ['bell'] = {how = 'delete'},  -- a lost wake-up costs a second: the worker's tick asks again
}
local OLD_PREFIXES = {
  ['orphan:'] = {new = 'early_outcome:', how = 'keep'},
  ['minute:'] = {new = 'bucket:minute:', how = 'add'},
  ['ten:'] = {new = 'bucket:ten:', how = 'add'},
  ['hour:'] = {new = 'bucket:hour:', how = 'add'},
  ['tries:'] = {new = 'sign_in_attempts:', how = 'add_number'},
}

-- Each process of the older release writes one of these sooner or later.
local WRITTEN_BY_OLD = {'errands', 'due:errand', 'standing', 'measured'}

local function has_old_key()
  local keys = {}
  for i, name in ipairs(WRITTEN_BY_OLD) do keys[i] = P .. name end
  return redis.call('EXISTS', unpack(keys)) > 0
end

-- Return {new name or nil, how, old prefix or nil} of a key; nil: its name is not an old one.
local function old_key(key)
  local name = string.sub(key, #P + 1)
  local found = OLD_KEYS[name]
  if found then return {new = found.new and P .. found.new, how = found.how} end
  local prefix, rest = string.match(name, '^(%a+:)(.*)$')
  found = prefix and OLD_PREFIXES[prefix]
  if not found then return nil end
  return {new = P .. found.new .. rest, how = found.how, prefix = prefix}
end
