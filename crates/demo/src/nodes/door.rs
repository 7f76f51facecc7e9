//! A node's listening socket: opened, kept, closed when the node is to refuse, and opened again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::Behaviour;
use super::node::Node;

/// Most lines of headers: proxies hand on all that clients send.
const MAX_HEADERS: usize = 512;

/// Open connections of one node; further ones wait in the system's queue.
const MAX_CONNECTIONS: usize = 1_024;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// Pause after an accept error, which is a shortage of the process that passes.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// To behave from now on; answered as soon as it is so.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) behaviour: Behaviour,
    pub(super) done: oneshot::Sender<io::Result<()>>,
}

/// How often, and with which pause, a port that was lost is asked for.
const REBIND: (usize, Duration) = (250, Duration::from_millis(20));

/// A node's port, open or not.
#[derive(Debug)]
pub(super) enum Port {
    /// Connections are accepted.
    Open(TcpListener),
    /// Connections are refused. The socket is bound all the same, so that the system, which chose the port, does not give
    /// it to somebody else meanwhile, like to the near end of a connection.
    Closed(TcpSocket),
    /// Refused too, but not bound: in the moment between, the system gave the port to somebody else.
    Lost,
}

impl Port {
    /// Binds an address and listens there.
    pub(super) fn open(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let listener = bind(address)?.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((Self::Open(listener), address))
    }

    /// Makes it open or closed, as the behaviour asks.
    async fn follow(&mut self, behaviour: Behaviour, address: SocketAddr) -> io::Result<()> {
        let refuse = behaviour == Behaviour::Refuse;
        *self = match (std::mem::replace(self, Self::Lost), refuse) {
            (Self::Open(listener), true) => {
                drop(listener);
                bind(address).map_or(Self::Lost, Self::Closed)
            }
            (Self::Closed(socket), false) => Self::Open(socket.listen(BACKLOG)?),
            (Self::Lost, false) => Self::Open(rebind(address).await?.listen(BACKLOG)?),
            (as_asked, _) => as_asked,
        };
        Ok(())
    }

    async fn accept(&self) -> TcpStream {
        let Self::Open(listener) = self else {
            return std::future::pending().await;
        };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(_) => tokio::time::sleep(ACCEPT_BACKOFF).await,
            }
        }
    }
}

/// Binds an address that somebody else may have for a while, as the near end of a connection.
async fn rebind(address: SocketAddr) -> io::Result<TcpSocket> {
    let (attempts, pause) = REBIND;
    for _ in 1..attempts {
        if let Ok(socket) = bind(address) {
            return Ok(socket);
        }
        tokio::time::sleep(pause).await;
    }
    bind(address)
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of a moment ago, which the system still remembers, must not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves a node until nobody is left to give orders.
pub(super) async fn keep(node: Arc<Node>, mut port: Port, mut orders: mpsc::Receiver<Order>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => {
                let Some(Order { behaviour, done }) = order else { break };
                let followed = port.follow(behaviour, node.address).await;
                if behaviour == Behaviour::Refuse {
                    open.shutdown().await;
                }
                node.behaviour.send_replace(behaviour);
                // Whoever ordered it may have gone; it is done anyway.
                drop(done.send(followed));
            }
            Some(_ended) = open.join_next() => {}
            stream = port.accept(), if open.len() < MAX_CONNECTIONS => {
                // Without Nagle's delay where the socket allows it; a gone peer shows at the first read.
                drop(stream.set_nodelay(true));
                open.spawn(serve(stream, Arc::clone(&node)));
            }
        }
    }
}

/// Serves one connection to its end. Idle ones are kept: proxies take it ill when they are closed just as they are used.
async fn serve(stream: TcpStream, node: Arc<Node>) {
    let service = service_fn(|request| {
        let node = Arc::clone(&node);
        async move { node.answer(request).await }
    });
    let served = http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // A peer that went away, or was sent away by `hang`, is nothing to tell.
    drop(served);
}
