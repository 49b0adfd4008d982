"""The Lua scripts of a load: each changes a slot only if nobody else's turn has come since. Writers': writer_scripts.

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
# what keys of dependencies begin with; a number to count moves from. With replicas also KEYS: position, epoch, ARGV:
# our timeline; nothing is granted to who does not know the cache's own.
# Answers {state, generation, value or token, sequence number, position}: L granted, B busy (another's token), F fenced,
# V a valid value.
LEASE = """
local place = ''
if KEYS[6] then
  local known = string.match(redis.call('GET', KEYS[6]) or '', '|(%x+)$')
  if known ~= ARGV[8] then return {'F', '', '', '', 'other' .. (known or '')} end
  place = redis.call('GET', KEYS[5])
  if not place then
    place = '?' .. ARGV[1]
    redis.call('SET', KEYS[5], place)
  end
end
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
  if not missed or now - tonumber(missed) < tonumber(ARGV[4]) then return {'F', '', '', '', place} end
  redis.call('DEL', KEYS[3])
  generation = ARGV[3]
  redis.call('SET', KEYS[2], generation)
end
if string.sub(generation, 1, 1) == 'F' then return {'F', '', '', '', place} end
local sequence = redis.call('GET', KEYS[4])
if not sequence then
  sequence = ARGV[5] .. '000000000000'
  redis.call('SET', KEYS[4], sequence)
  redis.call('SET', KEYS[4] .. ':moved', ARGV[7], 'NX')
end
local held = redis.call('GET', KEYS[1])
if held then
  local kind = string.sub(held, 1, 1)
  if kind == 'L' and string.sub(held, 18) == generation then
    return {'B', generation, string.sub(held, 2), '', place}
  end
  if kind == 'F' then return {'F', generation, '', '', place} end
  if kind == 'V' and string.sub(held, 2, 17) == generation and stands(held, ARGV[6]) then
    return {'V', generation, held, '', place}
  end
end
redis.call('SET', KEYS[1], 'L' .. ARGV[1] .. generation, 'PX', ARGV[2])
return {'L', generation, '', sequence, place}
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

# Take the turn to load a value anew, and the sequence number. KEYS: the turn, sequence number. ARGV: ms. With replicas
# also KEYS: epoch, ARGV: our timeline.
TAKE_TURN = """
if KEYS[3] and string.match(redis.call('GET', KEYS[3]) or '', '|(%x+)$') ~= ARGV[2] then return false end
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

# Give a lease back if it is still ours. KEYS: slot. ARGV: token.
RELEASE = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 17) == 'L' .. ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
