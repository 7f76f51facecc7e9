//! An assignment in Envoy's words.

use prost::Message;
use prost_types::Any;

use super::TYPE_URL;
use crate::doors::envoy::proto::envoy::config::core::v3::{
    Address, HealthStatus, Locality, SocketAddress, address, socket_address,
};
use crate::doors::envoy::proto::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use tradewind_engine::assignment::{Assignment, Fitness, NodeShare};
use tradewind_engine::hash;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::topology::{Host, Topology};

/// A resource that can be pushed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed {
    /// The message.
    pub(super) any: Any,
    /// Names its content: the same for the same content.
    pub(super) version: String,
}

/// What is under a name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    /// Nodes that Envoy can use.
    Listed(Listed),
    /// Nodes, but none that Envoy can use: what it had before is better than nothing.
    Unusable,
    /// The policy has no such pool or rule.
    Unknown,
}

/// The resource of an assignment. Nodes that Envoy would refuse the whole of it for are left out, and added to `left_out`.
pub(super) fn resource(
    name: &str,
    assigned: &Assignment,
    topology: &Topology,
    left_out: &mut Vec<NodeIndex>,
) -> Found {
    let mut endpoints: Vec<LocalityLbEndpoints> = Vec::new();
    let mut told = None;
    for share in &assigned.sites {
        let mut usable = Vec::new();
        for part in &share.nodes {
            match endpoint(part, topology) {
                Some(endpoint) => usable.push(endpoint),
                None => left_out.push(part.node),
            }
        }
        if usable.is_empty() {
            continue;
        }
        // Priorities must have no gaps, also where a whole site was left out.
        let priority = match told {
            None => 0,
            Some((before, priority)) if before == share.priority => priority,
            Some((_, priority)) => priority + 1,
        };
        told = Some((share.priority, priority));
        endpoints.push(LocalityLbEndpoints {
            locality: Some(Locality {
                zone: topology.site(share.site).id.to_string(),
                ..Locality::default()
            }),
            lb_endpoints: usable,
            priority,
        });
    }
    let lists_any = assigned.sites.iter().any(|share| !share.nodes.is_empty());
    if endpoints.is_empty() && lists_any {
        return Found::Unusable;
    }
    let message = ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints,
    };
    let value = message.encode_to_vec();
    Found::Listed(Listed {
        version: version_of([value.as_slice()]),
        any: Any {
            type_url: TYPE_URL.to_owned(),
            value,
        },
    })
}

/// Names content: the same for the same content.
pub(super) fn version_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let parts: Vec<&[u8]> = parts.into_iter().collect();
    format!("{:016x}", hash::key(&parts).0)
}

/// A node; `None` if its address is a name, which Envoy does not resolve here.
fn endpoint(part: &NodeShare, topology: &Topology) -> Option<LbEndpoint> {
    let address = &topology.node(part.node).address;
    let Host::Ip(ip) = address.host() else {
        return None;
    };
    let socket = SocketAddress {
        address: ip.to_string(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(
            address.port().into(),
        )),
    };
    Some(LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(Address {
                address: Some(address::Address::SocketAddress(socket)),
            }),
        })),
        health_status: health(part.fitness).into(),
        load_balancing_weight: Some(part.weight.max(1)),
    })
}

fn health(fitness: Fitness) -> HealthStatus {
    match fitness {
        Fitness::Well => HealthStatus::Healthy,
        Fitness::Doubtful => HealthStatus::Degraded,
        Fitness::Unwell => HealthStatus::Unhealthy,
        Fitness::Draining => HealthStatus::Draining,
    }
}
