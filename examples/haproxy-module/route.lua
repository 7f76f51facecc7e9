-- Tradewind inside HAProxy: decides each request by libtradewind_c.so, and tells how it went. Leaves in variables what was decided:
-- txn.node, the name of a server of the backend; txn.path, the path and query that rules saw, where the client spelled them
-- otherwise; txn.decision, the decision's id; txn.version, txn.max_age, txn.cache_ttl and txn.freshness, what caches are told.
--
-- To be loaded by `lua-load-per-thread`: each thread has its own Lua, and all share what the library follows.

local tradewind = require("tradewind_c")

local OPTIONS = [[{ "sidecar": "127.0.0.1:7070", "without_copy": "balance", "candidates": 3 }]]

-- How long a process that begins waits for its first copy, in ms. Nothing else is waited for.
local WAIT_MS = "1000"

local ROUTE, REFUSE, BALANCE, AGAIN = 0, 1, 2, 3

-- What is taken of a decision.
local TAKEN = {
  ["txn.path"] = "target",
  ["txn.decision"] = "decision",
  ["txn.version"] = "version",
  ["txn.max_age"] = "max_age",
  ["txn.cache_ttl"] = "cache_ttl",
  ["txn.freshness"] = "freshness",
}

-- HAProxy does not begin with options that are no good, and `haproxy -c` has all that is wrong with them.
local checked, faults = tradewind.check(OPTIONS)
if not checked then error("tradewind: " .. faults, 0) end

-- Follows the sidecar. Never while the configuration is read: the process that serves is forked off afterwards, and has no threads
-- of the one before.
local handle
local function opened()
  if not handle then
    local why
    handle, why = tradewind.open(OPTIONS)
    if handle then
      tradewind.wait(handle, WAIT_MS)
    else
      core.log(core.err, "tradewind: " .. why)
    end
  end
  return handle
end
core.register_task(opened)

-- Which headers the policy looks at, as the library said last.
local names, reads = {}, nil

-- Every line of those headers: a name, its value, the next name and so on.
local function lines(txn)
  local given, all = txn.http:req_get_headers(), {}
  for _, name in ipairs(names) do
    local values = given[name]
    local at = 0
    while values and values[at] do
      all[#all + 1] = name
      all[#all + 1] = values[at]
      at = at + 1
    end
  end
  return all
end

local function decide(txn)
  -- Not `url`, which begins with scheme and host over HTTP/2. Of `OPTIONS *` only `url` tells.
  local target = txn.f:pathq() or ""
  if target == "" then target = txn.f:url() or "" end
  -- Not req_hdr, which splits at commas.
  local host, method, client = txn.f:req_fhdr("host") or "", txn.f:method(), txn.f:src() or ""
  local verdict, answer
  -- A policy may come between two calls, which reads other headers.
  for _ = 1, 4 do
    verdict, answer = tradewind.decide(handle, host, target, method, client, "", reads or "", reads and lines(txn))
    if verdict ~= AGAIN then break end
    names, reads = {}, answer.reads
    for name in answer.asks:gmatch("[^,]+") do names[#names + 1] = name end
  end
  -- There is none where the call could not be used at all.
  if answer then reads = answer.reads end
  return verdict, answer
end

local function refuse(txn, status, reason, retry_after_s)
  local reply = txn:reply { status = status, headers = { ["cache-control"] = { "no-store" } } }
  if reason then reply:add_header("x-route-reason", reason) end
  if retry_after_s then reply:add_header("retry-after", tostring(retry_after_s)) end
  txn:done(reply)
end

core.register_action("route", { "http-req" }, function(txn)
  -- Without a handle there is no rule.
  if not opened() then return refuse(txn, 503, "not_opened") end
  local verdict, answer = decide(txn)
  if verdict == ROUTE then
    txn:set_var("txn.node", answer.nodes[1])
    txn:set_var("txn.began", txn.f:date_us() + txn.f:date() * 1000000)
  elseif verdict == REFUSE then
    return refuse(txn, answer.status, answer.reason, answer.retry_after_s)
  elseif verdict ~= BALANCE then
    core.log(core.err, "tradewind: a decision comes to " .. verdict .. ", see tradewind.h")
    return refuse(txn, 503, "misused")
  end
  for variable, name in pairs(TAKEN) do
    if answer[name] then txn:set_var(variable, answer[name]) end
  end
end)

-- Tells of an answer that came at once. What failed, or was tried again, HAProxy logs.
core.register_action("told", { "http-res" }, function(txn)
  local decision, status = txn:get_var("txn.decision"), txn.f:status()
  if not decision or not handle or status >= 500 then return end
  -- Another server, or the named one at the second try, where HAProxy can tell (2.7 and later): the log tells of both.
  local retries = txn.f.txn_conn_retries
  local tried_again = retries and (tonumber(retries(txn.f)) or 0) > 0
  if tried_again or txn.f:srv_name() ~= txn:get_var("txn.node") then return end
  local began = txn:get_var("txn.began")
  local took_us = txn.f:date_us() + txn.f:date() * 1000000 - (began or 0)
  tradewind.told(handle, {
    "decision_id", decision,
    "attempt", "1",
    "node", txn.f:srv_name(),
    "status", tostring(status),
    "time_to_first_byte", began and took_us >= 0 and took_us .. "us" or "-",
    "cache_status", txn:get_var("txn.cache") or "-",
    "client_round_trip", txn:get_var("txn.rtt") and txn:get_var("txn.rtt") .. "us" or "-",
  })
  -- What breaks off behind its head is logged, and told as well: an attempt is told of once.
  txn:set_var("txn.attempt", 2)
end)

-- For operators: how the library stands, as JSON.
core.register_service("standing", "http", function(applet)
  local words = handle and tradewind.standing(handle) or "{}"
  applet:set_status(200)
  applet:add_header("content-type", "application/json")
  applet:add_header("content-length", tostring(#words))
  applet:start_response()
  applet:send(words)
end)
