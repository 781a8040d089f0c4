-- include: keys, time
-- Keep what a person did, an entry for each id, and delete entries that are too old or too many.
--
-- ARGV[1]: for how long entries are kept, ms. ARGV[2]: at most how many, the newest. ARGV[3]: how many
-- fields and values follow. After them: the ids; '': about no one record.
even_when_full()
local key = P .. 'acts'
local last = 3 + tonumber(ARGV[3])
for i = last + 1, #ARGV do
  local entry = {unpack(ARGV, 4, last)}
  if ARGV[i] ~= '' then
    entry[#entry + 1] = 'id'
    entry[#entry + 1] = ARGV[i]
  end
  redis.call('XADD', key, '*', unpack(entry))
end
redis.call('XTRIM', key, 'MAXLEN', '~', ARGV[2])
redis.call('XTRIM', key, 'MINID', whole(now_ms() - tonumber(ARGV[1])))
