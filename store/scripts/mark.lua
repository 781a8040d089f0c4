-- include: keys
-- Write something. WAIT waits only for what its own connection wrote, and a script that finds its work
-- done may write nothing, though no replica has what its first run wrote.
even_when_full()
redis.call('SET', P .. 'mark', '1')
