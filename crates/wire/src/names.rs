//! Names of headers that several doors answer with.

/// The nodes to use, in order: `ip:port,ip:port`. The name is that of the endpoint-picker protocol; Envoy's `override_host`
/// reads it, and the key of dynamic metadata is called the same.
pub const DESTINATION: &str = "x-gateway-destination-endpoint";

/// Names the decision.
pub const DECISION_ID: &str = "x-decision-id";

/// Why the decision is what it is, in one word.
pub const REASON: &str = "x-route-reason";
