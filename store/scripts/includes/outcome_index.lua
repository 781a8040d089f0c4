-- include: keys
-- bridge:deliveries:outcome:<place> lists deliveries by the result of their newest outcome. `none` lists
-- the calls that CallKaro accepted and has reported nothing about yet.
local OUTCOME_PLACES = {'none', 'connected', 'voicemail', 'not_reached', 'wrong_number', 'not_dialled',
  'cancelled', 'failed', 'unrecognised'}

-- Return the place of a delivery in this index; nil: it has none. to: `call` or `campaign`.
local function outcome_place(to, status, newest)
  if newest then return string.match(newest, '^%S+') end
  return to == 'call' and status == 'delivered' and 'none' or nil
end

local function outcome_index(place) return 'deliveries:outcome:' .. place end

-- Remove a delivery from a place. Returns from how many indexes: 0 or 1. An index that can't be written
-- stops nothing; the audit repairs it.
local function leave_outcome(place, id)
  local removed = redis.pcall('ZREM', P .. outcome_index(place), id)
  return type(removed) == 'number' and removed or 0
end
