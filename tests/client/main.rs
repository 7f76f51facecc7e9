//! The client for proxies in Rust beside a real sidecar that is killed, frozen, drained and started again.
//!
//! Nothing sleeps in the hope that something has happened: what is expected is awaited with a deadline. Random requests
//! come from a seed that is printed.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "what a test calls may fail like the test itself"
)]

mod alone;
mod console;
mod following;
mod kept;
mod outages;
mod outcomes;
#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/programs.rs"]
mod programs;
mod purged;
mod requests;
mod reuse;
mod sidecar;
mod spellings;
#[path = "../support/stopped.rs"]
mod stopped;

/// Held by a test that keeps all cores busy, and by those that compare what was decided at two times: signals move with the
/// time in between.
static QUIET: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
