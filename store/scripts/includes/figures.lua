-- include: keys, time, pauses, local_time
-- The figures of /api/stats. Each delivery with to = call counts in one cell of one day, test calls left
-- out. bridge:figures:<day since 1970> has the cells of a day: "<hour>\t<source>\t<route>\t<campaign>
-- \t<agent>\t<version>" -> "<sum>,<sum>..." in the order of FIGURE_NAMES. A missing value is ''.
--
-- The delivery's field `figures` says how it counts now: "<day> <hour> <tier>\t<campaign>\t<agent>
-- \t<version>\t<letters>\t<talked_s>". So a change subtracts this and adds the new, and an outcome that
-- comes twice changes nothing. Letters: FIGURE_LETTERS, each for the figure at its place.
local FIGURE_NAMES = {'events', 'accepted', 'skipped', 'failed', 'unknown', 'dialled', 'ended', 'connected',
  'voicemail', 'not_reached', 'wrong_number', 'other', 'converted', 'talked_s'}
local FIGURE_LETTERS = {'e', 'a', 's', 'f', 'u', 'd', 'n', 'c', 'v', 'r', 'w', 'o', 't'}
local FIGURE_DAYS_KEPT = 400
-- A hash: day -> when its cells changed, us. Readers keep the sums of a day until this changes.
local FIGURES_CHANGED = P .. 'figures:changed'
-- At most this many cells of a day have all their names. Beyond each of these numbers, a new cell has
-- (other) for its campaign; for its agent and version, too; for all but its hour.
local MOST_CELLS = {1000, 1250, 1500}
local OTHER_FIGURES = '(other)'
local LONGEST_FIGURE_KEY = 200  -- bytes; a longer agent or version counts as (other)

-- Return a name as a part of a cell.
local function figure_key(name)
  if type(name) ~= 'string' and type(name) ~= 'number' then return '' end
  local text = string.gsub(tostring(name), '%c', ' ')
  return #text <= LONGEST_FIGURE_KEY and text or OTHER_FIGURES
end

local function agent_of(found)
  local ok, request = pcall(cjson.decode, found.request or '')
  local agent = ok and type(request) == 'table' and request.agent_id
  if agent and agent ~= cjson.null then return agent end
  return found.batch_id and redis.call('HGET', P .. 'campaign_agents', found.batch_id) or nil
end

-- Return what the field `newest` says (see newest_outcome.lua), with the version of the agent; nil: no
-- outcome counts.
local function newest_figures(key, found)
  local result, try, is_final, converted, talked_s, sid =
    string.match(found.newest or '', '^(%S+) (%S+) %S+ (%S) %S+ (%S) (%d+) %d+ (.*)$')
  if not result then return nil end
  local record = redis.call('HGET', key, 'outcome:' .. sid .. ':' .. try)
  local ok, o = pcall(cjson.decode, record or '')
  return {result = result, is_final = is_final == '1', converted = converted == '1',
    talked_s = tonumber(talked_s), version_id = ok and type(o) == 'table' and o.version_id or nil}
end

local FIGURE_OF_RESULT = {connected = 'c', voicemail = 'v', not_reached = 'r', wrong_number = 'w'}
local FIGURE_OF_STATUS = {skipped = 's', failed = 'f', unknown = 'u'}

local function letters_of(found, newest, is_accepted)
  local letters = 'e' .. (is_accepted and 'a' or '') .. (FIGURE_OF_STATUS[found.status] or '')
  if not newest then return letters end
  local result = newest.result
  if result ~= 'not_dialled' and result ~= 'cancelled' then letters = letters .. 'd' end
  if not newest.is_final then return letters end
  letters = letters .. 'n' .. (FIGURE_OF_RESULT[result] or 'o')
  if newest.converted then letters = letters .. 't' end
  return letters
end

local function read_figures(text)
  if not text then return nil end
  local day, hour, tier, campaign, agent, version, letters, talked_s =
    string.match(text, '^(%d+) (%d%d) (%d)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t(%l+)\t(%d+)$')
  if not day then return nil end
  return {day = tonumber(day), hour = hour, tier = tonumber(tier), campaign = campaign, agent = agent,
    version = version, letters = letters, talked_s = tonumber(talked_s)}
end

local function written_figures(f)
  return string.format('%d %s %d\t%s\t%s\t%s\t%s\t%s', f.day, f.hour, f.tier, f.campaign, f.agent, f.version,
    f.letters, whole(f.talked_s))
end

-- Return when CallKaro first accepted the delivery, ms; nil: it did not.
local function first_accepted_ms(found, now)
  local ms = string.match('\n' .. (found.timeline or ''), '\n(%d+) delivered ')
  if ms then return tonumber(ms) end
  return found.status == 'delivered' and now or nil
end

-- Return how a delivery counts; old: how it counts until now, or nil.
local function new_figures(key, found, old, now)
  local newest = newest_figures(key, found)
  local f = {tier = 0, talked_s = newest and newest.talked_s or 0}
  if old and string.find(old.letters, 'a', 1, true) then
    f.day, f.hour = old.day, old.hour
    f.letters = letters_of(found, newest, true)
  else
    local accepted_ms = first_accepted_ms(found, now)
    f.day, f.hour = local_hour(accepted_ms or tonumber(found.created_ms) or now)
    f.letters = letters_of(found, newest, accepted_ms)
  end
  f.campaign, f.version = figure_key(found.batch_id), figure_key(newest and newest.version_id)
  -- The request of an erased person is gone, the agent is not a person's.
  f.agent = found.erased_ms and old and old.agent or figure_key(agent_of(found))
  return f
