//! The only room that names generated messages: conversions between the wire and the engine.

pub mod addresses;
pub mod answer;
pub mod cache;
mod explain;
mod fault;
pub mod fleet;
pub mod follow;
mod forwarded;
mod histogram;
pub mod json;
mod mask;
pub mod names;
mod parameters;
mod place;
mod query;
mod refusal;
pub mod report;
pub mod told;

pub use explain::explanation;
pub use fault::WireError;
pub use forwarded::{FORWARDED, from_headers};
pub use mask::mask;
pub use parameters::{from_parameters, number};
pub use place::told_place;
pub use query::{QueryBuffer, QueryRoom};
pub use refusal::refusal_status;

use serde::Serializer;

/// A request as it was put in words, and all that is wrong with them.
pub type Asked = (proto::DecideRequest, Vec<String>);

/// The messages and the client, generated from `proto/`.
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
    reason = "generated code"
)]
pub mod proto {
    tonic::include_proto!("tradewind.v1");

    /// The server's side of all services.
    pub mod server {
        include!(concat!(env!("OUT_DIR"), "/tradewind.v1.DecisionService.rs"));
        include!(concat!(env!("OUT_DIR"), "/tradewind.v1.FeedbackService.rs"));
        include!(concat!(
            env!("OUT_DIR"),
            "/tradewind.v1.TelemetryService.rs"
        ));
        include!(concat!(env!("OUT_DIR"), "/tradewind.v1.TopologyService.rs"));
        include!(concat!(env!("OUT_DIR"), "/tradewind.v1.AdminService.rs"));
    }
}

/// The descriptors of all services, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// A duration in JSON, as protobuf's own mapping writes it: `"1.5s"`.
#[expect(clippy::ref_option, reason = "the signature serde asks for")]
pub(crate) fn serialize_duration<S: Serializer>(
    duration: &Option<prost_types::Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.collect_str(duration),
        None => serializer.serialize_none(),
    }
}

/// A verdict in JSON: its name.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
pub(crate) fn serialize_verdict<S: Serializer>(
    verdict: &i32,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(
        proto::Verdict::try_from(*verdict)
            .unwrap_or_default()
            .as_str_name(),
    )
}

/// An admin state in JSON: the word that documents use.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
pub(crate) fn serialize_admin_state<S: Serializer>(
    state: &i32,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let state = proto::AdminState::try_from(*state).unwrap_or_default();
    match fleet::state(state) {
        Some(state) => serializer.serialize_str(state.name()),
        None => serializer.serialize_none(),
    }
}
