-- include: keys
-- Write something. WAIT waits for the replicas only if its connection wrote, and a script that answers
-- "it is stored already" did not: its first run may have reached no replica.
even_when_full()
redis.call('SET', P .. 'mark', '1')
