-- include: keys, time, old_keys, schema
-- Say what a supervisor has to look after. It asks this again and again, so a store in which nothing waits
-- costs four commands, this call included.
--
-- Returns {is_migrated, has_pauses, due_ms, lease_ms, alert_ms}. The first two are 0 or 1; the others say in
-- how many ms a drain has work, the first lease ends and an alert must be sent ('': never; 0 or less: now).
local is_new = has_schema()
local watched = {'due', 'due:retry', 'due:cancel', 'due:write_back', 'due:background_task', 'due:alert', 'leased',
  'pauses'}
for _, name in ipairs(WRITTEN_BY_OLD) do watched[#watched + 1] = name end
for i, name in ipairs(watched) do watched[i] = P .. name end
if redis.call('EXISTS', unpack(watched)) == 0 then return {is_new and 1 or 0, 0, '', '', ''} end

local now = now_ms()
local function first_ms(name)
  return tonumber(redis.call('ZRANGE', P .. name, 0, 0, 'WITHSCORES')[2] or '')
end
-- What can't be read is due now: its own step meets the error and says so, and stops no other.
local function first_ms_or_now(name)
  local is_read, ms = pcall(first_ms, name)
  if is_read then return ms end
  return now
end
local function earlier(a, b) return a and b and math.min(a, b) or a or b end
local function left_ms(ms) return ms and whole(ms - now) or '' end

local due = earlier(first_ms('due'), first_ms('due:retry'))
if due then
  local breaker = redis.call('HMGET', P .. 'breaker', 'open_ms', 'probe_ms')
  if breaker[1] then due = math.max(due, tonumber(breaker[2])) end
end
-- The breaker does not stop cancellations, write-backs and background tasks.
for _, name in ipairs({'due:cancel', 'due:write_back', 'due:background_task'}) do
  due = earlier(due, first_ms(name))
end
local is_migrated = is_new and not has_old_key()
return {is_migrated and 1 or 0, redis.call('EXISTS', P .. 'pauses'), left_ms(due),
  left_ms(first_ms_or_now('leased')), left_ms(first_ms_or_now('due:alert'))}
