//! Tradewind.
pub mod engine;
pub mod sidecar;
