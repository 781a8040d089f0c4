-- The prefix of all our keys.
local P = 'bridge:'

-- A full Redis refuses a script whose first write needs memory, but it lets a script finish that has
-- begun to write. A script that records, repairs or frees must get through, so it calls this first.
local function even_when_full() redis.call('DEL', P .. 'nothing') end
