-- Find out whether this Redis can be our store. Its two keys have no hash tag in common where ours have
-- none, so a cluster refuses them; who takes no scripts refuses it; and an old or another server does
-- not know what our scripts use: keys that were not declared, the time, ranges by score in ZRANGE.
--
-- It only reads. KEYS: two keys of ours that don't exist.
redis.call('TIME')
redis.call('EXISTS', KEYS[1] .. ':undeclared')
redis.call('ZRANGE', KEYS[2], '-inf', '+inf', 'BYSCORE', 'LIMIT', 0, 1)
redis.call('ZMSCORE', KEYS[2], 'nobody')
return cjson.encode({})
