//! Endpoint discovery: weights and priorities pushed to Envoys that balance by themselves.
//!
//! An Envoy subscribes to a pool (or a rule) by its name, and gets its nodes, best site first. Where it stands it says in
//! its node's metadata (`latitude`, `longitude`), or by naming a site as its zone. What is published is looked at four
//! times a second; what has changed for an Envoy is pushed. Weights are 1 or more, for Envoy refuses the whole of an update
//! that has a 0; nodes that are not well stay listed, as such, so that Envoy knows how much of a priority is left.
//!
//! Two protocols are spoken, by themselves and over the aggregated service: `whole` tells all resources each time
//! (`api_type: GRPC`), `incremental` those that have changed (`DELTA_GRPC`).
//!
//! Envoy refuses what it cannot use and says why: shown under `/debug/envoy` and counted, and the weights before stay. What
//! it is known to refuse is not pushed: a node whose address is a name is left out, which is shown, counted and logged.

mod incremental;
mod resource;
mod viewpoint;
mod whole;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::proto::envoy::config::core::v3::ControlPlane;
use super::proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryService;
use super::proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use super::proto::envoy::service::endpoint::v3::endpoint_discovery_service_server::EndpointDiscoveryService;
use super::subscribers::Subscribers;
use crate::state::State;
use incremental::Incremental;
use viewpoint::Viewpoint;
use whole::Whole;

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

/// One of the two protocols, on one stream.
trait Protocol: Send + 'static {
    /// What Envoy says.
    type Request: Send + 'static;
    /// What it is told.
    type Push: Send + 'static;

    /// Takes a request: a new subscription, or what became of a push.
    fn asked(&mut self, request: Self::Request) -> Option<Self::Push>;

    /// What is to be pushed, if anything has changed.
    fn look(&mut self) -> Option<Self::Push>;
}

impl Endpoints {
    /// The service; `subscribers` are those of all workers.
    pub fn new(state: Arc<State>, subscribers: Arc<Subscribers>) -> Self {
        Self { state, subscribers }
    }

    fn whole(&self, requests: Streaming<DiscoveryRequest>) -> Pushes<DiscoveryResponse> {
        let viewpoint = Viewpoint::new(Arc::clone(&self.state));
        self.open(Whole::new(viewpoint, self.subscribers.open()), requests)
    }

    fn incremental(
        &self,
        requests: Streaming<DeltaDiscoveryRequest>,
    ) -> Pushes<DeltaDiscoveryResponse> {
        let viewpoint = Viewpoint::new(Arc::clone(&self.state));
        let protocol = Incremental::new(viewpoint, self.subscribers.open());
        self.open(protocol, requests)
    }

    fn open<P: Protocol>(&self, protocol: P, requests: Streaming<P::Request>) -> Pushes<P::Push> {
        let (answers, queue) = mpsc::channel(QUEUE);
        tokio::spawn(run(protocol, requests, answers, Arc::clone(&self.state)));
        Pushes(queue)
    }
}

/// Answers until either side ends the stream or shutdown begins.
async fn run<P: Protocol>(
    mut protocol: P,
    mut requests: Streaming<P::Request>,
    answers: mpsc::Sender<P::Push>,
    state: Arc<State>,
) {
    let mut draining = state.fleet.subscribe();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let push = tokio::select! {
            request = requests.message() => match request {
                Ok(Some(request)) => protocol.asked(request),
                Ok(None) | Err(_) => return,
            },
            _ = ticks.tick() => protocol.look(),
            () = answers.closed() => return,
            _ = draining.wait_for(|fleet| fleet.draining) => return,
        };
        if let Some(push) = push
            && answers.send(push).await.is_err()
        {
            return;
        }
    }
}

/// What is pushed over one stream.
#[derive(Debug)]
pub struct Pushes<T>(mpsc::Receiver<T>);

impl<T> Stream for Pushes<T> {
    type Item = Result<T, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|next| next.map(Ok))
    }
}

#[tonic::async_trait]
impl EndpointDiscoveryService for Endpoints {
    type StreamEndpointsStream = Pushes<DiscoveryResponse>;
    type DeltaEndpointsStream = Pushes<DeltaDiscoveryResponse>;

    async fn stream_endpoints(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamEndpointsStream>, Status> {
        Ok(Response::new(self.whole(request.into_inner())))
    }

    async fn delta_endpoints(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaEndpointsStream>, Status> {
        Ok(Response::new(self.incremental(request.into_inner())))
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Endpoints {
    type StreamAggregatedResourcesStream = Pushes<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Pushes<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(Response::new(self.whole(request.into_inner())))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(Response::new(self.incremental(request.into_inner())))
    }
}

/// Whether a request is about endpoints. Over the aggregated service Envoy may ask for kinds that are somebody else's.
fn is_about_endpoints(type_url: &str) -> bool {
    type_url.is_empty() || type_url == TYPE_URL
}

/// Who pushes, in Envoy's words.
fn control_plane() -> ControlPlane {
    ControlPlane {
        identifier: "tradewind".to_owned(),
    }
}