end

local function cell_of(f, found, tier)
  local source, route, agent, version = figure_key(found.source), figure_key(found.route), f.agent, f.version
  local campaign = tier > 0 and OTHER_FIGURES or f.campaign
  if tier > 1 then agent, version = OTHER_FIGURES, OTHER_FIGURES end
  if tier > 2 then source, route = OTHER_FIGURES, OTHER_FIGURES end
  return table.concat({f.hour, source, route, campaign, agent, version}, '\t')
end

-- Choose the cell with the most names that is there already, or for which there is room. Returns the
-- cell, and its sums or false.
local function place(f, found)
  local key, count = P .. 'figures:' .. f.day, nil
  for tier = 0, 3 do
    f.tier = tier
    local cell = cell_of(f, found, tier)
    local kept = redis.call('HGET', key, cell)
    if kept then return cell, kept end
    count = count or redis.call('HLEN', key)
    if tier == 3 or count < MOST_CELLS[tier + 1] then return cell, false end
  end
end

local function add_figures(sums, f, by)
  for i, letter in ipairs(FIGURE_LETTERS) do
    if string.find(f.letters, letter, 1, true) then sums[i] = sums[i] + by end
  end
  sums[#FIGURE_NAMES] = sums[#FIGURE_NAMES] + by * f.talked_s
end

local is_stamped = {}  -- by day; a script is one change
local function stamp(day)
  if is_stamped[day] then return end
  redis.call('HSET', FIGURES_CHANGED, day, whole(now_us()))
  is_stamped[day] = true
end

-- Subtract `minus` from a cell and add `plus`; either may be nil. kept: the cell's sums; false: it has
-- none. A cell that has expired stays away.
local function change_cell(day, cell, kept, minus, plus)
  local key, sums = P .. 'figures:' .. day, {}
  if not kept and not plus then return end
  for sum in string.gmatch(kept or '', '%d+') do sums[#sums + 1] = tonumber(sum) end
  for i = #sums + 1, #FIGURE_NAMES do sums[i] = 0 end
  stamp(day)
  if kept and minus then add_figures(sums, minus, -1) end
  if plus then add_figures(sums, plus, 1) end
  if sums[1] < 1 then
    redis.call('HDEL', key, cell)
    return
  end
  for i, sum in ipairs(sums) do sums[i] = whole(math.max(sum, 0)) end
  redis.call('HSET', key, cell, table.concat(sums, ','))
  if kept then return end
  redis.call('EXPIREAT', key, whole((day + FIGURE_DAYS_KEPT + 2) * 86400))
  redis.call('HDEL', FIGURES_CHANGED, day - FIGURE_DAYS_KEPT - 10)
end

-- Releases before 0.1.0 did not write is_test. An event's record says its type, before
-- its data.
local function is_of_a_test_call(event)
  if is_test_call(event) then return true end
  local head = string.sub(redis.call('HGET', P .. 'event:' .. event, 'record') or '', 1, 4096)
  local type_at = string.find(head, '"type":"call_me.test"', 1, true)
  local data_at = string.find(head, ',"data":', 1, true)
  return type_at and (not data_at or type_at < data_at)
end

local COUNTED_FIELDS = {'to', 'source', 'route', 'status', 'created_ms', 'timeline', 'newest', 'batch_id', 'request',
  'erased_ms', 'event', 'figures'}
local function count(id, now, is_new)
  local key, found = P .. 'delivery:' .. id, {}
  for i, value in ipairs(redis.call('HMGET', key, unpack(COUNTED_FIELDS))) do
    if value then found[COUNTED_FIELDS[i]] = value end
  end
  if found.to ~= 'call' or not found.status or not found.route then return end
  local old = read_figures(found.figures)
  if not old and not is_new and is_of_a_test_call(found.event or '') then return end
  local new = new_figures(key, found, old, now)
  local cell, kept = place(new, found)
  local text = written_figures(new)
  if text == found.figures then return end
  local old_cell = old and cell_of(old, found, old.tier)
  if old and old.day == new.day and old_cell == cell then
    change_cell(new.day, cell, kept, old, new)
  else
    if old then
      local old_sums = redis.call('HGET', P .. 'figures:' .. old.day, old_cell)
      change_cell(old.day, old_cell, old_sums, old, nil)
    end
    change_cell(new.day, cell, kept, nil, new)
  end
  redis.call('HSET', key, 'figures', text)
end

-- Count a delivery after its status, its outcomes, its request or its calls changed, and before its
-- person is erased. A figure that can't be written stops nothing: the audit counts again. is_new: the
-- delivery was made in this script, and not by a test call.
local function count_figures(id, now, is_new) pcall(count, id, now, is_new) end

-- Say whether a delivery may have to be counted again, without a look at its outcomes: these may have
-- a megabyte.
local function may_be_miscounted(figures, status, outcomes)
  local old = read_figures(figures)
  if not old or string.match(old.letters, '[sfu]') ~= FIGURE_OF_STATUS[status] then return true end
  if status == 'delivered' and not string.find(old.letters, 'a', 1, true) then return true end
  return outcomes and not string.find(old.letters, '[dn]')
end
