//! The demo: a small fleet of cache nodes that runs anywhere, for people who want to see decisions at work and for tests
//! that want real nodes behind real proxies.
//!
//! Nothing here is part of a sidecar in service. The demo stands above the sidecar and uses it as any proxy would.

pub mod nodes;
