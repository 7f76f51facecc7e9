//! The demo from outside: its story by a library call, its parts by the real binary.

#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers may fail like the test itself"
)]

mod parts;
mod process;
mod story;
