//! What the sidecar and those who ask it share: generated messages, their conversion to and from the engine, the clock.
//!
//! The feature `json` adds messages written as JSON, and `server` what only the sidecar needs: the services' traits and codecs, and
//! Envoy's services.

pub mod addresses;
pub mod admin_state;
pub mod answer;
pub mod asker;
pub mod attempt;
#[cfg(feature = "server")]
pub mod base64;
mod buffers;
pub mod cache;
pub mod clock;
pub mod decided;
#[cfg(feature = "server")]
mod explain;
mod fault;
pub mod fields;
pub mod fleet;
pub mod follow;
mod forwarded;
pub mod grpc_status;
#[cfg(feature = "server")]
mod headline;
#[cfg(feature = "server")]
mod histogram;
#[cfg(feature = "json")]
pub mod json;
pub mod limiter;
mod mask;
pub mod names;
mod parameters;
pub mod parts;
mod place;
pub mod purge;
mod query;
pub mod question;
pub mod receipt;
pub mod received;
mod refusal;
#[cfg(feature = "json")]
pub mod report;
mod serialize;

#[cfg(feature = "server")]
pub use explain::{HomeTimes, explanation};
pub use fault::WireError;
pub use forwarded::{FORWARDED, from_headers};
pub use mask::mask;
pub use parameters::{from_parameters, number};
pub use place::{place_message, told_place};
pub use query::{QueryBuffer, QueryRoom};
pub use refusal::refusal_status;

/// A request as it was put in words, and all that is wrong with them.
pub type Asked = (proto::DecideRequest, Vec<String>);

/// The messages and the clients, generated from `proto/`: `tests/generated.rs` compares and rewrites them.
#[allow(
    missing_docs,
    unreachable_pub,
    unnameable_types,
    unused_qualifications,
    missing_debug_implementations,
    elided_lifetimes_in_paths,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::let_underscore_must_use,
    clippy::module_inception,
    reason = "generated code"
)]
pub mod proto {
    include!("generated/tradewind.v1.rs");

    /// The server's side of all services.
    #[cfg(feature = "server")]
    pub mod server {
        include!("generated/tradewind.v1.DecisionService.rs");
        include!("generated/tradewind.v1.FeedbackService.rs");
        include!("generated/tradewind.v1.TelemetryService.rs");
        include!("generated/tradewind.v1.TopologyService.rs");
        include!("generated/tradewind.v1.FleetService.rs");
        include!("generated/tradewind.v1.PolicyService.rs");
        include!("generated/tradewind.v1.PurgeService.rs");
        include!("generated/tradewind.v1.RolloutService.rs");
        include!("generated/tradewind.v1.AdminService.rs");
    }
}

/// The messages, clients and servers of Envoy, generated from `proto/envoy`.
#[cfg(feature = "server")]
#[allow(
    missing_docs,
    unreachable_pub,
    unnameable_types,
    unused_qualifications,
    missing_debug_implementations,
    elided_lifetimes_in_paths,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::let_underscore_must_use,
    clippy::module_inception,
    reason = "generated code"
)]
pub mod envoy {
    include!("generated/envoy.rs");
}

/// The descriptors of all services, for reflection.
#[cfg(feature = "server")]
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");
