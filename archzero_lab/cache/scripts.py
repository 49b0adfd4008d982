"""The Lua scripts of the cache protocol: each changes a slot only if nobody else's turn has come since."""

# Take the right to fill a slot. KEYS: slot, generation. ARGV: token, lease in ms, a generation for when there is none.
# Answers {state, generation, value or token}: L granted, B busy (another's token), F fenced, V a valid value.
LEASE = """
local generation = redis.call('GET', KEYS[2])
if not generation then
  generation = ARGV[3]
  redis.call('SET', KEYS[2], generation)
end
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

# Give a lease or a fence back if it is still ours. KEYS: slot. ARGV: L or F and the token.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

# After a committed write. KEYS: slot, generation of the slot. ARGV: token, version, value without header, its ETag,
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
if not generation then return redis.call('DEL', KEYS[1]) end
local header = 'V' .. generation .. string.format('%010d', ARGV[2]) .. string.format('%02d', #ARGV[4]) .. ARGV[4]
redis.call('SET', KEYS[1], header .. ARGV[3], 'PX', ARGV[5])
return 1
"""

# After a committed delete. KEYS: slot. ARGV: token. Only another writer's fence stays.
REMOVE = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 1) == 'F' and held ~= 'F' .. ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
