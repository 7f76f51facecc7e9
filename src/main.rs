//! Tradewind.
fn main() {}
