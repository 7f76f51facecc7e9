//! The sidecars that act as one, as a page.

use axum::response::Response;
use tonic::Request;

use super::actions::refused;
use super::answer::{Shown, refuse};
use super::{Parameters, SharedSources, unknown};
use crate::wire::proto;
use crate::wire::proto::server::fleet_service_server::FleetService;

/// All members.
pub(super) async fn members(sources: SharedSources, parameters: Parameters) -> Response {
    let faults = unknown(&parameters.0, &[]);
    if !faults.is_empty() {
        return refuse(&faults);
    }
    match sources.desk.roll(Request::new(proto::RollRequest {})).await {
        Ok(roll) => Shown::of(roll.into_inner()),
        Err(status) => refused(&status),
    }
}
