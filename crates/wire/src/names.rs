//! Names of headers that several doors answer with.

/// The nodes to use, in order: `ip:port,ip:port`. The name is that of the endpoint-picker protocol; Envoy's `override_host`
/// reads it, and the key of dynamic metadata is called the same.
pub const DESTINATION: &str = "x-gateway-destination-endpoint";

/// Names the decision.
pub const DECISION_ID: &str = "x-decision-id";

/// Why the decision is what it is, in one word.
pub const REASON: &str = "x-route-reason";

/// The header by which Envoy's router takes the time it waits for one node, in ms.
pub const ATTEMPT_TIMEOUT: &str = "x-envoy-upstream-rq-per-try-timeout-ms";

/// The header by which Envoy's router takes how often it may try again; it goes before `num_retries` of the route.
pub const MAX_RETRIES: &str = "x-envoy-max-retries";

/// The header that says in how many seconds to come back.
pub const RETRY_AFTER: &str = "retry-after";

/// Why a request was refused that could not be read.
pub const UNREADABLE: &str = "unreadable";

/// The version of the object that was asked for, in base 36: caches put it into their keys.
pub const VERSION: &str = "x-tradewind-version";

/// What a cache stored longer ago than this, in seconds, it revalidates before it serves it.
pub const MAX_AGE: &str = "x-tradewind-max-age";

/// How long caches may keep the object, in seconds.
pub const CACHE_TTL: &str = "x-tradewind-cache-ttl";

/// `unknown` where whoever decided has not heard of purges for a while, so that caches may have what is older than they are told;
/// not there otherwise.
pub const FRESHNESS: &str = "x-tradewind-freshness";

/// What [`FRESHNESS`] says then.
pub const UNKNOWN: &str = "unknown";

/// The headers that tell caches of freshness. What a client sends under these names must not reach a cache.
pub const OF_FRESHNESS: [&str; 4] = [VERSION, MAX_AGE, CACHE_TTL, FRESHNESS];
