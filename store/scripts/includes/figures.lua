-- include: keys, time, pauses, local_time
-- after: write_figures
-- The figures of /api/stats. Each delivery with to = call counts in one cell of one day, test calls left
-- out. bridge:figures:<day since 1970> has the cells of a day: "<hour>\t<source>\t<route>\t<campaign>
-- \t<agent>\t<version>" -> "<sum>,<sum>..." in the order of FIGURE_NAMES. A missing value is ''.
--
-- The delivery's field `figures` says how it counts now: "<day> <hour> <tier>\t<campaign>\t<agent>
-- \t<version>\t<letters>\t<talked_s>". So a change subtracts this and adds the new, and an outcome that
-- comes twice changes nothing. Letters: FIGURE_LETTERS, each for the figure at its place.
--
-- A script counts in tables. write_figures() writes them after the script, each cell once: after an error, it
-- writes neither cells nor fields.
local FIGURE_NAMES = {'events', 'accepted', 'skipped', 'failed', 'unknown', 'dialled', 'ended', 'connected',
  'voicemail', 'not_reached', 'wrong_number', 'other', 'converted', 'talked_s'}
local FIGURE_LETTERS = 'easfudncvrwot'
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
  local text = tostring(name)
  if #text > LONGEST_FIGURE_KEY then return OTHER_FIGURES end
  return string.find(text, '%c') and string.gsub(text, '%c', ' ') or text
end

-- Return the agent that a delivery asks for. Its request may be large: it is read only if it can be another
-- one than the delivery counts by. The request of an erased person is gone, the agent is not a person's.
-- request: the field of its record; nil: it is read; false: it has none.
local function agent_of(key, found, old, has_new_request, request)
  if old and (found.erased_ms or (old.agent ~= '' and not has_new_request)) then return old.agent end
  if request == nil then request = redis.call('HGET', key, 'request') end
  local ok, read = pcall(cjson.decode, request or '')
  local agent = ok and type(read) == 'table' and read.agent_id
  if agent and agent ~= cjson.null then return figure_key(agent) end
  return figure_key(found.batch_id and redis.call('HGET', P .. 'campaign_agents', found.batch_id))
end

-- By delivery: the version in its newest outcome, where this script changed `newest`; see newest_outcome.lua.
local version_of = {}

-- Return the version in an outcome of a delivery. The outcome may be large: it is read only if the delivery
-- does not count by it yet.
local function version_in(id, field, old)
  if version_of[id] then return figure_key(version_of[id]) end
  if old and string.find(old.letters, '[dn]') then return old.version end
  local ok, o = pcall(cjson.decode, redis.call('HGET', P .. 'delivery:' .. id, field) or '')
  return figure_key(ok and type(o) == 'table' and o.version_id)
end

-- Return what the field `newest` says (see newest_outcome.lua), with the version of the agent; nil: no
-- outcome counts.
local function newest_figures(id, found, old)
  local result, try, is_final, converted, talked_s, sid =
    string.match(found.newest or '', '^(%S+) (%S+) (%S) (%S) (%d+) %d+ (.*)$')
  if not result then return nil end
  return {result = result, is_final = is_final == '1', converted = converted == '1',
    talked_s = tonumber(talked_s), version = version_in(id, 'outcome:' .. sid .. ':' .. try, old)}
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
local function new_figures(id, found, old, now, has_new_request, request)
  local newest = newest_figures(id, found, old)
  local f = {tier = 0, talked_s = newest and newest.talked_s or 0}
  if old and string.find(old.letters, 'a', 1, true) then
    f.day, f.hour = old.day, old.hour
    f.letters = letters_of(found, newest, true)
  else
    local accepted_ms = first_accepted_ms(found, now)
    f.day, f.hour = local_hour(accepted_ms or tonumber(found.created_ms) or now)
    f.letters = letters_of(found, newest, accepted_ms)
  end
  f.campaign, f.version = figure_key(found.batch_id), newest and newest.version or ''
  f.agent = agent_of(P .. 'delivery:' .. id, found, old, has_new_request, request)
  return f
end

local function cell_of(f, found, tier)
  local source, route, agent, version = figure_key(found.source), figure_key(found.route), f.agent, f.version
  local campaign = tier > 0 and OTHER_FIGURES or f.campaign
  if tier > 1 then agent, version = OTHER_FIGURES, OTHER_FIGURES end
  if tier > 2 then source, route = OTHER_FIGURES, OTHER_FIGURES end
  return table.concat({f.hour, source, route, campaign, agent, version}, '\t')
end

-- By day, what this script knows of its cells: {sums = {cell = its sums; false: there is no such cell},
-- changed = {cell = true}, count = how many cells there are; nil: not read yet, is_larger = a cell is new}.
local figure_days = {}
local counted_as = {}  -- by delivery: its field `figures`, if this script changes it

local function cells_of(day)
  local cells = figure_days[day] or {sums = {}, changed = {}}
  figure_days[day] = cells
  return cells
end

