-- include: keys, time, breaker_count
-- Count whether CallKaro answered a request well that does not belong to one delivery.
--
-- ARGV[1]: the name of the request. ARGV[2]: '1': well; '0': not; '': the answer says nothing of that.
-- ARGV[3]: JSON, why the destination is paused from now on; '': it is not.
even_when_full()
if ARGV[3] ~= '' then redis.call('HSETNX', P .. 'pauses', 'callkaro', ARGV[3]) end
if ARGV[2] ~= '' then count_callkaro_result(ARGV[2] == '1', ARGV[1], now_ms()) end
return 1
