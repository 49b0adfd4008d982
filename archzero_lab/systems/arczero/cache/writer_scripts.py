"""The Lua scripts of a writer: what a write announces before its commit and tells after it; forms: scripts."""

# What comes before a script that must work while Redis' memory is full: fences and new generations are a few bytes, and
# without them a write could not be announced. Redis 7 and Valkey know it; before, such a write falls back to DEL.
ALLOW_OOM = "#!lua flags=allow-oom\n"

# Those of the dependencies named (one name after the other) that are there; of a text's hundreds few are.
_EACH = """
local function each(prefix, names, act)
  for first = 1, #names, 3000 do
    local keys = {}
    for at = first, math.min(first + 2999, #names), 12 do keys[#keys + 1] = prefix .. string.sub(names, at, at + 11) end
    for at, held in ipairs(redis.call('MGET', unpack(keys))) do
      if held then act(keys[at], held) end
    end
  end
end
"""

# Say that a dependency may be another one now. A lost number begins anew at one that nobody can have seen before.
_MOVE = """
local function move(sequence, seed)
  local moved = sequence .. ':moved'
  if redis.call('INCR', moved) == 1 then redis.call('SET', moved, seed) end
end
"""

# Announce a change of dependencies: whatever depends on one of them is not valid until all who announced one have told,
# or ARGV[2] ms have passed. One that is not there has nothing depending on it. KEYS: sequence number. ARGV: token, ms,
# what keys of dependencies begin with, names, a number to count moves from.
ANNOUNCE = (
    _EACH
    + _MOVE
    + """
move(KEYS[1], ARGV[5])
local time = redis.call('TIME')
local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
redis.call('ZADD', KEYS[1] .. ':writers', until_ms, ARGV[1])
each(ARGV[3], ARGV[4], function(key, held)
  if string.sub(held, 1, 1) ~= 'P' or #held > 1000 then held = 'P' end
  if not string.find(held, ARGV[1], 2, true) then held = held .. ARGV[1] end
  redis.call('SET', key, held, 'PX', ARGV[2])
end)
return 1
"""
)

# Tell a change of dependencies, after the commit: they get a new sequence number, all but those that others are still
# changing. KEYS: sequence number. ARGV: token, an era for when there is none, what keys of dependencies begin with,
# their life in ms, names, a number to count moves from.
TELL = (
    _EACH
    + _MOVE
    + """
move(KEYS[1], ARGV[6])
local sequence = redis.call('GET', KEYS[1])
if sequence then
  sequence = string.sub(sequence, 1, 8) .. string.format('%012d', tonumber(string.sub(sequence, 9)) + 1)
else
  sequence = ARGV[2] .. '000000000001'
end
redis.call('SET', KEYS[1], sequence)
each(ARGV[3], ARGV[5], function(key, held)
  local others = ''
  if string.sub(held, 1, 1) == 'P' then
    others = string.sub(held, 2)
    local mine = #ARGV[1] > 0 and string.find(others, ARGV[1], 1, true)
    if mine then others = string.sub(others, 1, mine - 1) .. string.sub(others, mine + #ARGV[1]) end
  end
  if #others > 0 then
    redis.call('SET', key, 'P' .. others, 'KEEPTTL')
  else
    redis.call('SET', key, 'S' .. sequence, 'PX', ARGV[4])
  end
end)
return 1
"""
)

# After TELL: who announced writes no longer. A script, so that a Redis that forgot them does neither before the other.
# KEYS: writers. ARGV: token.
DONE = "return redis.call('ZREM', KEYS[1], ARGV[1])"

# Announce a write to a slot: nobody fills it until all who announced one have told, or ARGV[2] ms have passed.
# KEYS: slot. ARGV: token, ms. Writers of one card are at it together: each adds its token, or the first to tell would
# store its value while another's newer one is committed and not told yet. One that announces again, for it heard no
# answer, stands there once.
FENCE = """
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, 1) ~= 'F' or #held > 1000 then held = 'F0000000000' end
if not string.find(held, ARGV[1], 12, true) then held = held .. ARGV[1] end
redis.call('SET', KEYS[1], held, 'PX', ARGV[2])
return 1
"""

