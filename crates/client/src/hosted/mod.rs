//! What a library needs that decides inside a proxy written in another language (`docs/envoy-module.md`, `docs/c-library.md`): a
//! configuration that says all its faults, one follower for each sidecar on a thread of its own, panics that go no further, and
//! lines for the proxy's log.
//!
//! Nothing here knows of pointers, nor of any proxy.

pub mod config;
pub mod contain;
pub mod follower;
pub mod log;
pub mod refusal;
