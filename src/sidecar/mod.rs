//! The asynchronous shell: sockets, files, tasks, time.

pub mod wire;
