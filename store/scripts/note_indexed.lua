-- include: keys
-- Note how far the first round of the audit has got.
--
-- ARGV[1]: how many more deliveries it looked at. ARGV[2]: '1': the round begins with them. ARGV[3]: what
-- to keep when the round has ended; empty: it has not.
even_when_full()
if ARGV[3] ~= '' then
  redis.call('SET', P .. 'indexed', ARGV[3])
  redis.call('DEL', P .. 'indexing')
  return
end
if ARGV[2] == '1' then redis.call('DEL', P .. 'indexing') end
redis.call('INCRBY', P .. 'indexing', ARGV[1])
