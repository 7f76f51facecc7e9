//! The engine in virtual time: what it does when nodes fail, signals tremble, crowds come and clocks jump.
//!
//! Every run prints its seed and is the same each time.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a fleet that cannot be made is a failure; counts are small; figures and seeds are told"
)]

mod admission;
mod balance;
mod blame;
mod failures;
mod fleet;
mod lists;
mod paths;
mod reloads;
mod reporters;
mod rollouts;
mod shifts;
mod sidecars;
mod steady;
mod steward;
mod terms;
