-- The shared state's scripts. Run as one script, whose first argument names what to do; all keys share one hash tag.
--
-- scope:  hash of n, a (used), rn, ra (reserved), each amount as n * 10^-9 + a * 10^-18 USD with 0 <= a < 10^9, and
--         s, which tells one seeding from the next. Sums are made by HINCRBY, in 64-bit integers; Lua's numbers, which
--         are exact to nine million USD, only compare.
-- key:    hash of c (running requests), r, t (requests and tokens of the minute), o (its oldest second), and for each
--         of its seconds "<second>r" and "<second>t".
-- leases: one hash per process: request -> {key, n, a, tokens, second, scope, s, scope, s, ...}.
local call = redis.call
local IDLE_S = 3600
local SPAN_S = 61

local function add(key, high, low, n, a)
  if n ~= '0' then call('HINCRBY', key, high, n) end
  if a ~= '0' then
    local sum = call('HINCRBY', key, low, a)
    if sum >= 1000000000 then
      call('HINCRBY', key, low, '-1000000000')
      call('HINCRBY', key, high, '1')
    elseif sum < 0 then
      call('HINCRBY', key, low, '1000000000')
      call('HINCRBY', key, high, '-1')
    end
  end
end

local function negative(digits)
  return digits == '0' and '0' or '-' .. digits
end

local function advance(key, now)
  local oldest = tonumber(call('HGET', key, 'o') or now)
  local first = now - SPAN_S + 1
  if oldest >= first then
    call('HSETNX', key, 'o', string.format('%d', oldest))
    return
  end
  for second = oldest, math.min(first - 1, oldest + SPAN_S) do
    local r, t = string.format('%dr', second), string.format('%dt', second)
    local counts = call('HMGET', key, r, t)
    if counts[1] then
      call('HINCRBY', key, 'r', negative(counts[1]))
      -- A correction may have made the tokens of a second negative.
      local tokens = tonumber(counts[2])
      if tokens ~= 0 then call('HINCRBY', key, 't', string.format('%.0f', -tokens)) end
      call('HDEL', key, r, t)
    end
  end
  call('HSET', key, 'o', string.format('%d', first))
end

local function free_at(key, now, kind, total, limit)
  local oldest = tonumber(call('HGET', key, 'o'))
  local free = 0
  for second = oldest, math.max(now, oldest + SPAN_S) do
    if total < limit then break end
    local count = call('HGET', key, string.format('%d', second) .. kind)
    if count then
      total = total - tonumber(count)
      free = second + SPAN_S
    end
  end
  return free
end

