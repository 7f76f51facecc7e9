//! The demo: a small fleet that runs anywhere, for people who want to see decisions at work and for tests that want real
//! nodes and clients around real proxies.
//!
//! Nothing here is part of a sidecar in service. The demo stands above the sidecar and uses it as any proxy would.

pub mod audience;
pub mod fleet;
pub mod http;
mod measure;
pub mod nodes;
pub mod show;
pub mod signals;
pub mod traffic;
mod ways;
