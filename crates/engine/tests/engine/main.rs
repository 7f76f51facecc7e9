//! The engine by its calls: golden scenarios and vectors, properties of everything generated, oracles in plain arithmetic.

mod admission;
mod bills;
mod breaker_properties;
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::float_cmp,
    reason = "small fleets and counts that are told here; what is not there is a failure"
)]
mod edits;
#[cfg(feature = "cel")]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what is not there is a failure"
)]
mod expressions;
mod freshness;
mod lanes;
mod places;
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what is not there is a failure"
)]
mod plans;
mod properties;
mod rank_properties;
mod scenarios;
mod signal_properties;
mod vectors;
