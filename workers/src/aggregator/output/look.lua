-- Looks whether the server still has what was written: KEYS[1] is a sentinel that goes with everything else. Its value
-- names the run of the server, because a server that comes back, or another one in its place, may have lost the last
-- writes; and the time, because a server may be emptied more than once in a run.
-- Returns the sentinel's value, and whether it had to be set (1 or 0).
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or 'unknown'
local there = redis.call('GET', KEYS[1])
if there and string.sub(there, 1, #run) == run then return {there, 0} end
local now = redis.call('TIME')
local mark = run .. ' ' .. now[1] .. '.' .. now[2]
redis.call('SET', KEYS[1], mark)
return {mark, 1}
