//! The admin door: the services for operators, on a port and a worker of their own.
//!
//! Hardening: one port never serves two audiences, so whoever may ask for decisions cannot change the fleet.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::service::Routes;
use tower::Service;

use super::services::MAX_OTHER_BYTES;
use crate::doors::admin::{AdminDesk, MAX_ADMIN_BYTES, MAX_APPLY_BYTES, MAX_PURGE_BYTES};
use crate::doors::earned::{Earned, earning};
use crate::listen::ListenError;
use crate::listen::entrance::Entrance;
use crate::listen::gate::{Door, Gate};
use crate::listen::limits::{GateLimits, Limits};
use crate::listen::socket::Endpoint;
use crate::listen::worker::Workers;
use crate::settings::Settings;
use crate::state::State;
use crate::state::doors;
use crate::wire;
use crate::wire::proto::server::admin_service_server::AdminServiceServer;
use crate::wire::proto::server::fleet_service_server::FleetServiceServer;
use crate::wire::proto::server::policy_service_server::PolicyServiceServer;
use crate::wire::proto::server::purge_service_server::PurgeServiceServer;
use crate::wire::proto::server::rollout_service_server::RolloutServiceServer;
use crate::wire::proto::server::topology_service_server::TopologyServiceServer;

/// Most connections at once.
const MAX_CONNECTIONS: usize = 64;

/// Most calls at once beyond those that each connection has to itself, watches among them.
const MAX_IN_FLIGHT: usize = 128;

/// Most documents taken in at once: each may have 32 MiB.
const MAX_APPLIES: usize = 2;

/// Time for a call: a document of 32 MiB must be sent and compiled.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// The paths that take documents.
const WITH_DOCUMENTS: [&str; 6] = [
    "/tradewind.v1.TopologyService/Apply",
    "/tradewind.v1.PolicyService/Apply",
    "/tradewind.v1.PolicyService/Validate",
    "/tradewind.v1.PolicyService/Test",
    "/tradewind.v1.PolicyService/Plan",
    "/tradewind.v1.RolloutService/Start",
];

/// What the paths of the services begin with.
const TOPOLOGY_PATHS: &str = "/tradewind.v1.TopologyService/";
const POLICY_PATHS: &str = "/tradewind.v1.PolicyService/";
const ROLLOUT_PATHS: &str = "/tradewind.v1.RolloutService/";
const ADMIN_PATHS: &str = "/tradewind.v1.AdminService/";
const PURGE_PATHS: &str = "/tradewind.v1.PurgeService/";
const FLEET_PATHS: &str = "/tradewind.v1.FleetService/";

/// Opens the admin door; it is drained like any other.
pub(super) async fn open(
    settings: &Settings,
    desk: AdminDesk,
    entrance: Entrance,
    state: &Arc<State>,
) -> Result<(Gate, Endpoint), ListenError> {
    let limits = GateLimits {
        max_connections: MAX_CONNECTIONS,
        max_in_flight: MAX_IN_FLIGHT,
        drain_deadline: Duration::from_millis(settings.drain_deadline.as_ms()),
        ..GateLimits::default()
    };
    let mut gate = Gate::new(Workers::start(1)?, limits).timing_all();
    let door = Door {
        endpoint: settings.admin.clone(),
        limits: Limits {
            request_deadline: REQUEST_DEADLINE,
            ..Limits::network()
        },
        entrance,
    };
    let services = Services::new(&desk, Arc::clone(state));
    let endpoint = gate.open(door, |_worker| services.clone()).await?;
    Ok((gate, endpoint))
}

/// The services of the admin door.
#[derive(Clone)]
struct Services {
    /// For messages with a document, and for all others.
    large: Documents,
    small: Documents,
    applies: Arc<Semaphore>,
    admin: AdminServiceServer<AdminDesk>,
    purge: PurgeServiceServer<AdminDesk>,
    fleet: FleetServiceServer<AdminDesk>,
    others: axum::Router,
    /// Knows the other doors.
    state: Arc<State>,
}

/// The services whose messages may have a document.
#[derive(Clone)]
struct Documents {
    topology: TopologyServiceServer<AdminDesk>,
    policy: PolicyServiceServer<AdminDesk>,
    rollout: RolloutServiceServer<AdminDesk>,
}

