-- Asks the sidecar for a node, and leaves its name in txn.node: the name of a server of the backend.
--
-- Where the sidecar does not answer, txn.node stays unset and HAProxy balances by itself.

-- The way to the sidecar in haproxy.cfg, which has the timeouts; this one is a bound for all cases.
local SIDECAR = "http://127.0.0.1:8091/v1/route"
local TIMEOUT_MS = 1000

-- Only these headers of the client are shown to the policy; name here what its rules look at.
local SHOWN = { "accept" }

local function question(txn)
  local headers = {
    ["x-original-uri"] = { txn.f:url() },
    ["x-original-method"] = { txn.f:method() },
    -- Not req_hdr, which splits at commas.
    ["x-original-host"] = { txn.f:req_fhdr("host") or "" },
    ["x-client-ip"] = { txn.f:src() },
  }
  for _, name in ipairs(SHOWN) do
    local value = txn.f:req_fhdr(name)
    if value then headers[name] = { value } end
  end
  return headers
end

core.register_action("route", { "http-req" }, function(txn)
  local answer = core.httpclient():head { url = SIDECAR, headers = question(txn), timeout = TIMEOUT_MS }
  local status = answer and answer.status or 0
  if status == 200 then
    txn:set_var("txn.node", answer.headers["x-route-node-id"][0])
  elseif status >= 400 and status < 500 then
    -- Refused by a rule, or no rule, or not readable: a client must not get past a rule by sending rubbish.
    txn:set_var("txn.refused", true)
  end
end)
