-- Count how CallKaro took a request that is no delivery's own.
--
-- ARGV[1]: who made it. ARGV[2]: '1': well; '0': not. ARGV[3]: JSON, why the destination is paused
-- from now on; '': it is not.
even_when_full()
if ARGV[3] ~= '' then redis.call('HSETNX', P .. 'pauses', 'callkaro', ARGV[3]) end
if ARGV[2] ~= '' then callkaro_took(ARGV[2] == '1', ARGV[1], math.floor(now_us() / 1000)) end
return 1
