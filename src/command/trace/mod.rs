//! Access logs: opened, unpacked, and read line by line, whatever wrote them.

pub(super) mod input;
pub mod log;
pub(super) mod sample;
pub(super) mod unpack;
