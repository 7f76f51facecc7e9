//! What must hold for every valid fleet, policy and request, shown on generated ones.
//!
//! Documents are generated as structures, printed, read and compiled, so printing and reading are part of each property.
//! The expectations are computed here by other means than the engine's: haversine in doubles, and all sites looked at.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers, and a document that does not compile is a failure"
)]

use proptest::prelude::ProptestConfig;

mod answers;
mod behind;
mod costs;
mod flips;
mod home;
mod moves;
mod parents;
mod worlds;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}
