-- Add what a process has measured since it last told.
--
-- ARGV[1]: JSON, {totals, in_time, refused_at}: bridge/measures.py has what is in them; the first two
-- are {field = by how much}, the last {field = when the latest was, ms}.
even_when_full()
local told = cjson.decode(ARGV[1])
count_totals(told.totals)
count_in_time(told.in_time)
for field, ms in pairs(told.refused_at) do redis.call('HSET', P .. 'refused', field, whole(ms)) end
return 1
