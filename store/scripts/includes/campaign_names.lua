-- include: keys
-- bridge:campaign_names finds the keys of campaigns by batch_id and by name: a zset of scores 0, so of
-- sorted texts, `batch\t<batch_id>\t<key>` and `name\t<name>\t<key>`.
local function index_names(key, batch_id, name)
  redis.call('ZADD', P .. 'campaign_names', 0, 'batch\t' .. batch_id .. '\t' .. key, 0, 'name\t' .. name .. '\t' .. key)
end
