//! How fields of messages are written as JSON, where it is not as serde would.

use serde::Serializer;

use crate::proto;

/// A duration in JSON, as protobuf's own mapping writes it: `"1.5s"`.
#[expect(clippy::ref_option, reason = "the signature serde asks for")]
pub(crate) fn duration<S: Serializer>(
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
pub(crate) fn verdict<S: Serializer>(verdict: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(
        proto::Verdict::try_from(*verdict)
            .unwrap_or_default()
            .as_str_name(),
    )
}

/// How a bus is reached, as a word.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
pub(crate) fn bus_standing<S: Serializer>(
    standing: &i32,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(
        match proto::BusStanding::try_from(*standing).unwrap_or_default() {
            proto::BusStanding::Unspecified => "",
            proto::BusStanding::Coming => "coming",
            proto::BusStanding::Up => "up",
            proto::BusStanding::Down => "down",
        },
    )
}

/// How far a chair's word counts, as a word.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
pub(crate) fn following<S: Serializer>(following: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(
        match proto::Following::try_from(*following).unwrap_or_default() {
            proto::Following::Unspecified => "",
            proto::Following::Chair => "chair",
            proto::Following::Held => "held",
            proto::Following::Alone => "alone",
        },
    )
}

/// An admin state in JSON: the word that documents use.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
pub(crate) fn admin_state<S: Serializer>(state: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    let state = proto::AdminState::try_from(*state).unwrap_or_default();
    match crate::admin_state::state(state) {
        Some(state) => serializer.serialize_str(state.name()),
        None => serializer.serialize_none(),
    }
}