-- reserve: KEYS leases, key, scope...
-- ARGV id, now, n, a, tokens, requests, tokens_limit, concurrent, then for each scope its limit as n, a ('' for none)
local function reserve()
  local leases, key = KEYS[1], KEYS[2]
  local id, now = ARGV[2], tonumber(ARGV[3])
  local n, a, tokens = ARGV[4], ARGV[5], ARGV[6]
  if call('HEXISTS', leases, id) == 1 then return {'granted'} end -- its answer was lost, and it was sent again
  local unknown, seeds = {}, {}
  for i = 3, #KEYS do
    seeds[i] = call('HGET', KEYS[i], 's')
    if not seeds[i] then unknown[#unknown + 1] = i - 3 end
  end
  if #unknown > 0 then return {'unknown', unpack(unknown)} end
  for i = 3, #KEYS do
    local limit_n, limit_a = ARGV[10 + 2 * (i - 3)], ARGV[11 + 2 * (i - 3)]
    if limit_n ~= '' then
      local sums = call('HMGET', KEYS[i], 'n', 'a', 'rn', 'ra')
      local high, low = tonumber(sums[1]) + tonumber(sums[3]), tonumber(sums[2]) + tonumber(sums[4])
      if low >= 1000000000 then high, low = high + 1, low - 1000000000 end
      local most, rest = tonumber(limit_n), tonumber(limit_a)
      if high > most or (high == most and low >= rest) then
        return {'exhausted', i - 3, sums[1], sums[2], sums[3], sums[4]}
      end
    end
  end
  advance(key, now)
  local counts = call('HMGET', key, 'c', 'r', 't', 'o')
  local running, r, t = tonumber(counts[1] or 0), tonumber(counts[2] or 0), tonumber(counts[3] or 0)
  local most_r, most_t, most_c = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
  if most_c and running >= most_c then return {'concurrency'} end
  if most_r and r >= most_r then return {'requests', free_at(key, now, 'r', r, most_r)} end
  if most_t and t >= most_t then return {'tokens', free_at(key, now, 't', t, most_t)} end
  local second = string.format('%d', math.max(now, tonumber(counts[4])))
  call('HINCRBY', key, 'c', 1)
  call('HINCRBY', key, 'r', 1)
  call('HINCRBY', key, second .. 'r', 1)
  call('HINCRBY', key, 't', tokens)
  call('HINCRBY', key, second .. 't', tokens)
  call('EXPIRE', key, IDLE_S)
  local lease = {key, n, a, tokens, second}
  for i = 3, #KEYS do
    add(KEYS[i], 'rn', 'ra', n, a)
    call('EXPIRE', KEYS[i], IDLE_S)
    lease[#lease + 1] = KEYS[i]
    lease[#lease + 1] = seeds[i]
  end
  call('HSET', leases, id, cjson.encode(lease))
  return {'granted'}
end

local function release(lease)
  local n, a = negative(lease[2]), negative(lease[3])
  for i = 6, #lease, 2 do
    if call('HGET', lease[i], 's') == lease[i + 1] then add(lease[i], 'rn', 'ra', n, a) end
  end
  if tonumber(call('HGET', lease[1], 'c') or 0) > 0 then call('HINCRBY', lease[1], 'c', -1) end
end

-- Returns which scopes are not there.
local function charge(lease, n, a)
  local unknown = {}
  for i = 6, #lease, 2 do
    local seed = call('HGET', lease[i], 's')
    if seed == lease[i + 1] then
      add(lease[i], 'n', 'a', n, a)
      call('EXPIRE', lease[i], IDLE_S)
    elseif not seed then
      unknown[#unknown + 1] = (i - 6) / 2
    end
  end
  return unknown
end

-- settle: KEYS leases, orphans; ARGV id, n, a, tokens
local function settle()
  local id, n, a = ARGV[2], ARGV[3], ARGV[4]
  local packed = call('HGET', KEYS[1], id)
  if packed then
    call('HDEL', KEYS[1], id)
    local lease = cjson.decode(packed)
    release(lease)
    local change = tonumber(ARGV[5]) - tonumber(lease[4])
    local key, oldest = lease[1], call('HGET', lease[1], 'o')
    if change ~= 0 and oldest and tonumber(oldest) <= tonumber(lease[5]) then
      local by = string.format('%.0f', change)
      call('HINCRBY', key, 't', by)
      call('HINCRBY', key, lease[5] .. 't', by)
    end
    return charge(lease, n, a)
  end
  packed = call('HGET', KEYS[2], id)
  if not packed then return {} end
  call('HDEL', KEYS[2], id)
  return charge(cjson.decode(packed)[2], n, a)
end

-- seed: KEYS scope; ARGV n, a, seed
local function seed()
  if call('HSETNX', KEYS[1], 's', ARGV[4]) == 1 then
    call('HSET', KEYS[1], 'n', ARGV[2], 'a', ARGV[3], 'rn', '0', 'ra', '0')
    call('EXPIRE', KEYS[1], IDLE_S)
  end
end

-- beat: KEYS processes, orphans; ARGV now, dead before, own leases' key
local function beat()
  call('ZADD', KEYS[1], ARGV[2], ARGV[4])
  local count = 0
  for _, leases in ipairs(call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])) do
    local all = call('HGETALL', leases)
    for i = 1, #all, 2 do
      local lease = cjson.decode(all[i + 1])
      release(lease)
      -- One without scopes costs nobody anything.
      if #lease > 5 then call('HSET', KEYS[2], all[i], cjson.encode({ARGV[2], lease})) end
      count = count + 1
    end
    call('DEL', leases)
    call('ZREM', KEYS[1], leases)
  end
  return count
end

-- forget: KEYS orphans; ARGV id, orphaned before
local function forget()
  local packed = call('HGET', KEYS[1], ARGV[2])
  if packed and tonumber(cjson.decode(packed)[1]) < tonumber(ARGV[3]) then call('HDEL', KEYS[1], ARGV[2]) end
end

local tasks = {reserve = reserve, settle = settle, seed = seed, beat = beat, forget = forget}
return tasks[ARGV[1]]()
