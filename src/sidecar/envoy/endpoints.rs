//! Endpoint discovery: weights and priorities pushed to Envoys that balance by themselves.
//!
//! An Envoy subscribes to a pool (or a rule) by its name, and gets its nodes, best site first. Where it stands it says in
//! its node's metadata (`latitude`, `longitude`), or by naming a site as its zone. What is published is looked at four
//! times a second; what has changed for an Envoy is pushed. Weights are 1 or more, for Envoy refuses the whole of an update
//! that has a 0; nodes that are not well stay listed, as such, so that Envoy knows how much of a priority is left.
//!
//! Envoy refuses what it can not use and says why: shown under `/debug/envoy` and counted, and the weights before stay.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, Struct};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::proto::envoy::config::core::v3::{
    Address, ControlPlane, HealthStatus, Locality, Node, SocketAddress, address, socket_address,
};
use super::proto::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use super::proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryService;
use super::proto::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use super::proto::envoy::service::endpoint::v3::endpoint_discovery_service_server::EndpointDiscoveryService;
use super::subscribers::{Subscribers, Subscription};
use crate::engine::assignment::{self, Assignment, Fitness, SiteShare};
use crate::engine::geo::Location;
use crate::engine::hash;
use crate::engine::snapshot::Snapshot;
use crate::engine::topology::Topology;
use crate::sidecar::state::State;

/// The one type of resource that is served.
const TYPE_URL: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

/// How often what is published is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Most names one Envoy may subscribe to.
const MAX_NAMES: usize = 512;

/// Answers that may wait to be taken.
const QUEUE: usize = 4;

/// Pushes endpoints on one worker.
#[derive(Debug, Clone)]
pub struct Endpoints {
    state: Arc<State>,
    subscribers: Arc<Subscribers>,
}

impl Endpoints {
    /// The service; `subscribers` are those of all workers.
    pub fn new(state: Arc<State>, subscribers: Arc<Subscribers>) -> Self {
        Self { state, subscribers }
    }

    fn open(&self, requests: Streaming<DiscoveryRequest>) -> Pushes {
        let (answers, queue) = mpsc::channel(QUEUE);
        let session = Session {
            state: Arc::clone(&self.state),
            subscription: self.subscribers.open(),
            answers,
            names: Vec::new(),
            place: None,
            site: String::new(),
            looked_at: None,
            version: String::new(),
            pushes: 0,
        };
        tokio::spawn(session.run(requests));
        Pushes(queue)
    }
}

/// What is pushed over one stream.
#[derive(Debug)]
pub struct Pushes(mpsc::Receiver<DiscoveryResponse>);

impl Stream for Pushes {
    type Item = Result<DiscoveryResponse, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|next| next.map(Ok))
    }
}

#[tonic::async_trait]
impl EndpointDiscoveryService for Endpoints {
    type StreamEndpointsStream = Pushes;

    async fn stream_endpoints(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Pushes>, Status> {
        Ok(Response::new(self.open(request.into_inner())))
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Endpoints {
    type StreamAggregatedResourcesStream = Pushes;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Pushes>, Status> {
        Ok(Response::new(self.open(request.into_inner())))
    }
}

/// One Envoy, for as long as its stream lives.
struct Session {
    state: Arc<State>,
    subscription: Subscription,
    answers: mpsc::Sender<DiscoveryResponse>,
    names: Vec<String>,
    /// Where it says it is.
    place: Option<Location>,
    /// The site it says it is at.
    site: String,
    /// Revision and generation of what was looked at last.
    looked_at: Option<(u64, u64)>,
    /// Of the last push: a digest of what was in it.
    version: String,
    pushes: u64,
}

impl Session {
    /// Answers until either side ends the stream or shutdown begins.
    async fn run(mut self, mut requests: Streaming<DiscoveryRequest>) {
        let mut draining = self.state.fleet.subscribe();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let push = tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.asked(request),
                    Ok(None) | Err(_) => return,
                },
                _ = ticks.tick() => self.look(),
                () = self.answers.closed() => return,
                _ = draining.wait_for(|fleet| fleet.draining) => return,
            };
            if let Some(push) = push
                && self.answers.send(push).await.is_err()
            {
                return;
            }
        }
    }

