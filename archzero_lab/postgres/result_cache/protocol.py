"""The protocol in Redis: a result holds the versions of what it was made from; a write changes them before it is made.

A reader takes the versions before it asks PostgreSQL, and what it stores is good for these alone. A writer gives what
it touches a new version and marks it before its first statement; nothing of it is served or stored until the writer has
ended its transaction, given a new version again and taken its mark away. One that dies leaves a mark that ends by
itself. So a result read after a write's end is never older than that write, as long as Redis restores no older state
(docs/result-cache.md).
"""

from __future__ import annotations

READ = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local versions, marked = {}, false
for i = 2, #KEYS do
  local fields, version = redis.call('HGETALL', KEYS[i]), false
  for j = 1, #fields, 2 do
    if fields[j] == 'v' then version = fields[j + 1]
    elseif tonumber(fields[j + 1]) > now then marked = true
    else redis.call('HDEL', KEYS[i], fields[j]) end
  end
  if not version then
    version = ARGV[1]
    redis.call('HSET', KEYS[i], 'v', version)
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
  end
  versions[i - 1] = version
end
if marked then return {false, ''} end
local stamp = table.concat(versions, ',')
local kept = redis.call('GET', KEYS[1])
if kept and string.sub(kept, 1, #stamp + 1) == stamp .. '|' then return {string.sub(kept, #stamp + 2), stamp} end
return {false, stamp}
"""
"""KEYS: an entry, what it depends on. ARGV: a new version, a dependency's ms. Gives the result or nil, and the stamp
with which one may be stored ("": it may not)."""

BEGIN = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
for _, key in ipairs(KEYS) do
  redis.call('HSET', key, 'v', ARGV[1], ARGV[2], now + ARGV[3])
  redis.call('PEXPIRE', key, ARGV[4])
end
return #KEYS
"""
"""KEYS: what is touched. ARGV: a new version, the writer, ms after which its mark ends, a dependency's ms."""

END = """
for _, key in ipairs(KEYS) do
  redis.call('HSET', key, 'v', ARGV[1])
  redis.call('HDEL', key, ARGV[2])
  redis.call('PEXPIRE', key, ARGV[3])
end
return #KEYS
"""
"""KEYS: what was touched. ARGV: a new version, the writer, a dependency's ms."""
