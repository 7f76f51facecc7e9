# What both tiers of Varnish do. Included by edge.vcl and regional.vcl, which say whom to ask.
import purge;
import std;

sub vcl_recv {
  # For space only, and only at the address of its own that `varnishd -a reclaim=...` gives it: no client comes there.
  # PURGE frees one version of an object, the one in X-Tradewind-Version; BAN all of them, and what is below it.
  if (req.method == "PURGE" || req.method == "BAN") {
    if (local.socket != "reclaim") {
      return (synth(405));
    }
    if (req.method == "PURGE") {
      return (purge);
    }
    if (std.ban("obj.http.x-stored-for == " + req.http.host + " && obj.http.x-stored-url ~ ^" + req.url)) {
      return (synth(200, "Banned"));
    }
    return (synth(400, std.ban_error()));
  }
}

# Hard: another version is another object. The rest of the key, host and URL, is the built-in one.
sub vcl_hash {
  hash_data(req.http.x-tradewind-version);
}

# Soft: what is older than that is stale, but kept, so that it is asked for with If-None-Match. Once a request: what has
# just been fetched may be a moment older than nothing.
sub vcl_hit {
  if (req.restarts == 0 && obj.age > std.duration(req.http.x-tradewind-max-age + "s", 100y)) {
    purge.soft(-1s, 0s);
    return (restart);
  }
}

sub vcl_backend_response {
  set beresp.http.x-stored-for = bereq.http.host;
  set beresp.http.x-stored-url = bereq.url;
  # For revalidation: how long something stale is kept.
  set beresp.keep = 1h;
  # The sidecar's word on how long objects of this kind may be kept.
  if (std.duration(bereq.http.x-tradewind-cache-ttl + "s", 100y) < beresp.ttl) {
    set beresp.ttl = std.duration(bereq.http.x-tradewind-cache-ttl + "s", beresp.ttl);
  }
}

sub vcl_deliver {
  unset resp.http.x-stored-for;
  unset resp.http.x-stored-url;
  # For children that have no key of their own making, as Squid.
  if (!resp.http.vary) {
    set resp.http.vary = "X-Tradewind-Version";
  } else if (resp.http.vary !~ "(?i)x-tradewind-version") {
    set resp.http.vary = resp.http.vary + ", X-Tradewind-Version";
  }
  if (obj.hits > 0) {
    set resp.http.x-cache = "HIT";
  } else {
    set resp.http.x-cache = "MISS";
  }
}
