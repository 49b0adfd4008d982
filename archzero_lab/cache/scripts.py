"""The Lua scripts of the cache protocol: each changes a slot only if nobody else's turn has come since.

A slot holds V… a value, L<token> a lease, F<token> a fence. A generation key holds 16 characters: hexadecimal digits,
or F and 15 digits of a token while a write that will change it is under way.
"""

# Take the right to fill a slot. KEYS: slot, generation. ARGV: token, lease in ms, a generation for when there is none.
# Answers {state, generation, value or token}: L granted, B busy (another's token), F fenced, V a valid value.
LEASE = """
local generation = redis.call('GET', KEYS[2])
if not generation then
  generation = ARGV[3]
  redis.call('SET', KEYS[2], generation)
end
if string.sub(generation, 1, 1) == 'F' then return {'F', '', ''} end
local held = redis.call('GET', KEYS[1])
if held then
  local kind = string.sub(held, 1, 1)
  if kind == 'L' then return {'B', generation, string.sub(held, 2)} end
  if kind == 'F' then return {'F', generation, ''} end
  if kind == 'V' and string.sub(held, 2, 17) == generation then return {'V', generation, held} end
end
redis.call('SET', KEYS[1], 'L' .. ARGV[1], 'PX', ARGV[2])
return {'L', generation, ''}
"""

# Store what was loaded if the lease still stands and the generation is the one read before the load.
# KEYS: slot, generation. ARGV: token, generation, value, TTL in ms.
FILL = """
if redis.call('GET', KEYS[1]) ~= 'L' .. ARGV[1] then return 0 end
if redis.call('GET', KEYS[2]) ~= ARGV[2] then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
"""

# Store a value loaded anew, if the slot still holds the very one that it replaces, under its generation.
# KEYS: slot, generation. ARGV: first bytes of the value seen, value, TTL in ms.
REFILL = """
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
if redis.call('GET', KEYS[2]) ~= string.sub(held, 2, 17) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

# Give a lease or a fence back if it is still ours. KEYS: slot. ARGV: L or F and the token.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

# End a write's claim on a generation with a new one, unless another writer has claimed it since: that one will.
# KEYS: generation. ARGV: our fence (F and 15 digits), the new generation.
BUMP = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 1) == 'F' and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

# After a committed write. KEYS: slot, generation of the slot. ARGV: token, version, value without its first 17 bytes,
# TTL in ms. The value is stored over our own fence or an older version; a lease taken meanwhile is voided; another
# writer's fence stands; an empty slot stays empty, for a delete may have come after us.
PUT = """
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
local kind = string.sub(held, 1, 1)
if kind == 'L' then return redis.call('DEL', KEYS[1]) end
if kind == 'F' and held ~= 'F' .. ARGV[1] then return 0 end
if kind == 'V' and tonumber(string.sub(held, 18, 27)) >= tonumber(ARGV[2]) then return 0 end
local generation = redis.call('GET', KEYS[2])
if not generation or string.sub(generation, 1, 1) == 'F' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], 'V' .. generation .. ARGV[3], 'PX', ARGV[4])
return 1
"""

# After a committed delete, or for a row that somebody else changed. KEYS: slot. ARGV: token, or empty.
# Only another writer's fence stays: that writer will tell what comes of it.
REMOVE = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 1) == 'F' and held ~= 'F' .. ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