local function sums_of(day, cell)
  local cells = cells_of(day)
  if cells.sums[cell] == nil then
    local kept, sums = redis.call('HGET', P .. 'figures:' .. day, cell), {}
    for sum in string.gmatch(kept or '', '%d+') do sums[#sums + 1] = tonumber(sum) end
    for i = #sums + 1, #FIGURE_NAMES do sums[i] = 0 end
    cells.sums[cell] = kept and sums
  end
  return cells.sums[cell]
end

local function has_room(day, tier)
  local cells = cells_of(day)
  cells.count = cells.count or redis.call('HLEN', P .. 'figures:' .. day)
  return tier == 3 or cells.count < MOST_CELLS[tier + 1]
end

-- Choose the cell with the most names that is there already, or for which there is room.
local function place(f, found)
  for tier = 0, 3 do
    f.tier = tier
    local cell = cell_of(f, found, tier)
    if sums_of(f.day, cell) or has_room(f.day, tier) then return cell end
  end
end

-- Add to a cell what a delivery counts, or subtract it (by = -1). A cell that has expired stays away.
local function add_figures(day, cell, f, by)
  local cells, sums = cells_of(day), sums_of(day, cell)
  if not sums then
    if by < 0 then return end
    sums = {}
    for i = 1, #FIGURE_NAMES do sums[i] = 0 end
    cells.sums[cell], cells.is_larger = sums, true
    cells.count = cells.count and cells.count + 1
  end
  for letter in string.gmatch(f.letters, '.') do
    local i = string.find(FIGURE_LETTERS, letter, 1, true)
    if i then sums[i] = math.max(sums[i] + by, 0) end
  end
  sums[#FIGURE_NAMES] = math.max(sums[#FIGURE_NAMES] + by * f.talked_s, 0)
  cells.changed[cell] = true
  if sums[1] > 0 then return end
  cells.sums[cell] = false
  cells.count = cells.count and cells.count - 1
end

local function write_day(day, cells)
  local key, kept = P .. 'figures:' .. day, {}
  for cell in pairs(cells.changed) do
    local sums = cells.sums[cell]
    if sums then
      kept[#kept + 1] = cell
      kept[#kept + 1] = table.concat(sums, ',')
    else
      redis.call('HDEL', key, cell)
    end
  end
  if #kept > 0 then redis.call('HSET', key, unpack(kept)) end
  redis.call('HSET', FIGURES_CHANGED, day, whole(now_us()))
  if not cells.is_larger then return end
  redis.call('EXPIREAT', key, whole((day + FIGURE_DAYS_KEPT + 2) * 86400))
  redis.call('HDEL', FIGURES_CHANGED, day - FIGURE_DAYS_KEPT - 10)
end

local function write_figures()
  for day, cells in pairs(figure_days) do
    if next(cells.changed) then write_day(day, cells) end
  end
  for id, text in pairs(counted_as) do redis.call('HSET', P .. 'delivery:' .. id, 'figures', text) end
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

-- Let a delivery count as its record `found` says now, in the place of what its field `figures` says. Returns
-- what that field must say now; nil: it says so already.
local function recount(id, found, old, now, has_new_request, request)
  local new = new_figures(id, found, old, now, has_new_request, request)
  local cell = place(new, found)
  local text = written_figures(new)
  if text == found.figures then return nil end
  if old then add_figures(old.day, cell_of(old, found, old.tier), old, -1) end
  add_figures(new.day, cell, new, 1)
  return text
end

local COUNTED_FIELDS = {'to', 'source', 'route', 'status', 'created_ms', 'timeline', 'newest', 'batch_id',
  'erased_ms', 'event', 'figures'}
local function figures_after(id, found, now, has_new_request, request)
  if found.to ~= 'call' or not found.status or not found.route then return nil end
  found.figures = counted_as[id] or found.figures
  local old = read_figures(found.figures)
  if not old and is_of_a_test_call(found.event or '') then return nil end
  return recount(id, found, old, now, has_new_request, request)
end

local function count(id, now, has_new_request)
  local found = {}
  for i, value in ipairs(redis.call('HMGET', P .. 'delivery:' .. id, unpack(COUNTED_FIELDS))) do
    if value then found[COUNTED_FIELDS[i]] = value end
  end
  counted_as[id] = figures_after(id, found, now, has_new_request) or counted_as[id]
end

-- Count a delivery after its status, its outcomes, its request or its calls changed, and before its
-- person is erased. A figure that can't be written stops nothing: the audit counts again. has_new_request:
-- the request may be another one than before.
local function count_figures(id, now, has_new_request) pcall(count, id, now, has_new_request) end

-- The same, for a caller that is about to write the record: found has COUNTED_FIELDS as they will be then.
-- Returns what the caller must write into the field `figures`; nil: it stays. request: see agent_of().
local function figures_to_write(id, found, now, has_new_request, request)
  local is_counted, text = pcall(figures_after, id, found, now, has_new_request, request)
  if not is_counted or not text then return nil end
  counted_as[id] = nil
  return text
end

-- Say whether a delivery may have to be counted again, without a look at its outcomes: these may have
-- a megabyte.
local function may_be_miscounted(figures, status, outcomes)
  local old = read_figures(figures)
  if not old or string.match(old.letters, '[sfu]') ~= FIGURE_OF_STATUS[status] then return true end
  if status == 'delivered' and not string.find(old.letters, 'a', 1, true) then return true end
  return outcomes and not string.find(old.letters, '[dn]')
end
