//! The accept gate: how a connection gets in, which core serves it, what it may use, and how it leaves.
//!
//! The stock gRPC server has no cap on connections or calls, waits for ever for a peer that never speaks,
//! spins when file descriptors run out and hangs at shutdown while one peer is stuck. This module
//! replaces it. [`gate::Gate`] owns the listening sockets and hands each new connection to the worker
//! with the fewest open ones; [`worker::Workers`] are threads with a single-threaded runtime each, which
//! batches the answers of a connection into few writes; [`limits`] holds every bound with its reason;
//! [`counters::GateCounters`] shows what was refused and why.
//!
//! Reading order: [`limits`], [`gate`], `porter` (who gets a connection), `seats` (who goes when the gate is full), `connection` (one HTTP/2 connection),
//! `guard` (one call), `loss` (streams whose callers lose their role), `warden` (age, stalls, drain), [`worker`], [`socket`], [`http1`] (one HTTP/1.1
//! connection), `stranger` (who speaks the other of the two protocols).
//!
//! `porter` shakes hands where a door speaks [`tls`], and `guard` looks whether a caller may. Not here: anything that knows a
//! gRPC method by name; what holds for which paths the caller says, see [`entrance::Entrance::methods`].

pub mod counters;
pub mod entrance;
pub mod gate;
pub mod http1;
pub mod limits;
pub mod service;
pub mod socket;
pub mod stranger;
pub mod tls;
pub mod worker;

mod accept;
mod connection;
pub mod drain;
pub mod durations;
mod executor;
mod guard;
mod loss;
mod porter;
mod preface;
mod seats;
mod warden;
mod watched;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a door could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The TCP address could not be bound.
    #[error("cannot listen on {address}")]
    Tcp {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The Unix socket could not be created, looked at or given its mode.
    #[error("cannot listen on the unix socket {}", path.display())]
    Unix {
        /// The path asked for.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another server listens on the Unix socket; its file is left alone.
    #[error("another server is listening on {}, its socket is left in place", path.display())]
    InUse {
        /// The path asked for.
        path: PathBuf,
    },
    /// Something that is not a socket is at the path; it is left alone.
    #[error("{} exists and is not a socket, it is left in place", path.display())]
    NotASocket {
        /// The path asked for.
        path: PathBuf,
    },
    /// Another process kept the socket's directory locked, as each server does while it binds.
    #[error("the directory of {} stayed locked for {waited_ms} ms", path.display())]
    DirectoryLocked {
        /// The path asked for.
        path: PathBuf,
        /// How long the lock was waited for, in milliseconds.
        waited_ms: u64,
    },
    /// A worker thread or its runtime could not be started.
    #[error("cannot start worker {index}")]
    Worker {
        /// The worker's number, from 0.
        index: usize,
        /// What the operating system said.
        source: io::Error,
    },
}
