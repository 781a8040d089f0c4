-- The prefix of all our keys is the one key that a script gets: see config/key_prefix.py. Its hash tag
-- tells a cluster which shard has them all.
local P = KEYS[1]

-- A full Redis refuses a script whose first write needs memory, but it lets a script finish that has
-- begun to write. A script that records, repairs or frees must get through, so it calls this first.
local function even_when_full() redis.call('DEL', P .. 'nothing') end

-- move-store closes a store: see store/closing.py. That `unused` is gone tells it that a process still runs.
if redis.call('EXISTS', P .. 'closed') == 1 then
  redis.call('HDEL', P .. 'closed', 'unused')
  return redis.error_reply('CLOSED ' .. (redis.call('HGET', P .. 'closed', 'state') or ''))
end
