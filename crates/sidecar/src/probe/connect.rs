//! A connection to a node, or whose fault it is that there is none.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{MAX_IN_FLIGHT, ProbeFailure};
use tradewind_engine::topology::{Address, Host};

/// Addresses of one host name that are tried, at most.
const MAX_ADDRESSES: usize = 8;

/// `ENFILE` and `EMFILE`: no file descriptor is left, for the system or for us. The same numbers on every Unix; Rust has
/// no name for them.
const NO_DESCRIPTOR: [i32; 2] = [23, 24];

/// Why a probe did not find a node healthy.
#[derive(Debug)]
pub enum Fault {
    /// The node's; told.
    Node(ProbeFailure),
    /// Ours: the node could not be asked, and nothing is known of it.
    Ours(io::Error),
}

impl From<ProbeFailure> for Fault {
    fn from(failure: ProbeFailure) -> Self {
        Self::Node(failure)
    }
}

/// Opens connections.
#[derive(Debug)]
pub struct Connector {
    /// Lookups that may run at once. One that is given up goes on until the system's resolver does, and keeps its place
    /// here; otherwise they would pile up without bound behind a resolver that hangs.
    lookups: Arc<Semaphore>,
}

impl Default for Connector {
    fn default() -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
        }
    }
}

impl Connector {
    /// Connects; of a host name, to the first of its addresses that accepts. The caller bounds the time.
    pub async fn connect(&self, address: &Address) -> Result<TcpStream, Fault> {
        self.connect_at(address, address.port()).await
    }

    /// The same at another port.
    pub async fn connect_at(&self, address: &Address, port: u16) -> Result<TcpStream, Fault> {
        let connected = match address.host() {
            Host::Ip(ip) => TcpStream::connect((*ip, port)).await,
            Host::Name(name) => {
                let addresses = self.look_up(name, port).await?;
                TcpStream::connect(addresses.as_slice()).await
            }
        };
        connected.map_err(fault)
    }

    /// The addresses of a host name, by the system's resolver.
    async fn look_up(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
        let place = Arc::clone(&self.lookups).acquire_owned().await;
        let name = name.to_owned();
        let looked_up = tokio::task::spawn_blocking(move || {
            let _place = place;
            let found = (name.as_str(), port).to_socket_addrs();
            found.map(|all| all.take(MAX_ADDRESSES).collect::<Vec<_>>())
        });
        match looked_up.await {
            Ok(Ok(found)) => Ok(found),
            // A proxy that asks the same resolver would not reach the node either.
            Ok(Err(error)) => Err(fault(error)),
            Err(lost) => Err(Fault::Ours(io::Error::other(lost))),
        }
    }
}

/// Whose fault it is that there is no connection.
fn fault(error: io::Error) -> Fault {
    let no_descriptor = error
        .raw_os_error()
        .is_some_and(|number| cfg!(unix) && NO_DESCRIPTOR.contains(&number));
    match error.kind() {
        // No local port is free.
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory => Fault::Ours(error),
        _ if no_descriptor => Fault::Ours(error),
        io::ErrorKind::TimedOut => Fault::Node(ProbeFailure::Timeout),
        _ => Fault::Node(ProbeFailure::Refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_shortages_are_not_the_nodes_fault() {
        let ours = [
            io::Error::from_raw_os_error(23),
            io::Error::from_raw_os_error(24),
            io::ErrorKind::AddrNotAvailable.into(),
        ];
        for error in ours {
            assert!(matches!(fault(error), Fault::Ours(_)));
        }
        for (kind, failure) in [
            (io::ErrorKind::ConnectionRefused, ProbeFailure::Refused),
            (io::ErrorKind::HostUnreachable, ProbeFailure::Refused),
            (io::ErrorKind::TimedOut, ProbeFailure::Timeout),
        ] {
            let Fault::Node(found) = fault(kind.into()) else {
                panic!("{kind} is taken for our own fault")
            };
            assert_eq!(found, failure);
        }
    }
}
