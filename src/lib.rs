//! Tradewind.
pub mod engine;
