"""
What a Redis does in one step. A value is kept behind its version and a line feed; times are those of its own clock.
"""

#: Keys: of the value, of the newest version. Arguments: value, time to live in ms or nothing, version or nothing.
#: Returns the new version, or minus the one that is in the way. Versions are microseconds: what begins anew after all
#: was lost is still higher.
PUT = b"""
local found = tonumber(string.match(redis.call('GETRANGE', KEYS[1], 0, 20), '^%d+') or '0')
if ARGV[3] ~= '' and tonumber(ARGV[3]) ~= found then return -found end
local time = redis.call('TIME')
local newest = tonumber(redis.call('GET', KEYS[2]) or '0')
local version = math.max(time[1] * 1000000 + time[2], newest + 1)
local text = string.format('%.0f', version)
redis.call('SET', KEYS[2], text)
if ARGV[2] == '' then
    redis.call('SET', KEYS[1], text .. '\\n' .. ARGV[1])
else
    redis.call('SET', KEYS[1], text .. '\\n' .. ARGV[1], 'PX', ARGV[2])
end
return version
"""

#: Key: of the value. Argument: time to live in ms or nothing. Returns whether there is a value.
TOUCH = b"""
if ARGV[1] ~= '' then return redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
redis.call('PERSIST', KEYS[1])
return redis.call('EXISTS', KEYS[1])
"""

#: Keys: of the value, of the hits. Returns whether there was a value.
DELETE = b"""
redis.call('DEL', KEYS[2])
return redis.call('DEL', KEYS[1])
"""

#: Key: of the hits. Arguments: burst, period in seconds, cost, the part of a hit that does not count (see _gcra).
#: Returns whether it is allowed, how many more are, and microseconds to wait.
HIT = b"""
local burst, period, cost, rounding = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local each = period / burst
local ahead = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or '0') - now, 0), period)
local after = ahead + cost * each
if after - period > each * rounding then
    return {0, math.floor((period - ahead) / each + rounding), math.ceil((after - period) * 1000000)}
end
if cost > 0 then
    redis.call('SET', KEYS[1], string.format('%.6f', now + after), 'PX', string.format('%.0f', math.ceil(after * 1000)))
end
return {1, math.max(math.floor((period - after) / each + rounding), 0), 0}
"""
