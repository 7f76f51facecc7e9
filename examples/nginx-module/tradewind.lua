-- Tradewind inside nginx: decides each request by libtradewind_c.so, walks its nodes in order, and tells how the attempts went.
-- nginx.conf beside this file calls each function in its phase; docs/c-library.md tells the rest.
local ffi = require("ffi")
local balancer = require("ngx.balancer")

-- As in tradewind.h. Tests compare them.
ffi.cdef([[
typedef struct tw tw;
typedef struct { const char *at; size_t len; } tw_text;
typedef struct { tw_text name; tw_text value; } tw_pair;
typedef struct {
  size_t size; tw_text host; tw_text path; tw_text method; tw_text client; tw_text request_id;
  const tw_pair *headers; size_t headers_len; uint64_t reads; const tw_text *tried; size_t tried_len;
} tw_query;
typedef struct { tw_text address; tw_text id; } tw_node;
typedef struct {
  size_t size; uint64_t reads; uint64_t revision;
  uint32_t status; uint32_t retry_after_s; uint32_t attempts; uint32_t attempt_timeout_ms;
  tw_text decision; tw_text reason; tw_text target; tw_text version; tw_text max_age; tw_text cache_ttl; tw_text freshness;
  tw_text asks; size_t nodes_len; tw_node nodes[8];
} tw_answer;
uint32_t tw_abi(void);
int tw_check(tw_text options, char *why, size_t room);
tw *tw_open(tw_text options, char *why, size_t room);
int tw_wait(const tw *handle, uint32_t ms);
int tw_decide(const tw *handle, const tw_query *query, tw_answer *answer, char *room, size_t len);
int tw_told(const tw *handle, const tw_pair *fields, size_t fields_len, char *why, size_t room);
size_t tw_standing(const tw *handle, char *to, size_t room);
]])

local ABI, ROUTE, REFUSE, BALANCE, AGAIN = 1, 0, 1, 2, 3
local ROOM = 65536
-- How soon a worker that could not follow tries again.
local AGAIN_S = 5

local M = {}
local library, options, handle

-- What a worker has of its own, used again for each request.
local room = ffi.new("char[?]", ROOM)
local query, answer = ffi.new("tw_query"), ffi.new("tw_answer")
query.size, answer.size = ffi.sizeof(query), ffi.sizeof(answer)

-- Which headers the policy looks at, as the library said last.
local names, reads = {}, 0ULL

-- Host and port of each node's address.
local peers, peers_known, MOST_PEERS = {}, 0, 20000

local function put(to, text)
  to.at, to.len = text, #text
end

local function text_of(given)
  return ffi.string(given.at, given.len)
end

local function passed(text)
  local made = ffi.new("tw_text")
  put(made, text)
  return made
end

-- In init_by_lua: loads the library and looks at its options, a text of JSON. If anything is wrong with them nginx does not start, or
-- stays as it was where it is told to read its configuration again, and its log has all that is wrong. (`nginx -t` runs no Lua.)
-- Nothing is begun here: the workers are forked off afterwards, and threads are not.
function M.configure(file, given)
  library, options = ffi.load(file), given
  local abi = library.tw_abi()
  if abi ~= ABI then
    error(file .. " has interface " .. abi .. ", this file is written for " .. ABI, 0)
  end
  if library.tw_check(passed(options), room, ROOM) ~= 0 then
    error("tradewind: " .. ffi.string(room), 0)
  end
end

-- In init_worker_by_lua: follows the sidecar. The worker waits `wait_ms` at most for its first copy; 0 for not at all.
function M.open(wait_ms)
  -- Who tends the cache asks for no node.
  if not ngx.worker.id() then return end
  local opened = library.tw_open(passed(options), room, ROOM)
  if opened == nil then
    -- The master has looked at the options, so something of this worker's is wrong that may pass: no thread to be had, a folder that only
    -- the master may see.
    ngx.log(ngx.ERR, "tradewind: tried again in ", AGAIN_S, " s: ", ffi.string(room))
    ngx.timer.at(AGAIN_S, function() M.open(0) end)
    return
  end
  handle = opened
  library.tw_wait(handle, wait_ms)
end

