//! Small cache nodes on loopback: real sockets, real HTTP/1.1, a real cache of what was asked for, and faults on order.
//!
//! [`Nodes`] runs any number of them on one thread of its own, so a test needs no runtime:
//!
//! ```
//! use tradewind_demo::nodes::{Behaviour, NodeOptions, NodePlan, Nodes};
//!
//! let plan = NodePlan::on_any_port("fra-1", "FRA");
//! let nodes = Nodes::start(&[plan], NodeOptions::default())?;
//! let address = nodes.address("fra-1").expect("it was planned");
//! assert!(std::net::TcpStream::connect(address).is_ok());
//! nodes.behave("fra-1", Behaviour::Refuse)?;
//! assert!(std::net::TcpStream::connect(address).is_err());
//! assert_eq!(nodes.counts()[0].requests, 0);
//! nodes.stop();
//! # Ok::<(), tradewind_demo::nodes::NodesError>(())
//! ```
//!
//! Every GET is answered with 200, `x-node`, `x-site`, `x-cache: HIT|MISS`, `x-target` (what was asked for, as it came),
//! `endpoint-load-metrics` (ORCA's text form) and a body of fixed size. `/healthz` is answered as the node behaves but not counted. An object is a path with its
//! query: nodes look at nothing else of a request. For objects below [`FAILING`] and [`SLOW`] it is the origin that does
//! badly, at every node.

mod behaviour;
mod control;
mod door;
mod node;
mod origin;
mod plan;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc as blocking};
use std::thread::JoinHandle;

use serde::Serialize;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};

pub use behaviour::{Behaviour, BehaviourError};
pub use node::HEALTH_PATH;
pub use origin::{FAILING, SLOW};
pub use plan::{NodeOptions, NodePlan};

use door::{Order, Port};
use node::Node;
use tradewind_sidecar::listen::ListenError;
use tradewind_sidecar::listen::entrance::Entrance;
use tradewind_sidecar::listen::gate::{Gate, PlainDoor};
use tradewind_sidecar::listen::http1::Http1Limits;
use tradewind_sidecar::listen::limits::GateLimits;
use tradewind_sidecar::listen::socket::Endpoint;
use tradewind_sidecar::listen::worker::Workers;

/// Orders that may wait at one node.
const MAX_ORDERS: usize = 16;

/// What a node has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeCount {
    /// Its name.
    pub id: String,
    /// Where it stands.
    pub site: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Requests it got, answered or not; those for `/healthz` left out.
    pub requests: u64,
    /// Those answered from its cache.
    pub hits: u64,
    /// How it behaves now.
    pub behaviour: Behaviour,
}

