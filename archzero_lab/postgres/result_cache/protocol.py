"""The protocol in Redis: a result holds the versions of what it was made from; a write changes them before it is made.

A reader takes the versions before it asks PostgreSQL, and what it stores is good for these alone. A writer gives what
it touches a new version and marks it before its statement; nothing of it is served or stored until the writer's
transaction has ended, it has given a new version again and taken its mark away. One that dies leaves a mark that ends
by itself. So a result read after a write's end is never older than that write, as long as Redis restores no older state
(docs/result-cache.md). The scripts run in full memory too: a mark matters more than a result.
"""

from __future__ import annotations

READ = """#!lua flags=allow-oom
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
    if i > tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
  end
  versions[i - 1] = version
end
if marked then return {false, '', versions[1]} end
local stamp = table.concat(versions, ',')
local kept = redis.call('GET', KEYS[1])
if kept and string.sub(kept, 1, #stamp + 1) == stamp .. '|' then
  return {string.sub(kept, #stamp + 2), stamp, versions[1]}
end
return {false, stamp, versions[1]}
"""
"""KEYS: an entry, the schema, what else it depends on. ARGV: a new version, a row's ms, how many keys live for ever.

Gives the result or nil, the stamp with which one may be stored ("": it may not), the version of the schema."""

BEGIN = """#!lua flags=allow-oom
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local fields, schema = redis.call('HGETALL', KEYS[1]), ''
for j = 1, #fields, 2 do
  if fields[j] == 'v' then schema = fields[j + 1] end
end
for j = 1, #fields, 2 do
  if fields[j] ~= 'v' and tonumber(fields[j + 1]) > now then schema = '' end
end
for i = 2, #KEYS do
  redis.call('HSET', KEYS[i], 'v', ARGV[1], ARGV[2], now + ARGV[3])
  if i > tonumber(ARGV[5]) then redis.call('PEXPIRE', KEYS[i], ARGV[4]) end
end
return schema
"""
"""KEYS: the schema, what is touched. ARGV: a new version, the writer, ms after which its mark ends, a row's ms, how
many keys live for ever. Gives the version of the schema, "" while somebody changes it."""

END = """#!lua flags=allow-oom
for i = 1, #KEYS do
  redis.call('HSET', KEYS[i], 'v', ARGV[1])
  redis.call('HDEL', KEYS[i], ARGV[2])
  if i > tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[i], ARGV[3]) end
end
return #KEYS
"""
"""KEYS: what was touched. ARGV: a new version, the writer, a row's ms, how many keys live for ever."""

KEEP = """#!lua
local old = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if not old then return 0 end
local before, now = string.find(old, '|', 1, true), string.find(ARGV[1], '|', 1, true)
if string.sub(old, 1, before) == string.sub(ARGV[1], 1, now) then return 0 end
if string.sub(old, before) == string.sub(ARGV[1], now) then return 2 end
return 1
"""
"""KEYS: an entry. ARGV: a stamp, | and a result; ms that it lives. Gives 1 where a change had made another result
invalid, 2 where that was the very same, so that nothing would have been lost by keeping it; 0 where there was none."""