-- Decides once more with every line of the headers that the policy looks at.
local function with_headers(verdict)
  if verdict == AGAIN then
    names, reads = {}, answer.reads
    for name in text_of(answer.asks):gmatch("[^,]+") do
      names[#names + 1] = name
    end
  end
  local given, lines = ngx.req.get_headers(0), {}
  for _, name in ipairs(names) do
    local values = given[name]
    if type(values) == "table" then
      for _, value in ipairs(values) do lines[#lines + 1] = { name, value } end
    elseif values then
      lines[#lines + 1] = { name, values }
    end
  end
  local pairs_ = ffi.new("tw_pair[?]", #lines + 1)
  for at, line in ipairs(lines) do
    put(pairs_[at - 1].name, line[1])
    put(pairs_[at - 1].value, line[2])
  end
  query.headers, query.headers_len, query.reads = pairs_, #lines, reads
  verdict = library.tw_decide(handle, query, answer, room, ROOM)
  query.headers, query.headers_len = nil, 0
  -- Kept until here, because the library saw where they lie and not that they are there.
  return verdict, given, lines, pairs_
end

local function decide(var)
  local host, target, method, client = var.host or "", var.request_uri, ngx.req.get_method(), var.remote_addr
  put(query.host, host)
  put(query.path, target)
  put(query.method, method)
  put(query.client, client)
  local verdict
  if reads == 0 then
    query.reads = 0
    verdict = library.tw_decide(handle, query, answer, room, ROOM)
  end
  -- A policy may come between two calls, which reads other headers.
  for _ = 1, 3 do
    if verdict and verdict ~= AGAIN then break end
    verdict = with_headers(verdict)
  end
  -- A policy that looks at no header any more.
  if verdict ~= AGAIN then reads = answer.reads end
  return verdict, host, target, method, client
end

local function refuse(status, reason, retry_after_s)
  ngx.header["X-Route-Reason"] = reason
  if retry_after_s and retry_after_s > 0 then ngx.header["Retry-After"] = retry_after_s end
  return ngx.exit(status)
end

-- In access_by_lua: leaves what was decided in variables and for `balance`, or answers the client.
function M.decide()
  local var = ngx.var
  -- Without its handle a worker has no rule.
  if not handle then return refuse(503, "not_opened") end
  local verdict = decide(var)
  if verdict == ROUTE then
    local nodes = {}
    for at = 1, answer.attempts do
      nodes[at] = text_of(answer.nodes[at - 1].address)
    end
    -- In variables, not in ngx.ctx: they are there in subrequests (slices, updates in the background) and behind an error_page.
    var.tradewind_nodes, var.tradewind_decision = table.concat(nodes, ","), text_of(answer.decision)
    if answer.attempt_timeout_ms > 0 then var.tradewind_timeout_ms = tostring(answer.attempt_timeout_ms) end
    if answer.target.len > 0 then var.tradewind_target = text_of(answer.target) end
    if answer.version.len > 0 then var.tradewind_version = text_of(answer.version) end
    if answer.max_age.len > 0 then var.tradewind_max_age = text_of(answer.max_age) end
    if answer.cache_ttl.len > 0 then var.tradewind_cache_ttl = text_of(answer.cache_ttl) end
    if answer.freshness.len > 0 then var.tradewind_freshness = text_of(answer.freshness) end
  elseif verdict == REFUSE then
    return refuse(answer.status, text_of(answer.reason), answer.retry_after_s)
  elseif verdict == BALANCE then
    var.tradewind_upstream, var.tradewind_freshness = "anyone", text_of(answer.freshness)
  else
    ngx.log(ngx.ERR, "tradewind: a decision comes to ", verdict, ", see tradewind.h")
    return refuse(503, "misused")
  end
end

local function peer(address)
  local known = peers[address]
  if known then return known end
  -- With the brackets of IPv6, which nginx wants.
  local host, port = address:match("^(.*):(%d+)$")
  if peers_known >= MOST_PEERS then peers, peers_known = {}, 0 end
  known = { host, tonumber(port) }
  peers[address], peers_known = known, peers_known + 1
  return known
end

-- In balancer_by_lua: the next node of the list.
function M.balance()
  local ctx = ngx.ctx
  local nodes = ctx.tradewind_list
  if not nodes then
    nodes = {}
    for address in (ngx.var.tradewind_nodes or ""):gmatch("[^,]+") do nodes[#nodes + 1] = address end
    ctx.tradewind_list, ctx.tradewind_at = nodes, 0
    if nodes[2] then balancer.set_more_tries(#nodes - 1) end
  end
  local done, why
  while not done do
    local at = ctx.tradewind_at + 1
    -- nginx asks once more than there are nodes when a kept connection was closed: the last is asked again then, as nginx does.
    local address = nodes[at] or (not why and nodes[#nodes])
    if not address then
      ngx.log(ngx.ERR, "tradewind: no node to ask", why and ": " .. why or ", nothing was decided here: does access_by_lua decide?")
      return ngx.exit(ngx.ERROR)
    end
    ctx.tradewind_at = at
    local node = peer(address)
    done, why = balancer.set_current_peer(node[1], node[2])
    -- A name, say, which nginx does not look up here.
    if not done then ngx.log(ngx.ERR, "tradewind: ", address, ": ", why) end
  end
  -- Of the whole attempt; connecting has a timeout of its own, which is shorter.
  local timeout_ms = tonumber(ngx.var.tradewind_timeout_ms)
  if timeout_ms then balancer.set_timeouts(nil, timeout_ms / 1000, timeout_ms / 1000) end
end

-- What is told, and the variables that have it. nginx lists attempts, and so the library reads them.
local TOLD = {
  { "node", "upstream_addr" },
  { "status", "upstream_status" },
  { "time_to_first_byte", "upstream_header_time" },
  { "total", "upstream_response_time" },
  { "bytes", "upstream_bytes_received" },
  { "cache_status", "node_cache" },
  { "client_round_trip", "client_round_trip" },
}
local fields = ffi.new("tw_pair[?]", #TOLD + 1)

-- In log_by_lua: tells how the attempts went.
function M.told()
  local var, values, count = ngx.var, {}, 1
  local decision = var.tradewind_decision
  if not decision or decision == "" or not handle then return end
  put(fields[0].name, "decision_id")
  put(fields[0].value, decision)
  for _, told in ipairs(TOLD) do
    local value = var[told[2]]
    if value and value ~= "" then
      values[count] = value
      put(fields[count].name, told[1])
      put(fields[count].value, value)
      count = count + 1
    end
  end
  local taken = library.tw_told(handle, fields, count, room, ROOM)
  if taken < 0 then ngx.log(ngx.WARN, "tradewind: not told: ", ffi.string(room)) end
  return taken, values, decision
end

-- In content_by_lua of an operator's location: how this worker's library stands, as JSON.
function M.standing()
  local len = handle and tonumber(library.tw_standing(handle, room, ROOM)) or 0
  ngx.header["Content-Type"] = "application/json"
  ngx.say(len > 0 and ffi.string(room) or "{}")
end

return M