# Announce a write to a group. KEYS: generation. ARGV: F and 15 digits of the token, ms.
CLAIM = """
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# Take our token out of a fence after a write that was rolled back. KEYS: slot. ARGV: token.
UNFENCE = """
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, 1) ~= 'F' then return 0 end
local at = string.find(held, ARGV[1], 12, true)
if not at then return 0 end
local rest = string.sub(held, 12, at - 1) .. string.sub(held, at + 16)
if #rest == 0 then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], string.sub(held, 1, 11) .. rest, 'KEEPTTL')
return 1
"""

# End a write's claim on a generation with a new one, unless another writer has claimed it since: that one will.
# KEYS: generation. ARGV: our fence (F and 15 digits), the new generation.
BUMP = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 1) == 'F' and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

# After a committed write. KEYS: slot, generation of the slot. ARGV: token, version (10 digits), value without its first
# 17 bytes, TTL in ms; with replicas also KEYS: epoch, ARGV: our timeline: into the cache of another nothing is stored.
# The value is stored over an older one, or by the last writer of a fence if no other told a newer version; a lease
# taken meanwhile is voided; an empty slot stays empty, for a delete may have come after us.
PUT = """
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
if KEYS[3] and string.match(redis.call('GET', KEYS[3]) or '', '|(%x+)$') ~= ARGV[5] then
  return redis.call('DEL', KEYS[1])
end
local kind = string.sub(held, 1, 1)
if kind == 'L' then return redis.call('DEL', KEYS[1]) end
if kind == 'V' and string.sub(held, 18, 27) >= ARGV[2] then return 0 end
if kind == 'F' then
  local known = string.sub(held, 2, 11)
  local newest = known
  if ARGV[2] > newest then newest = ARGV[2] end
  local at = string.find(held, ARGV[1], 12, true)
  local rest = string.sub(held, 12)
  if at then rest = string.sub(held, 12, at - 1) .. string.sub(held, at + 16) end
  if #rest > 0 then
    redis.call('SET', KEYS[1], 'F' .. newest .. rest, 'KEEPTTL')
    return 0
  end
  if known > ARGV[2] then return redis.call('DEL', KEYS[1]) end
end
local generation = redis.call('GET', KEYS[2])
if not generation or string.sub(generation, 1, 1) == 'F' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], 'V' .. generation .. ARGV[3], 'PX', ARGV[4])
return 1
"""

# After a committed delete, or for a row that somebody else changed. KEYS: slot. ARGV: token, or empty.
# The fence of other writers stays, and learns that whatever they have must not be stored.
REMOVE = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 1) == 'F' then
  local at = nil
  if #ARGV[1] > 0 then at = string.find(held, ARGV[1], 12, true) end
  local rest = string.sub(held, 12)
  if at then rest = string.sub(held, 12, at - 1) .. string.sub(held, at + 16) end
  if #rest > 0 then
    redis.call('SET', KEYS[1], 'F9999999999' .. rest, 'KEEPTTL')
    return 0
  end
end
return redis.call('DEL', KEYS[1])
"""

# Before a change is told: up to where in the database's history it was committed. KEYS: position, epoch. ARGV: it, or ?
# where nobody knows; our timeline (8 digits); a mark that none had before. Answers the cache's timeline, and
# changes nothing, where that is a later one, 2 where it is an earlier one still, whose entries must go first.
ADVANCE = """
local known = string.match(redis.call('GET', KEYS[2]) or '', '|(%x+)$')
if known and known > ARGV[2] then return known end
if known and known < ARGV[2] then return 2 end
local held = redis.call('GET', KEYS[1]) or ''
if #held == 40 and #ARGV[1] == 40 and string.sub(held, 1, 16) == string.sub(ARGV[1], 1, 16) then
  if string.sub(held, 17, 24) > ARGV[2] then return string.sub(held, 17, 24) end
  if held < ARGV[1] then redis.call('SET', KEYS[1], ARGV[1]) end
  return 1
end
redis.call('SET', KEYS[1], '?' .. ARGV[3])
return 1
"""

# Where the primary is, put in place of a position that was lost, unless somebody has told since it was seen so.
# KEYS: position, epoch. ARGV: what was seen, the primary's position.
SETTLE = """
local known = string.match(redis.call('GET', KEYS[2]) or '', '|(%x+)$')
if known ~= string.sub(ARGV[2], 17, 24) or redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

# Begin a new epoch, unless somebody else has begun one since: every generation is another, what belongs to the old one
# is gone. KEYS: epoch, moved, sequence number, position, generations. ARGV: the epoch seen ('' for none), the new one,
# ms for which the generations live (0: for ever), the generations.
BEGIN_EPOCH = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
for at = 5, #KEYS do
  if ARGV[3] == '0' then redis.call('SET', KEYS[at], ARGV[at - 1])
  else redis.call('SET', KEYS[at], ARGV[at - 1], 'PX', ARGV[3]) end
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

# Give a tag of a Cluster its copy of the epoch, unless another has been begun since, and new generations with it.
# KEYS: the copy, generations. ARGV: the copy seen ('' for none), the new one, ms for which the generations live (0: for
# ever), the generations.
BEGIN_TAG = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
for at = 2, #KEYS do
  if ARGV[3] == '0' then redis.call('SET', KEYS[at], ARGV[at + 2])
  else redis.call('SET', KEYS[at], ARGV[at + 2], 'PX', ARGV[3]) end
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
