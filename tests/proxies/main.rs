//! Real proxies in front of real nodes, with a real sidecar beside them, on the very files of `examples/`.
//!
//! [`tools`] finds or installs the programs, [`rig`] starts everything. Where a program cannot be had, its tests say so
//! in one line and pass; with `TRADEWIND_NO_SKIP=1` they fail instead.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test's helpers may fail like the test itself"
)]

mod absence;
mod caches;
mod envoy;
mod front;
mod grpc_nodes;
mod haproxy;
#[path = "../support/http.rs"]
mod http;
mod http2;
mod inside;
mod nginx;
mod places;
#[path = "../support/ports.rs"]
mod ports;
mod process;
#[path = "../support/programs.rs"]
mod programs;
mod rig;
mod round_trips;
mod runs;
mod spelled;
#[path = "../support/stopped.rs"]
mod stopped;
mod told;
mod tools;
mod visits;
