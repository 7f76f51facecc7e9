//! Whether nodes are well: what traffic shows, what probes find, and how much of that is believed at once.

pub mod blame;
pub mod breaker;
pub mod budget;
pub mod isolation;
pub mod probe;
pub mod shedding;
pub mod slowness;
pub mod testimony;
pub mod trials;
