-- include: keys, time, metrics
-- Add what a process has measured since it last did this.
--
-- ARGV[1]: JSON, {totals, in_time, refused_at}, see store/counters.py. The first two are {field = by how
-- much}, the last is {field = the time of the latest refusal, ms}.
even_when_full()
local measured = cjson.decode(ARGV[1])
count_totals(measured.totals)
count_in_time(measured.in_time)
for field, ms in pairs(measured.refused_at) do redis.call('HSET', P .. 'refused', field, whole(ms)) end
return 1
