//! Looking at a running sidecar from a terminal: `status`, `top`, `tap`, `nodes` and `object`.
//!
//! All of them read the debug door, as the console does, so that a shell over ssh shows what the console shows: sentences
//! and numbers are made by the sidecar. What comes from there may hold strangers' text (paths, hosts, names); it is
//! cleaned where it is read (`clean`), and no command prints anything else of it, but as JSON, with escapes.

mod clean;
mod door;
mod fault;
mod mark;
pub mod nodes;
mod number;
pub mod object;
mod rows;
pub mod status;
mod stream;
mod table;
pub mod tap;
pub mod top;

pub use door::DoorArgs;
pub use fault::{Address, DoorError};