    /// Takes a request: a new subscription, or what became of the last push.
    fn asked(&mut self, request: DiscoveryRequest) -> Option<DiscoveryResponse> {
        if !request.type_url.is_empty() && request.type_url != TYPE_URL {
            // Over the aggregated service Envoy may ask for kinds that are somebody else's.
            return None;
        }
        if let Some(node) = &request.node {
            (self.place, self.site) = whereabouts(node);
            self.subscription.presents_itself(&node.id, &node.cluster);
        }
        if !request.response_nonce.is_empty() {
            if request.response_nonce != self.pushes.to_string() {
                // About a push that another one has overtaken.
                return None;
            }
            match request.error_detail {
                Some(refused) => self.subscription.refused(&refused.message),
                None => self.subscription.took(&request.version_info),
            }
        }
        let mut names = request.resource_names;
        names.truncate(MAX_NAMES);
        if names == self.names && self.pushes > 0 {
            return None;
        }
        self.names = names;
        self.looked_at = None;
        self.version.clear();
        self.look()
    }

    /// What is to be pushed, if anything has changed.
    fn look(&mut self) -> Option<DiscoveryResponse> {
        let published = self.state.published.load();
        let published = published.as_ref()?;
        let seen = (published.revision, published.snapshot.generation());
        if self.names.is_empty() || self.looked_at == Some(seen) {
            return None;
        }
        self.looked_at = Some(seen);
        let snapshot = &published.snapshot;
        let topology = snapshot.topology();
        let site = topology.find_site(&self.site);
        let place = self
            .place
            .or_else(|| site.map(|site| topology.site(site).location));
        let mut unknown = Vec::new();
        let mut resources = Vec::new();
        for name in &self.names {
            match assignment::assign(snapshot, name, place) {
                Some(assigned) => resources.push(resource(name, &assigned, snapshot)),
                None => unknown.push(name.clone()),
            }
        }
        let version = version_of(&resources);
        self.subscription.subscribes(&self.names, &unknown);
        if version == self.version {
            return None;
        }
        self.version.clone_from(&version);
        self.pushes += 1;
        self.subscription.pushed(&version);
        Some(DiscoveryResponse {
            version_info: version,
            resources,
            type_url: TYPE_URL.to_owned(),
            nonce: self.pushes.to_string(),
            control_plane: Some(ControlPlane {
                identifier: "tradewind".to_owned(),
            }),
        })
    }
}

/// Where an Envoy says it is: its place, and the site it names as its zone.
fn whereabouts(node: &Node) -> (Option<Location>, String) {
    let number = |fields: &Struct, name: &str| match fields.fields.get(name)?.kind.as_ref()? {
        Kind::NumberValue(number) => Some(*number),
        _ => None,
    };
    let place = node.metadata.as_ref().and_then(|fields| {
        let (lat, lon) = (number(fields, "latitude")?, number(fields, "longitude")?);
        Location::new(lat, lon)
    });
    let zone = node.locality.as_ref().map(|locality| locality.zone.clone());
    (place, zone.unwrap_or_default())
}

/// Names what is in a push: the same for the same content.
fn version_of(resources: &[Any]) -> String {
    let parts: Vec<&[u8]> = resources.iter().map(|any| any.value.as_slice()).collect();
    format!("{:016x}", hash::key(&parts).0)
}

/// An assignment in Envoy's words.
fn resource(name: &str, assigned: &Assignment, snapshot: &Snapshot) -> Any {
    let topology = snapshot.topology();
    let endpoints = assigned.sites.iter().map(|share| locality(share, topology));
    let message = ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: endpoints.collect(),
    };
    Any {
        type_url: TYPE_URL.to_owned(),
        value: message.encode_to_vec(),
    }
}

fn locality(share: &SiteShare, topology: &Topology) -> LocalityLbEndpoints {
    let site = topology.site(share.site);
    let nodes = share.nodes.iter().map(|part| {
        let address = &topology.node(part.node).address;
        let socket = SocketAddress {
            address: address.host_text(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(
                address.port().into(),
            )),
        };
        LbEndpoint {
            host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
                address: Some(Address {
                    address: Some(address::Address::SocketAddress(socket)),
                }),
            })),
            health_status: health(part.fitness).into(),
            load_balancing_weight: Some(part.weight.max(1)),
        }
    });
    LocalityLbEndpoints {
        locality: Some(Locality {
            zone: site.id.to_string(),
            ..Locality::default()
        }),
        lb_endpoints: nodes.collect(),
        priority: share.priority,
    }
}

fn health(fitness: Fitness) -> HealthStatus {
    match fitness {
        Fitness::Well => HealthStatus::Healthy,
        Fitness::Doubtful => HealthStatus::Degraded,
        Fitness::Unwell => HealthStatus::Unhealthy,
        Fitness::Draining => HealthStatus::Draining,
    }
}