/// Why nodes cannot be started or told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodesError {
    /// Addresses that others could reach.
    #[error(
        "demo nodes listen on loopback only (127.0.0.0/8, ::1), and this is not the address of {}",
        .refused.join(", ")
    )]
    NotLoopback {
        /// All such nodes with their addresses.
        refused: Vec<String>,
    },
    /// Two nodes of one name.
    #[error("node `{id}` is planned twice, must be once")]
    Twice {
        /// The name.
        id: String,
    },
    /// An address cannot be bound.
    #[error("node `{id}` cannot listen on {address}")]
    Bind {
        /// The node.
        id: String,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The control door cannot be opened.
    #[error("the control door cannot be opened")]
    Control(#[from] ListenError),
    /// No node of this name.
    #[error("no node `{id}`, must be one of {}", .known.join(", "))]
    UnknownNode {
        /// What was given.
        id: String,
        /// All there are.
        known: Vec<String>,
    },
    /// A thread or runtime could not be started.
    #[error("a thread or runtime cannot be started")]
    Start(#[source] io::Error),
    /// The nodes' thread has ended.
    #[error("the nodes have ended")]
    Ended,
}

/// Running nodes; they end with [`Nodes::stop`] or when this is dropped.
#[derive(Debug)]
pub struct Nodes {
    shared: Arc<Shared>,
    runtime: Handle,
    /// Dropped to end the thread.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread, the control door and the owner share.
#[derive(Debug)]
struct Shared {
    nodes: Vec<Served>,
}

/// A node that is served, and the way to its door.
#[derive(Debug)]
struct Served {
    node: Arc<Node>,
    orders: mpsc::Sender<Order>,
}

impl Nodes {
    /// Starts nodes, all or none; they accept connections when this returns. Port 0 lets the system choose one.
    pub fn start(plans: &[NodePlan], options: NodeOptions) -> Result<Self, NodesError> {
        plan::check(plans)?;
        let plans = plans.to_vec();
        let (started, wait) = blocking::sync_channel(1);
        let (end, ended) = oneshot::channel::<()>();
        let run = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(NodesError::Start(error)))),
            };
            runtime.block_on(async {
                let opened = open_all(&plans, options).map(|shared| (shared, Handle::current()));
                drop(started.send(opened));
                drop(ended.await);
            });
        };
        let thread = std::thread::Builder::new().name("demo-nodes".to_owned());
        let thread = thread.spawn(run).map_err(NodesError::Start)?;
        // When it failed, dropping `end` lets the thread go.
        let (shared, runtime) = wait.recv().unwrap_or(Err(NodesError::Ended))?;
        Ok(Self {
            shared: Arc::new(shared),
            runtime,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Makes a node behave in some way, and returns as soon as it does. Waits for the nodes' thread, about a
    /// millisecond, without need of a runtime.
    pub fn behave(&self, id: &str, behaviour: Behaviour) -> Result<(), NodesError> {
        let id = id.to_owned();
        let shared = Arc::clone(&self.shared);
        self.wait(async move { shared.behave(&id, behaviour).await })
    }

    /// What each node has done so far, in the order of the plan.
    pub fn counts(&self) -> Vec<NodeCount> {
        self.shared.counts()
    }

    /// Where a node listens.
    pub fn address(&self, id: &str) -> Option<SocketAddr> {
        self.shared.find(id).map(|served| served.node.address)
    }

    /// Opens a control door on a loopback address, and answers where: `GET /nodes` lists [`NodeCount`]s as JSON,
    /// `POST /nodes/{id}?behaviour=…` is [`Nodes::behave`].
    pub fn open_control(&self, address: SocketAddr) -> Result<SocketAddr, NodesError> {
        if !address.ip().is_loopback() {
            return Err(NodesError::NotLoopback {
                refused: vec![format!("the control door ({address})")],
            });
        }
        let shared = Arc::clone(&self.shared);
        self.wait(async move {
            let mut gate = Gate::new(Workers::start(1)?, GateLimits::default());
            let door = PlainDoor {
                endpoint: Endpoint::Tcp(address),
                limits: Http1Limits::default(),
                entrance: Entrance::open(),
            };
            let pages = control::router(shared);
            let opened = match gate.open_http1(door, |_worker| pages.clone()).await? {
                Endpoint::Tcp(opened) => opened,
                Endpoint::Unix(_) => address,
            };
            // It is open for as long as the nodes' runtime lives.
            tokio::spawn(async move {
                let _open = gate;
                std::future::pending::<()>().await;
            });
            Ok(opened)
        })
    }

    /// Closes all sockets and ends the thread.
    pub fn stop(self) {
        drop(self);
    }

    /// Runs a future on the nodes' thread and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, NodesError>> + Send + 'static,
    ) -> Result<T, NodesError> {
        let (tell, told) = blocking::sync_channel(1);
        self.runtime
            .spawn(async move { drop(tell.send(future.await)) });
        told.recv().unwrap_or(Err(NodesError::Ended))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed by that thread.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn find(&self, id: &str) -> Option<&Served> {
        self.nodes.iter().find(|served| served.node.id() == id)
    }

    fn counts(&self) -> Vec<NodeCount> {
        self.nodes
            .iter()
            .map(|served| served.node.count())
            .collect()
    }

    async fn behave(&self, id: &str, behaviour: Behaviour) -> Result<(), NodesError> {
        let Served { node, orders } = self.find(id).ok_or_else(|| NodesError::UnknownNode {
            id: id.chars().take(80).collect(),
            known: self.nodes.iter().map(|n| n.node.id().to_owned()).collect(),
        })?;
        let (done, is_done) = oneshot::channel();
        let sent = orders.send(Order { behaviour, done }).await;
        sent.map_err(|_| NodesError::Ended)?;
        let done = is_done.await.map_err(|_| NodesError::Ended)?;
        done.map_err(|source| NodesError::Bind {
            id: id.to_owned(),
            address: node.address,
            source,
        })
    }
}

/// Binds all addresses, then serves them.
fn open_all(plans: &[NodePlan], options: NodeOptions) -> Result<Shared, NodesError> {
    let mut opened = Vec::new();
    for plan in plans {
        let (port, address) = Port::open(plan.address).map_err(|source| NodesError::Bind {
            id: plan.id.clone(),
            address: plan.address,
            source,
        })?;
        opened.push((Arc::new(Node::new(plan, address, options)), port));
    }
    let serve = |(node, port)| {
        let (orders, inbox) = mpsc::channel(MAX_ORDERS);
        tokio::spawn(door::keep(Arc::clone(&node), port, inbox));
        Served { node, orders }
    };
    Ok(Shared {
        nodes: opened.into_iter().map(serve).collect(),
    })
}
