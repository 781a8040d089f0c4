-- include: keys, schema, old_delivery, old_keys, errors
-- Move one page of what an older release stored to the names of this release.
--
-- A page is one step, so a process that dies leaves whole pages. bridge:migration says where the next
-- page begins. A page may be moved twice without harm. bridge:migration-lock is for one process at a
-- time: it runs out if its process dies, and a second process then goes on.
--
-- ARGV[1]: a token of this process. ARGV[2]: how many keys a page has. ARGV[3]: how long the lock
-- lasts, ms. ARGV[4]: the run id of Redis, which changes at each start; empty: it does not tell.
-- Returns {state, how many keys the page had, how many keys were moved, how many could not be moved}.
-- state: 'more', 'locked', 'done' (there was nothing to do), 'finished' (by this page: the last two
-- counts are then those of all pages), or 'old process' (a process of the older release has written
-- since: its names are moved next).
local LOCK, PROGRESS = P .. 'migration-lock', P .. 'migration'
local page_size = tonumber(ARGV[2])
if has_schema() then
  if not has_old_key() then return {'done', 0, 0, 0} end
  even_when_full()
  redis.call('DEL', P .. 'schema', PROGRESS)
  return {'old process', 0, 0, 0}
end
even_when_full()
local owner = redis.call('GET', LOCK)
if owner and owner ~= ARGV[1] then return {'locked', 0, 0, 0} end
redis.call('SET', LOCK, ARGV[1], 'PX', ARGV[3])

-- A cursor means nothing to another start of Redis: then the first page is next. Where Redis does not
-- tell its run, a cursor is this process's alone.
local function next_cursor(run)
  local kept = redis.call('HMGET', PROGRESS, 'run', 'cursor')
  return kept[1] == run and kept[2] or '0'
end

-- Keep the later end of both keys.
local function keep_expiry(old, new)
  local old_ms, new_ms = redis.call('PTTL', old), redis.call('PTTL', new)
  if new_ms == -1 then return end
  if old_ms == -1 then
    redis.call('PERSIST', new)
  elseif old_ms > new_ms then
    redis.call('PEXPIRE', new, old_ms)
  end
end

-- Each of these merges at most a page of an old key into the new one. What is in the new key is newer.
local merge = {}

function merge.keep(old, new)
  local flat = redis.call('HRANDFIELD', old, page_size, 'WITHVALUES')
  for i = 1, #flat, 2 do
    redis.call('HSETNX', new, flat[i], flat[i + 1])
    redis.call('HDEL', old, flat[i])
  end
end

function merge.add(old, new)
  local flat = redis.call('HRANDFIELD', old, page_size, 'WITHVALUES')
  for i = 1, #flat, 2 do
    redis.call('HINCRBY', new, flat[i], flat[i + 1])
    redis.call('HDEL', old, flat[i])
  end
end

function merge.keep_scores(old, new)
  local flat = redis.call('ZRANGE', old, 0, page_size - 1, 'WITHSCORES')
  for i = 1, #flat, 2 do
    redis.call('ZADD', new, 'NX', flat[i + 1], flat[i])
    redis.call('ZREM', old, flat[i])
  end
end

function merge.add_number(old, new)
  redis.call('INCRBY', new, redis.call('GET', old))
  redis.call('DEL', old)
end

-- An early outcome that only says "a phone may have rung" had another name, too.
local function rename_doubt(key)
  local kept = redis.call('HGET', key, 'doubt')
  if not kept then return end
  local renamed = cjson.encode({mark_unknown = true, message = cjson.decode(kept).message})
  redis.call('HSETNX', key, 'mark_unknown', renamed)
  redis.call('HDEL', key, 'doubt')
end

-- Move one old key. Returns whether all of it is moved.
local function move_key(key, old)
  if redis.call('EXISTS', key) == 0 then return true end
  if old.how == 'delete' then
    redis.call('DEL', key)
    return true
  end
  -- A record that can't be read must not keep the outcomes beside it.
  if old.prefix == 'orphan:' then try(rename_doubt, key) end
  if redis.call('EXISTS', old.new) == 0 then
    redis.call('RENAME', key, old.new)
    return true
  end
  keep_expiry(key, old.new)
  merge[old.how](key, old.new)
  return redis.call('EXISTS', key) == 0
end

-- Returns whether the key is done, and whether it was moved.
local function migrate(key)
  local old = old_key(key)
  if old then return move_key(key, old), true end
  if is_delivery(key) then return true, rename_fields(key) end
  return true, false
end

-- What could not be moved keeps its content under another name: under its own it would look like that
-- of an old process that still runs.
local function put_aside_unmoved()
  for name in pairs(OLD_KEYS) do
    if redis.call('EXISTS', P .. name) == 1 then
      redis.call('RENAME', P .. name, P .. 'unmoved:' .. name)
    end
  end
end

local run = ARGV[4] ~= '' and ARGV[4] or ARGV[1]
local cursor = next_cursor(run)
local page = redis.call('SCAN', cursor, 'MATCH', P .. '*', 'COUNT', page_size)
local is_finished, moved, failed = true, 0, 0
for _, key in ipairs(page[2]) do
  -- A key of another type than ours must not stop the others.
  local ok, is_done, was_moved = try(migrate, key)
  if not ok then failed = failed + 1 end
  if ok and not is_done then is_finished = false end
  if ok and was_moved then moved = moved + 1 end
end
if is_finished then cursor = page[1] end
-- A page that is looked at again counts a key that can't be moved again: one page does, if at all.
local all_moved = redis.call('HINCRBY', PROGRESS, 'moved', moved)
local all_failed = redis.call('HINCRBY', PROGRESS, 'failed', is_finished and failed or 0)
if is_finished and cursor == '0' then
  put_aside_unmoved()
  set_schema()
  redis.call('DEL', PROGRESS, LOCK)
  return {'finished', #page[2], all_moved, all_failed}
end
redis.call('HSET', PROGRESS, 'run', run, 'cursor', cursor)
return {'more', #page[2], moved, failed}
