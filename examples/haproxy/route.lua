-- Asks the sidecar for a node, and leaves in variables what the answer says: txn.node, the name of a server of the backend;
-- txn.path, the path and query that rules saw; txn.decision, the decision's id for the log; txn.version, txn.max_age and
-- txn.cache_ttl, what caches are told of the object's freshness.
--
-- Where the sidecar does not answer, they stay unset and HAProxy balances by itself.

-- The way to the sidecar in haproxy.cfg, which has the timeouts; this one is a bound for all cases.
local SIDECAR = "http://127.0.0.1:8091/v1/route"
local TIMEOUT_MS = 1000

-- A sidecar that hangs is not asked for so long, in seconds: until the check of haproxy.cfg must have noticed, which takes
-- its interval and its timeout. Only the requests on their way wait.
local LEFT_ALONE = 0.6
local left_alone_until = 0

-- What is longer is refused here: a question or an answer that does not fit into HAProxy's buffers (tune.bufsize) would
-- look like a dead sidecar, and the request pass.
local LONGEST_TARGET, LONGEST_QUESTION = 8192, 24576

-- Only these headers of the client are shown to the policy; name here what its rules look at.
local SHOWN = { "accept" }

-- What is taken of the answer.
local TAKEN = {
  ["txn.node"] = "x-route-node-id",
  ["txn.path"] = "x-route-path",
  ["txn.decision"] = "x-decision-id",
  ["txn.version"] = "x-tradewind-version",
  ["txn.max_age"] = "x-tradewind-max-age",
  ["txn.cache_ttl"] = "x-tradewind-cache-ttl",
}

-- Every line of a header, as a list: a rule must not be passed by what stands behind the last that is looked at.
local function lines(found)
  local values = {}
  while found[#values] ~= nil do
    values[#values + 1] = found[#values]
  end
  return values
end

local function question(txn)
  -- Not `url`, which begins with scheme and host over HTTP/2. Of `OPTIONS *` only `url` tells.
  local target = txn.f:pathq() or ""
  if target == "" then target = txn.f:url() or "" end
  local headers = {
    ["x-original-uri"] = { target },
    ["x-original-method"] = { txn.f:method() },
    -- Not req_hdr, which splits at commas.
    ["x-original-host"] = { txn.f:req_fhdr("host") or "" },
    -- A client on a Unix socket has no address.
    ["x-client-ip"] = { txn.f:src() or "unknown" },
  }
  local given = txn.http:req_get_headers()
  for _, name in ipairs(SHOWN) do
    if given[name] then headers[name] = lines(given[name]) end
  end
  return headers
end

-- How many bytes its values have.
local function size(headers)
  local bytes = 0
  for _, values in pairs(headers) do
    for _, value in ipairs(values) do bytes = bytes + #value end
  end
  return bytes
end

-- Answers the client with the sidecar's status: refused by a rule (403), without a rule (404) or a node (503), or not
-- readable (400, 414, 431). A client must not get past a rule by sending rubbish.
local function refuse(txn, status, reason)
  local reply = txn:reply { status = status, headers = { ["cache-control"] = { "no-store" } } }
  if reason then reply:add_header("x-route-reason", reason) end
  txn:done(reply)
end

local function seconds()
  local now = core.now()
  return now.sec + now.usec / 1000000
end

core.register_action("route", { "http-req" }, function(txn)
  local headers = question(txn)
  if #headers["x-original-uri"][1] > LONGEST_TARGET then return refuse(txn, 414) end
  if size(headers) > LONGEST_QUESTION then return refuse(txn, 431) end
  if seconds() < left_alone_until then return end
  local answer = core.httpclient():head { url = SIDECAR, headers = headers, timeout = TIMEOUT_MS }
  local status = answer and answer.status or 0
  local function header(name)
    local found = answer.headers and answer.headers[name]
    return found and found[0]
  end
  if status == 200 then
    for variable, name in pairs(TAKEN) do
      local value = header(name)
      if value then txn:set_var(variable, value) end
    end
  elseif status == 504 then
    left_alone_until = seconds() + LEFT_ALONE
  elseif status >= 400 and status < 500 or status == 503 and header("x-route-reason") then
    refuse(txn, status, header("x-route-reason"))
  end
  -- Any other 503 is a sidecar that is dead, frozen or not ready.
end)
