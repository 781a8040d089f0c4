-- include: keys
-- A write-back is a delivery that tells a CRM of a call: see store/write_backs.py. It has a key, indexes and
-- a due set of its own: an older release, which looks at all bridge:delivery:*, would call the person again.
-- Its id says that it is one, so that no record is read to find the right index.
local WRITE_BACK_ID = 'wb-'  -- as in schemas/delivery.py; other ids are hexadecimal

local function is_write_back(id) return string.sub(id, 1, #WRITE_BACK_ID) == WRITE_BACK_ID end

local function write_back_key(id) return P .. 'write_back:' .. id end

local function delivery_key(id) return is_write_back(id) and write_back_key(id) or P .. 'delivery:' .. id end
