-- include: keys, schema, old_delivery, old_keys, errors
-- Say whether this store has the names of this release: 1 or 0. A store that is new, or so small that
-- one look shows that it has no old name, is marked here. Any other store is migrate.lua's.
--
-- ARGV[1]: what bridge:indexed says once all is indexed: a store without a delivery has nothing to index.
if has_schema() then return has_old_key() and 0 or 1 end
local page = redis.call('SCAN', '0', 'COUNT', 100)
if page[1] ~= '0' then return 0 end
local has_deliveries = false
for _, key in ipairs(page[2]) do
  if string.sub(key, 1, #P) == P then
    if old_key(key) then return 0 end
    if is_delivery(key) then
      has_deliveries = true
      local ok, values = try(old_values, key)  -- a key of another type is not a delivery
      for _, value in pairs(ok and values or {}) do
        if value then return 0 end
      end
    end
  end
end
even_when_full()
set_schema()
if not has_deliveries then redis.call('SET', P .. 'indexed', ARGV[1], 'NX') end
return 1
