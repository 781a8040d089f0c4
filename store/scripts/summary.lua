-- include: keys, time, outbox
-- Put the summary of a day into the outbox, once however many workers ask.
--
-- ARGV[1]: the day on which it is sent, such as 2026-01-31. ARGV[2]: its facts (JSON). ARGV[3]: at most
-- how many messages are kept, the newest.
-- The day and the message are kept in one step: a worker that dies loses neither.
-- Returns 1; 0: the summary of this day, or of a later one, was put before.
even_when_full()
local SENT = P .. 'alerts:summary'
local sent = redis.call('GET', SENT)
if sent and sent >= ARGV[1] then return 0 end
redis.call('SET', SENT, ARGV[1])
read_outbox()
send(now_us(), 'summary', 'summary.daily', cjson.decode(ARGV[2]), false)
forget_oldest(tonumber(ARGV[3]))
return 1
