-- include: keys
-- bridge:schema says which layout of our keys this store has. 2: the names of this release.
local SCHEMA = 2

local function has_schema() return tonumber(redis.call('GET', P .. 'schema') or '0') >= SCHEMA end

local function set_schema() redis.call('SET', P .. 'schema', SCHEMA) end
