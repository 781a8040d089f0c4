-- include: keys, time, outcome_index, recounts, index_changes
-- after: write_campaign_counts
-- bridge:deliveries:campaign:<campaign> lists the calls whose record names a campaign: by its key in the
-- field campaign_key, else by batch_id. bridge:campaign_counts:<campaign> says how many of them have each
-- status ("<status> <route>") and each outcome ("outcome <place>"), and has the first and the last
-- acceptance (first_ms, last_ms). bridge:campaign_counts:pruned:<campaign> counts those that retention
-- deleted. bridge:campaign_recount is there while a campaign is counted again: see recounts.lua.
-- bridge:campaigns_used is the set of the campaigns with an index. A script counts in tables while it works,
-- as in status_counts.lua.
local CAMPAIGN_FIELDS = {'to', 'campaign_key', 'batch_id', 'route', 'newest', 'status'}
local CAMPAIGN_COUNTS = P .. 'campaign_counts:'
local CAMPAIGN_PRUNED = CAMPAIGN_COUNTS .. 'pruned:'
local CAMPAIGN_RECOUNT = P .. 'campaign_recount'
local changed_counts, called_ms, is_noted_used = {}, {}, {}

local function campaign_index(campaign) return 'deliveries:campaign:' .. campaign end

-- Return the campaign of a delivery by these values of its record; nil: it has none.
local function campaign_named(to, campaign_key, batch_id)
  if to ~= 'call' then return nil end
  return campaign_key or batch_id or nil
end

-- Return what the index needs of a delivery's record: {to, campaign, route, newest, status}. found: the fields;
-- nil: they are read.
local function campaign_record(id, found)
  if not found then
    found = {}
    for i, value in ipairs(redis.call('HMGET', P .. 'delivery:' .. id, unpack(CAMPAIGN_FIELDS))) do
      found[CAMPAIGN_FIELDS[i]] = value or nil
    end
  end
  return {to = found.to, campaign = campaign_named(found.to, found.campaign_key, found.batch_id),
    route = found.route or '', newest = found.newest, status = found.status}
end

-- Return the fields in which a call counts: of its status and of its outcome. newest: the field of its record.
local function call_fields(route, status, newest)
  local place = outcome_place('call', status, newest)
  return {status .. ' ' .. route, place and 'outcome ' .. place}
end

local function count_in(key, fields, by)
  local counts = changed_counts[key] or {}
  changed_counts[key] = counts
  for _, field in ipairs(fields) do counts[field] = (counts[field] or 0) + by end
end

-- Count a call of a campaign `by` times; order: its place in time, us.
local function count_call(campaign, order, fields, by)
  count_in(CAMPAIGN_COUNTS .. campaign, fields, by)
  if is_recounted(CAMPAIGN_RECOUNT, order, campaign) then count_in(CAMPAIGN_RECOUNT, fields, by) end
end

-- Note that CallKaro accepted a call of this campaign.
local function note_call(campaign, ms)
  local called = called_ms[campaign] or {first = ms, last = ms}
  called_ms[campaign] = {first = math.min(called.first, ms), last = math.max(called.last, ms)}
end

-- Put a call into the index of its campaign, and count it. Returns whether it was not there before.
local function join_campaign(campaign, id, order, route, status, newest)
  if index_score(campaign_index(campaign), id) then return false end
  change_index(campaign_index(campaign), id, order)
  if not is_noted_used[campaign] then redis.call('SADD', P .. 'campaigns_used', campaign) end
  is_noted_used[campaign] = true
  count_call(campaign, order, call_fields(route, status, newest), 1)
  return true
end

-- Remove a call from the index of a campaign and from its counts. is_pruned: it still counts, as deleted.
local function leave_campaign(campaign, id, order, route, status, newest, is_pruned)
  if not index_score(campaign_index(campaign), id) then return end
  leave_index(campaign_index(campaign), id)
  local fields = call_fields(route, status, newest)
  count_call(campaign, order, fields, -1)
  if is_pruned then count_in(CAMPAIGN_PRUNED .. campaign, fields, 1) end
end

-- Count a change of the status or of the newest outcome. was, is: {status, newest}.
local function campaign_changed(id, order, found, was, is)
  local campaign = found.campaign
  if is.status == 'delivered' and was.status ~= 'delivered' then note_call(campaign, now_ms()) end
  if join_campaign(campaign, id, order, found.route, is.status, is.newest) then return end
  count_call(campaign, order, call_fields(found.route, was.status, was.newest), -1)
  count_call(campaign, order, call_fields(found.route, is.status, is.newest), 1)
end

local function write_call_times(campaign, called)
  local key = CAMPAIGN_COUNTS .. campaign
  local kept = redis.call('HMGET', key, 'first_ms', 'last_ms')
  redis.call('HSET', key, 'first_ms', whole(math.min(called.first, tonumber(kept[1]) or called.first)),
    'last_ms', whole(math.max(called.last, tonumber(kept[2]) or called.last)))
end

local function write_campaign_counts()
  for key, counts in pairs(changed_counts) do
    for field, by in pairs(counts) do
      if by ~= 0 and redis.call('HINCRBY', key, field, whole(by)) <= 0 then redis.call('HDEL', key, field) end
    end
  end
  for campaign, called in pairs(called_ms) do write_call_times(campaign, called) end
end
