-- include: keys, time, erasure, figures, erased_write_back, write_back_record
-- Remove all personal data from deliveries and their write-backs, except for the calls that CallKaro must still delete.
--
-- ARGV: their ids. If an answer or an outcome arrives later, its personal data is removed then.
even_when_full()
local now = now_ms()

-- Nothing more is written to the CRM about the person. What is on the wire is cancelled at its next claim.
local function erase_write_backs(parent)
  for id in string.gmatch(redis.call('HGET', P .. 'delivery:' .. parent, 'write_backs') or '', '[^\n]+') do
    redis.call('DEL', record_of(read_write_back(id)))
    cancel_erased(id, now)
    anonymize(id, now)
  end
end

for _, id in ipairs(ARGV) do
  if redis.call('EXISTS', P .. 'delivery:' .. id) == 1 then
    count_figures(id, now)
    erase_write_backs(id)
    anonymize(id, now)
  end
end
return #ARGV
