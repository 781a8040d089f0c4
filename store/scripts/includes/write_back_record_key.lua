-- include: keys
-- Where is kept what was written to a record of a CRM.
local function write_back_record_key(source, subject_type, subject)
  return P .. 'write_back_record:' .. redis.sha1hex(table.concat({source, subject_type, subject}, '\n'))
end
