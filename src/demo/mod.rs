//! nodes and clients around real proxies.
//!
//! Nothing here is part of a sidecar in service. The demo stands above the sidecar and uses it as any proxy would.

pub mod audience;
pub mod http;
mod measure;
pub mod nodes;
pub mod traffic;
