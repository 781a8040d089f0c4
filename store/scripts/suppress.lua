-- include: keys, time, suppression, background_tasks
-- Suppress a number or a person from this step on, and keep the background task that cancels what was
-- planned.
--
-- ARGV[1]: the keyed hash. ARGV[2]: the suppression's record, JSON. ARGV[3]: '1': it replaces the one
-- that is kept. ARGV[4]: the id of a background task; '': none. ARGV[5]: its record. ARGV[6]: in how
-- many ms it is due. Returns {1 if it is new, else 0; the record that is kept}.
even_when_full()
local is_new = keep_suppressed(ARGV[1], ARGV[2], ARGV[3] == '1')
if ARGV[4] ~= '' then
  put_background_task(ARGV[4], ARGV[5], now_ms() + tonumber(ARGV[6]))
end
return {is_new, redis.call('HGET', P .. 'suppressed', ARGV[1])}
