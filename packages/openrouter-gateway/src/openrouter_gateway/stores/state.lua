-- The shared state's scripts. Run as one script, whose first argument names what to do; all keys share one hash tag.
--
-- scope:  hash of n, a (used), rn, ra (reserved), each amount as n * 10^-9 + a * 10^-18 USD with 0 <= a < 10^9, and
--         s, which tells one seeding from the next, and q: what ended by this microsecond is in what it was seeded
--         with. Sums are made by HINCRBY, in 64-bit integers; Lua's numbers, which are exact to nine million USD, only
--         compare. <scope>:seen: set of the requests that ended after q and are in it, too.
-- key:    hash of c (running requests), r, t (requests and tokens of the minute), o (its oldest second), and for each
--         of its seconds "<second>r" and "<second>t".
-- leases: one hash per process: request -> {key, n, a, tokens, second, scope, s, scope, s, ...}; 'done' once it is
--         charged, until the process has heard of it; with no key and no s when some scopes are left to charge.
-- orphans: hash of request -> {since when, lease}, of processes that are gone.
-- settled: sorted set of requests that were charged for processes that were taken for gone, by when.
local call = redis.call
local IDLE_S = 3600
local SPAN_S = 61
local SETTLED_S = 86400

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

-- Compares amounts; the lower part of the first may be too large for itself.
local function compare(high, low, most, rest)
  local carry = math.floor(low / 1000000000)
  local more = high + carry - most
  return more ~= 0 and more or low - carry * 1000000000 - rest
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
      local most, rest = tonumber(limit_n), tonumber(limit_a)
      local others = sums[3] ~= '0' or sums[4] ~= '0'
      if compare(high, low, most, rest) >= 0
        or others and compare(high + tonumber(n), low + tonumber(a), most, rest) > 0 then
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
  if lease[1] == '' then return end
  if tonumber(call('HGET', lease[1], 'c') or 0) > 0 then call('HINCRBY', lease[1], 'c', -1) end
end

local function is_in_seed(scope, id, ended)
  return ended <= tonumber(call('HGET', scope, 'q')) or call('SISMEMBER', scope .. ':seen', id) == 1
end

-- Returns which scopes are not there. A lease of the running seeding is in no seed; of others the seed has to be asked.
local function charge(lease, id, n, a, ended)
  local unknown = {}
  for i = 6, #lease, 2 do
    local scope = lease[i]
    local seed = call('HGET', scope, 's')
    if not seed then
      unknown[#unknown + 1] = scope
    elseif seed == lease[i + 1] or not is_in_seed(scope, id, ended) then
      add(scope, 'n', 'a', n, a)
      call('EXPIRE', scope, IDLE_S)
    end
  end
  return unknown
end

local function unreserved(scopes, first)
  local lease = {'', '0', '0', 0, '0'}
  for i = first, #scopes do
    lease[#lease + 1] = scopes[i]
    lease[#lease + 1] = ''
  end
  return lease
end

local function correct(lease, tokens)
  local change, oldest = tokens - tonumber(lease[4]), call('HGET', lease[1], 'o')
  if change ~= 0 and oldest and tonumber(oldest) <= tonumber(lease[5]) then
    local by = string.format('%.0f', change)
    call('HINCRBY', lease[1], 't', by)
    call('HINCRBY', lease[1], lease[5] .. 't', by)
  end
end

-- settle: KEYS leases, orphans, settled, scope...; ARGV id, n, a, tokens, ended
local function settle()
  local id, n, a = ARGV[2], ARGV[3], ARGV[4]
  local packed = call('HGET', KEYS[1], id)
  if packed == 'done' then return {} end
  local lease
  if packed then
    lease = cjson.decode(packed)
    call('HDEL', KEYS[1], id)
    release(lease)
    if lease[1] ~= '' then correct(lease, tonumber(ARGV[5])) end
  elseif call('ZSCORE', KEYS[3], id) then
    return {}
  else
    packed = call('HGET', KEYS[2], id)
    call('HDEL', KEYS[2], id)
    lease = packed and cjson.decode(packed)[2] or unreserved(KEYS, 4)
  end
  if #lease == 5 or (n == '0' and a == '0') then return {} end
  local unknown = charge(lease, id, n, a, tonumber(ARGV[6]))
  call('HSET', KEYS[1], id, #unknown == 0 and 'done' or cjson.encode(unreserved(unknown, 1)))
  return unknown
end

-- adopt: KEYS orphans, settled; ARGV id, n, a, ended, now
local function adopt()
  local packed = call('HGET', KEYS[1], ARGV[2])
  if not packed then return end
  call('HDEL', KEYS[1], ARGV[2])
  call('ZADD', KEYS[2], ARGV[6], ARGV[2])
  charge(cjson.decode(packed)[2], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]))
end

-- seed: KEYS scope; ARGV n, a, seed, q, request...
local function seed()
  if call('HSETNX', KEYS[1], 's', ARGV[4]) == 0 then return end
  call('HSET', KEYS[1], 'n', ARGV[2], 'a', ARGV[3], 'rn', '0', 'ra', '0', 'q', ARGV[5])
  call('EXPIRE', KEYS[1], IDLE_S)
  local seen = KEYS[1] .. ':seen'
  call('DEL', seen)
  for i = 6, #ARGV do call('SADD', seen, ARGV[i]) end
  call('EXPIRE', seen, IDLE_S)
end

-- beat: KEYS processes, orphans, settled; ARGV now, dead before, own leases' key
local function beat()
  local now = ARGV[2]
  call('ZADD', KEYS[1], now, ARGV[4])
  call('ZREMRANGEBYSCORE', KEYS[3], '-inf', tonumber(now) - SETTLED_S)
  local count = 0
  for _, leases in ipairs(call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])) do
    local all = call('HGETALL', leases)
    for i = 1, #all, 2 do
      if all[i + 1] == 'done' then
        call('ZADD', KEYS[3], now, all[i])
      else
        local lease = cjson.decode(all[i + 1])
        release(lease)
        -- One without scopes costs nobody anything.
        if #lease > 5 then call('HSET', KEYS[2], all[i], cjson.encode({now, lease})) end
        count = count + 1
      end
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

local tasks = {reserve = reserve, settle = settle, adopt = adopt, seed = seed, beat = beat, forget = forget}
return tasks[ARGV[1]]()
