-- A write-back is a delivery that tells a CRM of a call: see store/write_backs.py. It has indexes and a due
-- set of its own. Its id says that it is one, so that no record is read to find the right index.
local WRITE_BACK_ID = 'wb-'  -- as in schemas/delivery.py; other ids are hexadecimal

local function is_write_back(id) return string.sub(id, 1, #WRITE_BACK_ID) == WRITE_BACK_ID end
