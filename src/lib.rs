//! Tradewind.
pub mod engine;
pub mod example;
pub mod sidecar;
