-- Go through what is listed, from the newest down, and find what fits. Redis serves nobody else
-- meanwhile, so it looks at so many records and no more; the caller goes on from there.
--
-- ARGV[1]: JSON, {indexes, high, low, limit, look, kind, fields, values}: a record of this kind fits
-- if each of its fields has one of its values, {value = true}. high and low are orders as Redis'
-- ranges want them. look: at how many records. Without fields all fit.
-- Returns {the order to go on below; '' at the end, id, order, id, order...}.
local asked = cjson.decode(ARGV[1])
local PAGE = 100
local streams, answer, found, looked = {}, {''}, 0, 0
for i, name in ipairs(asked.indexes) do
  streams[i] = {name = P .. name, high = asked.high, at = 1, page = {}}
end

-- Return the order of the newest of an index that was not taken yet; nil: there is no more.
local function head(s)
  if not s.page[s.at] and not s.ended then
    s.page = redis.call('ZRANGE', s.name, s.high, asked.low, 'BYSCORE', 'REV', 'LIMIT', 0, PAGE,
      'WITHSCORES')
    s.at, s.ended = 1, #s.page < 2 * PAGE
    if #s.page > 0 then s.high = '(' .. s.page[#s.page] end
  end
  return tonumber(s.page[s.at + 1])
end

local function newest()
  local best, order
  for _, s in ipairs(streams) do
    local here = head(s)
    if here and (not order or here > order) then best, order = s, here end
  end
  if not best then return nil end
  best.at = best.at + 2
  return best.page[best.at - 2], best.page[best.at - 1]
end

-- Until 0.1.0 an event said its source in its record only; it begins with that.
local function source_of(id)
  local record = redis.call('HGET', P .. 'event:' .. id, 'record') or ''
  return string.match(record, '^{"id":"[^"]*","source":"([^"]*)"')
end

local function fits(id)
  if #asked.fields == 0 then return true end
  local got = redis.call('HMGET', P .. asked.kind .. ':' .. id, unpack(asked.fields))
  for i, values in ipairs(asked.values) do
    local value = got[i]
    if not value and asked.kind == 'event' and asked.fields[i] == 'source' then value = source_of(id) end
    if not values[value or ''] then return false end
  end
  return true
end

while found < asked.limit and looked < asked.look do
  local id, order = newest()
  if not id then
    answer[1] = ''
    return answer
  end
  looked = looked + 1
  answer[1] = order
  if fits(id) then
    found = found + 1
    answer[#answer + 1] = id
    answer[#answer + 1] = order
  end
end
return answer
