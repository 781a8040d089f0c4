-- include: keys, time
-- Return the suppression's record with the persons of another record added: persons are the keyed
-- hashes of the CRM records that belong to a suppressed number.
local function with_persons(record, other)
  local kept, added = cjson.decode(record), cjson.decode(other).persons
  if type(added) ~= 'table' or #added == 0 then return record end
  local persons = type(kept.persons) == 'table' and kept.persons or {}
  local known = {}
  for _, person in ipairs(persons) do known[person] = true end
  for _, person in ipairs(added) do
    if not known[person] and #persons < 100 then persons[#persons + 1] = person end
  end
  kept.persons = persons
  return cjson.encode(kept)
end

-- Keep a suppression under its keyed hash. The first suppression stays, and the persons of later ones
-- are added to it; with `replaces` the later one takes its place. Returns 1 if it is new, else 0.
local function keep_suppressed(hash, record, replaces)
  local kept = redis.call('HGET', P .. 'suppressed', hash)
  if kept then
    record = replaces and with_persons(record, kept) or with_persons(kept, record)
    redis.call('HSET', P .. 'suppressed', hash, record)
    return 0
  end
  redis.call('HSET', P .. 'suppressed', hash, record)
  -- Each suppression has its own place in the list, because a page ends at a place.
  local newest = redis.call('ZRANGE', P .. 'suppressions', 0, 0, 'REV', 'WITHSCORES')
  local place = math.max(now_us(), (tonumber(newest[2]) or 0) + 1)
  redis.call('ZADD', P .. 'suppressions', whole(place), hash)
  return 1
end
