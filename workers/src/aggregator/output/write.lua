-- Writes the rows of one key where they are newer than what is there.
-- KEYS: the key; its companion, a hash of what is known of it: `incarnation`, its `birth`, `alive` (see below), and by
-- group (which begins with `[`) the version.
-- ARGV: the type of the key, the incarnation, its birth, until when these rows keep the key alive (ms since 1970), the
-- time to live after that ('' for ever); then for each row: group, birth, offset, sequence, the number of fields, and
-- those with their values ('' for none).
-- Returns how many rows were written; -1 when the key belongs to a later incarnation.
local key, companion = KEYS[1], KEYS[2]
local kind, incarnation, birth, alive, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

-- Whole numbers are compared as texts: Lua's doubles don't hold 64 bits.
local function less(a, b)
  local a_negative, b_negative = string.sub(a, 1, 1) == '-', string.sub(b, 1, 1) == '-'
  if a_negative ~= b_negative then return a_negative end
  if a_negative then a, b = b, a end
  if #a ~= #b then return #a < #b end
  return a < b
end

-- -1, 0 or 1, as the version of the row at ARGV[at] is older than `there`, the same or newer.
local function compared(at, there)
  local index = at + 1
  for part in string.gmatch(there, '[^:]+') do
    if less(ARGV[index], part) then return -1 end
    if less(part, ARGV[index]) then return 1 end
    index = index + 1
  end
  return 0
end

local known = redis.call('HMGET', companion, 'incarnation', 'birth', 'alive')
if known[1] and known[1] ~= incarnation then
  if less(birth, known[2]) or (birth == known[2] and incarnation < known[1]) then return -1 end
  redis.call('DEL', key, companion)
  known = {}
end
if known[2] and less(birth, known[2]) then birth = known[2] end
if known[3] and less(alive, known[3]) then alive = known[3] end

local expires
if ttl ~= '' then
  expires = tonumber(alive) + tonumber(ttl)
  local now = redis.call('TIME')
  if expires <= now[1] * 1000 + math.floor(now[2] / 1000) then return 0 end
end

local there = redis.call('TYPE', key).ok
if there ~= 'none' and there ~= kind then
  redis.call('DEL', key)
  there = 'none'
end

redis.call('HSET', companion, 'incarnation', incarnation, 'birth', birth, 'alive', alive)
local written, at = 0, 6
while at <= #ARGV do
  local group, last = ARGV[at], at + 4 + 2 * ARGV[at + 4]
  local version = redis.call('HGET', companion, group)
  local order = version and compared(at, version) or 1
  -- The same version again is the same value: of use only where somebody has deleted the key.
  if order > 0 or (order == 0 and there == 'none') then
    redis.call('HSET', companion, group, table.concat({ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]}, ':'))
    for index = at + 5, last, 2 do
      local field, value = ARGV[index], ARGV[index + 1]
      if kind == 'hash' then
        if value == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, value) end
      elseif value == '' then
        redis.call('DEL', key)
      else
        redis.call('SET', key, value)
      end
    end
    written = written + 1
  end
  at = last + 1
end

if expires then
  local text = string.format('%.0f', expires)
  redis.call('PEXPIREAT', key, text)
  redis.call('PEXPIREAT', companion, text)
else
  redis.call('PERSIST', key)
  redis.call('PERSIST', companion)
end
return written
