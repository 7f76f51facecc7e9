//! Tradewind.
pub mod command;
pub mod engine;
pub mod example;
pub mod sidecar;
