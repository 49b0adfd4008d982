"""The Lua scripts of the cache protocol: each changes a slot only if nobody else's turn has come since.

A slot holds V… a value, L<token><generation> a lease (16 each), or F<version><token><token>… a fence: the highest
version told while it stood (10 digits) and the tokens (16) of those who write.
A generation key holds 16 characters: hexadecimal digits, or F and 15 digits of a token while a write that will change
it is under way.
The sequence number is an era (8 characters, new whenever the key was lost) and 12 digits. A dependency holds S and the
sequence number of its last change, or P and the tokens of those who are changing it. Beside the sequence number stand
the writers under way, each until the time at which it is taken for dead.
"""

# Take the right to fill a slot. KEYS: slot, generation, when it was missed first, sequence number. ARGV: token, lease
# in ms, generation for when there is none, how many ms nothing is filled then: whatever took the generation away
# (FLUSHALL) took the fences of writes under way too, and those must have ended first; an era for when there is none;
# what keys of dependencies begin with; a number to count moves from.
# Answers {state, generation, value or token, sequence number}: L granted, B busy (another's token), F fenced, V a valid
# value.
LEASE = """
local function stands(value, prefix)
  local lowest = 'S' .. string.sub(value, 50, 57)
  local highest = 'S' .. string.sub(value, 50, 69)
  for at = 73, 72 + 12 * tonumber(string.sub(value, 70, 72)), 12 do
    local found = redis.call('GET', prefix .. string.sub(value, at, at + 11))
    if not found or string.sub(found, 1, 9) ~= lowest or found > highest then return false end
  end
  return true
end
local generation = redis.call('GET', KEYS[2])
if not generation then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local missed = redis.call('GET', KEYS[3])
  if not missed then redis.call('SET', KEYS[3], now, 'PX', 60000) end
  if not missed or now - tonumber(missed) < tonumber(ARGV[4]) then return {'F', '', '', ''} end
  redis.call('DEL', KEYS[3])
  generation = ARGV[3]
  redis.call('SET', KEYS[2], generation)
end
if string.sub(generation, 1, 1) == 'F' then return {'F', '', '', ''} end
local sequence = redis.call('GET', KEYS[4])
if not sequence then
  sequence = ARGV[5] .. '000000000000'
  redis.call('SET', KEYS[4], sequence)
  redis.call('SET', KEYS[4] .. ':moved', ARGV[7], 'NX')
end
local held = redis.call('GET', KEYS[1])
if held then
  local kind = string.sub(held, 1, 1)
  if kind == 'L' and string.sub(held, 18) == generation then return {'B', generation, string.sub(held, 2), ''} end
  if kind == 'F' then return {'F', generation, '', ''} end
  if kind == 'V' and string.sub(held, 2, 17) == generation and stands(held, ARGV[6]) then
    return {'V', generation, held, ''}
  end
end
redis.call('SET', KEYS[1], 'L' .. ARGV[1] .. generation, 'PX', ARGV[2])
return {'L', generation, '', sequence}
"""

# The rule: each dependency is there, in nobody's hands, and not younger than `loaded`, the sequence number read before
# the load. One that is not there (never made, evicted, of a lost era) is made: if nobody writes and nothing has been
# told since, nothing can have been lost with it, and the load is as good as it.
_HOLD = """
local function hold(sequence_key, loaded, prefix, life, names, first, ttl)
  local now = redis.call('GET', sequence_key)
  if first > #names then return true end
  if not now then return false end
  local held, quiet, era = true, nil, 'S' .. string.sub(loaded, 1, 8)
  for at = first, #names do
    local key = prefix .. names[at]
    local found = redis.call('GET', key)
    if found and string.sub(found, 1, 1) == 'P' then
      held = false
    elseif found and string.sub(found, 1, 9) == era then
      if string.sub(found, 2) > loaded then held = false end
      if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, life) end
    else
      if quiet == nil then
        local time = redis.call('TIME')
        redis.call('ZREMRANGEBYSCORE', sequence_key .. ':writers', '-inf', time[1] * 1000 + math.floor(time[2] / 1000))
        quiet = now == loaded and redis.call('ZCARD', sequence_key .. ':writers') == 0
      end
      redis.call('SET', key, 'S' .. now, 'PX', life)
      if not quiet then held = false end
    end
  end
  return held
end
"""

# Store what was loaded if the lease still stands, the generation is the one read before the load, and the rule holds.
# KEYS: slot, generation, sequence number. ARGV: token, generation, value, TTL in ms, sequence number read before the
# load, what keys of dependencies begin with, their life in ms, names.
FILL = (
    _HOLD
    + """
if redis.call('GET', KEYS[1]) ~= 'L' .. ARGV[1] .. ARGV[2] then return 0 end
if redis.call('GET', KEYS[2]) ~= ARGV[2] or not hold(KEYS[3], ARGV[5], ARGV[6], ARGV[7], ARGV, 8, ARGV[4]) then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
"""
)

# Take the turn to load a value anew, and the sequence number. KEYS: the turn, sequence number. ARGV: ms.
TAKE_TURN = """
local sequence = redis.call('GET', KEYS[2])
if not sequence or not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return false end
return sequence
"""

# Store a value loaded anew, if the slot still holds the very one that it replaces, under its generation, and the rule
# holds. KEYS: slot, generation, sequence number, the turn, which ends. ARGV: first bytes of the value seen, value, TTL
# in ms, and from the sequence number on as FILL.
REFILL = (
    _HOLD
    + """
redis.call('DEL', KEYS[4])
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
if redis.call('GET', KEYS[2]) ~= string.sub(held, 2, 17) then return 0 end
if not hold(KEYS[3], ARGV[4], ARGV[5], ARGV[6], ARGV, 7, ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
)

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

# Give a lease back if it is still ours. KEYS: slot. ARGV: token.
RELEASE = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 17) == 'L' .. ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
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
# 17 bytes, TTL in ms. The value is stored over an older one, or by the last writer of a fence if no other told a newer
# version; a lease taken meanwhile is voided; an empty slot stays empty, for a delete may have come after us.
PUT = """
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
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
