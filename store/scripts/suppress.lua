-- Keep that a number or a person is not to be called, from this step on; and what is to be done
-- about what was planned.
--
-- ARGV[1]: the keyed hash. ARGV[2]: the suppression's record, JSON. ARGV[3]: '1': it takes the place
-- of the one there is. ARGV[4]: an errand's id, '' for none; ARGV[5]: its record; ARGV[6]: in how many
-- ms it is due. Returns {is new, the record that is kept}.
even_when_full()
local is_new = keep_suppressed(ARGV[1], ARGV[2], ARGV[3] == '1')
if ARGV[4] ~= '' then
  put_errand(ARGV[4], ARGV[5], math.floor(now_us() / 1000) + tonumber(ARGV[6]))
end
return {is_new, redis.call('HGET', P .. 'suppressed', ARGV[1])}
