//! Even load without moving ordinary keys.
//!
//! Bounded-load hashing evens out load by throwing keys off their node whenever it is full, and so fragments caches.
//! Here a few hot keys carry the levelling (*ballast*): each is kept by several nodes, and requests for it go to those in
//! proportion to their headroom; all other keys keep their node. What ballast cannot carry spills, slowly and by key.

pub mod headroom;
pub mod hot_keys;
pub mod overload;
pub mod retry_budget;
pub mod spill;
