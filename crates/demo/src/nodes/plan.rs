//! Which nodes to start, and what they are like.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::NodesError;
use tradewind_engine::topology::{Host, Topology};

/// A node to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// Its unique name, answered in `x-node`.
    pub id: String,
    /// Its site, answered in `x-site`.
    pub site: String,
    /// Where to listen, on loopback; port 0 for any that is free.
    pub address: SocketAddr,
}

/// What nodes are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeOptions {
    /// How long a hit takes; default 0.
    pub hit: Duration,
    /// How much longer a miss takes; default 20 ms.
    pub miss: Duration,
    /// How long a slow node takes at least; default 200 ms.
    pub slow_at_least: Duration,
    /// How much longer a miss takes whose origin is slow ([`SLOW`](super::SLOW)); default 1.5 s.
    pub slow_origin: Duration,
    /// Bytes of every body; default 100.
    pub body_bytes: usize,
    /// Objects that fit into a node's cache, at least 1; default 10000. The one not asked for longest goes first.
    pub cache_objects: usize,
    /// Requests a second that a node calls a utilisation of 1; default 1000. It is what it tells, not a limit.
    pub capacity_rps: u32,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            hit: Duration::ZERO,
            miss: Duration::from_millis(20),
            slow_at_least: Duration::from_millis(200),
            slow_origin: Duration::from_millis(1_500),
            body_bytes: 100,
            cache_objects: 10_000,
            capacity_rps: 1_000,
        }
    }
}

impl NodePlan {
    /// A node on 127.0.0.1, on a port the system chooses.
    pub fn on_any_port(id: &str, site: &str) -> Self {
        Self {
            id: id.to_owned(),
            site: site.to_owned(),
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        }
    }

    /// A node for each node of a topology. Host names are refused like addresses that are not on loopback: where they
    /// lead is not known before they are used.
    pub fn of_topology(topology: &Topology) -> Result<Vec<Self>, NodesError> {
        let mut plans = Vec::new();
        let mut refused = Vec::new();
        for node in topology.nodes() {
            match node.address.host() {
                Host::Ip(ip) if ip.is_loopback() => plans.push(Self {
                    id: node.id.to_string(),
                    site: topology.site(node.site).id.to_string(),
                    address: SocketAddr::new(*ip, node.address.port()),
                }),
                Host::Ip(_) | Host::Name(_) => {
                    refused.push(format!("{} ({})", node.id, node.address));
                }
            }
        }
        if refused.is_empty() {
            Ok(plans)
        } else {
            Err(NodesError::NotLoopback { refused })
        }
    }
}

/// Refuses what cannot be started.
pub(super) fn check(plans: &[NodePlan]) -> Result<(), NodesError> {
    let far = plans.iter().filter(|plan| !plan.address.ip().is_loopback());
    let refused: Vec<String> = far
        .map(|plan| format!("{} ({})", plan.id, plan.address))
        .collect();
    if !refused.is_empty() {
        return Err(NodesError::NotLoopback { refused });
    }
    let mut seen = BTreeSet::new();
    match plans.iter().find(|plan| !seen.insert(&plan.id)) {
        Some(plan) => Err(NodesError::Twice {
            id: plan.id.clone(),
        }),
        None => Ok(()),
    }
}
