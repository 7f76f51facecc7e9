//! Envoy's own services, so that a stock Envoy can ask and tell: nothing is built into it.
//!
//! Two doors ask before a request is routed, [`authorize`] (`ext_authz`) and [`process`] (`ext_proc`, which follows the
//! endpoint-picker protocol of the Kubernetes Gateway API). Both are thin: `ask` reads the request, `instruction` says what
//! Envoy is told, and the [`decider`](crate::intake::decider) decides as for any other door. Two more tell how it went:
//! [`access_log`], one entry for each attempt, and [`load_stats`]. And [`endpoints`] pushes weights and priorities to those
//! who cannot pay a call for each request.
//!
//! The messages are compiled from a subset of Envoy's files in `proto/envoy`; `tests/upkeep/envoy_protos.rs` compares it with the
//! originals field by field.

pub mod access_log;
mod ask;
pub mod authorize;
mod check;
pub mod endpoints;
mod instruction;
pub mod load_stats;
pub mod metrics;
pub mod process;
mod served;
pub mod subscribers;

pub use crate::wire::envoy as proto;
pub use crate::wire::names::{DECISION_ID, DESTINATION};

/// The key of dynamic metadata that names the node that served, when Envoy tells.
pub const SERVED: &str = "x-gateway-destination-endpoint-served";

/// Largest message that Envoy may send when it asks, in bytes: its own bound for headers is 60 KiB, and bodies, which are
/// left unread, may come with them (`with_request_body`). What is larger is an error of the call, which lets a request
/// past our rules where Envoy's `failure_mode_allow` is on, so this must be more than `max_request_bytes` there.
pub const MAX_ASKED_BYTES: usize = (1 << 20) + (128 << 10);

/// Largest message that Envoy may send when it tells or subscribes, in bytes.
pub const MAX_TOLD_BYTES: usize = 1 << 20;