impl Documents {
    /// Services that take messages of at most so many bytes.
    fn new(desk: &AdminDesk, most: usize) -> Self {
        Self {
            topology: TopologyServiceServer::new(desk.clone()).max_decoding_message_size(most),
            policy: PolicyServiceServer::new(desk.clone()).max_decoding_message_size(most),
            rollout: RolloutServiceServer::new(desk.clone()).max_decoding_message_size(most),
        }
    }

    /// Whether a path is of one of them.
    fn serves(path: &str) -> bool {
        [TOPOLOGY_PATHS, POLICY_PATHS, ROLLOUT_PATHS]
            .iter()
            .any(|root| path.starts_with(root))
    }

    /// Answers a call for one of them.
    fn call(&mut self, request: Request<Earned<Incoming>>) -> Answered {
        let path = request.uri().path();
        if path.starts_with(TOPOLOGY_PATHS) {
            self.topology.call(request)
        } else if path.starts_with(POLICY_PATHS) {
            self.policy.call(request)
        } else {
            self.rollout.call(request)
        }
    }
}

/// An answer on its way.
type Answered = BoxFuture<Response<Body>, Infallible>;

impl Services {
    fn new(desk: &AdminDesk, state: Arc<State>) -> Self {
        Self {
            large: Documents::new(desk, MAX_APPLY_BYTES),
            small: Documents::new(desk, MAX_ADMIN_BYTES),
            applies: Arc::new(Semaphore::new(MAX_APPLIES)),
            admin: AdminServiceServer::new(desk.clone()).max_decoding_message_size(MAX_ADMIN_BYTES),
            purge: PurgeServiceServer::new(desk.clone()).max_decoding_message_size(MAX_PURGE_BYTES),
            fleet: FleetServiceServer::new(desk.clone()).max_decoding_message_size(MAX_ADMIN_BYTES),
            others: reflection(),
            state,
        }
    }
}

impl Service<Request<Incoming>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        if WITH_DOCUMENTS.contains(&path) {
            let Ok(place) = Arc::clone(&self.applies).try_acquire_owned() else {
                let words = format!("{MAX_APPLIES} documents are being looked at already");
                let refused = Status::resource_exhausted(words).into_http();
                return Box::pin(async move { Ok(refused) });
            };
            let request = earning(request, MAX_APPLY_BYTES);
            let answered = self.large.call(request);
            return Box::pin(async move {
                let answer = answered.await;
                drop(place);
                answer
            });
        }
        if Documents::serves(path) {
            let request = earning(request, MAX_ADMIN_BYTES);
            return self.small.call(request);
        }
        if path.starts_with(ADMIN_PATHS) {
            let request = earning(request, MAX_ADMIN_BYTES);
            return self.admin.call(request);
        }
        if path.starts_with(PURGE_PATHS) {
            let request = earning(request, MAX_PURGE_BYTES);
            return self.purge.call(request);
        }
        if path.starts_with(FLEET_PATHS) {
            let request = earning(request, MAX_ADMIN_BYTES);
            return self.fleet.call(request);
        }
        let doors = self.state.doors.get();
        if let Some(words) = doors.and_then(|doors| doors.elsewhere(doors::Door::Admin, path)) {
            let refused = Status::unimplemented(words).into_http();
            return Box::pin(async move { Ok(refused) });
        }
        let request = earning(request, MAX_OTHER_BYTES);
        let answered = Service::call(&mut self.others, request);
        Box::pin(async move { answered.await.map(|response| response.map(Body::new)) })
    }
}

/// Reflection of what this door serves.
fn reflection() -> axum::Router {
    let mut routes = Routes::builder();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .with_service_name("grpc.reflection.v1.ServerReflection")
        .with_service_name("tradewind.v1.TopologyService")
        .with_service_name("tradewind.v1.PolicyService")
        .with_service_name("tradewind.v1.RolloutService")
        .with_service_name("tradewind.v1.AdminService")
        .with_service_name("tradewind.v1.PurgeService")
        .with_service_name("tradewind.v1.FleetService")
        .build_v1();
    match reflection {
        Ok(reflection) => {
            routes.add_service(reflection.max_decoding_message_size(MAX_OTHER_BYTES));
        }
        Err(error) => tracing::warn!(%error, "reflection is not served on the admin door"),
    }
    routes.routes().into_axum_router()
}
