//! The accept gate against peers good and bad, over loopback.
//!
//! Bad peers are raw frames (`peer`), good ones tonic's client (`server`). Tests whose name begins with a
//! number show the fault of that number in the catalogue in `docs/hardening.md`.

#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers may fail like the test itself"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "a test's helpers may fail like the test itself"
)]

mod admission;
mod attacks;
mod calls;
mod descriptors;
mod drain;
mod echo;
mod http1;
mod peer;
mod server;
mod unix;
