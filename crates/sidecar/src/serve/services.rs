//! The gRPC services of each worker, and which call goes to which.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;
use tower::Service;

use super::answering::Answering;
use super::envoy::{self, EnvoyService, EnvoyServices};
use crate::clock;
use crate::decision_log::DecisionLog;
use crate::doors::earned::{Earned, earning};
use crate::doors::envoy::access_log::{AccessLogCounters, AccessLogs};
use crate::doors::envoy::authorize::Authorizer;
use crate::doors::envoy::endpoints::Endpoints;
use crate::doors::envoy::load_stats::LoadStats;
use crate::doors::envoy::metrics::EnvoySources;
use crate::doors::envoy::process::Processor;
use crate::doors::envoy::subscribers::Subscribers;
use crate::doors::grpc;
use crate::doors::http::HttpDesk;
use crate::doors::unary::{AnswerBody, Shortcut};
use crate::identity::Peers;
use crate::intake::counters::DecisionCounters;
use crate::intake::decider::Decider;
use crate::intake::explainers::Explainers;
use crate::intake::feedback::{self, Feedback};
use crate::intake::handover::Intake;
use crate::intake::recent::RecentDecisions;
use crate::intake::reporters::{Quota, Reporters};
use crate::intake::tally::ReportCounters;
use crate::state::State;
use crate::state::doors::Door;
use crate::trace::Traces;
use crate::wire;
use crate::wire::proto::server::decision_service_server::DecisionServiceServer;
use crate::wire::proto::server::feedback_service_server::FeedbackServiceServer;
use crate::wire::proto::server::telemetry_service_server::TelemetryServiceServer;

/// What the workers' services are made of.
pub(super) struct Desks {
    pub(super) state: Arc<State>,
    recent: Arc<RecentDecisions>,
    /// Where decisions are written down, if anywhere.
    pub(super) log: Option<Arc<DecisionLog>>,
    /// Where spans are made of decisions, if anywhere.
    pub(super) traces: Option<Arc<Traces>>,
    /// What workers hand to the writer.
    pub(super) intake: Arc<Intake>,
    pub(super) reporters: Arc<Reporters>,
    explainers: Arc<Explainers>,
    /// Names this process in the ids of its decisions.
    instance: u16,
    /// One for each worker.
    pub(super) decisions: Vec<Arc<DecisionCounters>>,
    /// One for each worker.
    pub(super) reports: Vec<Arc<ReportCounters>>,
    /// What Envoys told and were told.
    pub(super) envoys: EnvoySources,
}

impl Desks {
    pub(super) fn new(
        workers: usize,
        (state, recent): (&Arc<State>, &Arc<RecentDecisions>),
        trusted: Vec<Peers>,
    ) -> Self {
        // Process id and start time: enough to tell apart the processes whose decisions one may look up together.
        let [.., high, low] = (u64::from(std::process::id()) ^ clock::unix_ms()).to_be_bytes();
        Self {
            state: Arc::clone(state),
            recent: Arc::clone(recent),
            log: None,
            traces: None,
            intake: Arc::new(Intake::new(workers)),
            reporters: Arc::new(Reporters::new(Quota::default(), trusted)),
            explainers: Arc::default(),
            instance: u16::from_be_bytes([high, low]),
            decisions: (0..workers).map(|_| Arc::default()).collect(),
            reports: (0..workers).map(|_| Arc::default()).collect(),
            envoys: EnvoySources {
                access_logs: (0..workers).map(|_| Arc::default()).collect(),
                subscribers: Arc::new(Subscribers::default()),
            },
        }
    }

    /// What a worker's services are made of. To be called once for each worker: every door it serves has clones of the
    /// same, so that its decisions are numbered once.
    pub(super) fn desk(&self, worker: usize) -> Desk {
        let state = || Arc::clone(&self.state);
        let handover = || self.intake.handover(worker);
        let (decisions, reports) = (self.decisions.get(worker), self.reports.get(worker));
        let decider = Decider::new(
            state(),
            decisions.map_or_else(Arc::default, Arc::clone),
            Arc::clone(&self.recent),
            handover(),
            (self.instance, worker),
        )
        .explaining_to(Arc::clone(&self.explainers))
        .logging(self.log.clone())
        .tracing(self.traces.clone());
        let feedback = Feedback::new(
            state(),
            Arc::clone(&self.reporters),
            (handover(), reports.map_or_else(Arc::default, Arc::clone)),
            Arc::clone(&self.recent),
            self.instance,
        );
        let logged = self.envoys.access_logs.get(worker);
        Desk {
            state: state(),
            decider,
            feedback,
            logged: logged.map_or_else(Arc::default, Arc::clone),
            subscribers: Arc::clone(&self.envoys.subscribers),
        }
    }
}

/// What all services of one worker are made of.
pub(super) struct Desk {
    state: Arc<State>,
    decider: Decider,
    feedback: Feedback,
    logged: Arc<AccessLogCounters>,
    subscribers: Arc<Subscribers>,
}

impl Desk {
    /// The gRPC services.
    pub(super) fn services(&self, health: &HealthServer<impl Health>) -> Services {
        let state = Arc::clone(&self.state);
        let health = health.clone();
        Services::new(&self.decider, &self.feedback, self.envoys(), health, state)
    }

    /// Envoy's own services.
    fn envoys(&self) -> EnvoyServices {
        let state = || Arc::clone(&self.state);
        let (decider, told) = (&self.decider, &self.feedback);
        EnvoyServices::new(
            (
                Authorizer::new(decider.clone()),
                Processor::new(decider.clone(), told.clone()),
            ),
            (
                AccessLogs::new(state(), told.clone(), Arc::clone(&self.logged)),
                LoadStats::new(state(), told.clone()),
            ),
            &Endpoints::new(state(), Arc::clone(&self.subscribers)),
        )
    }

    /// The plain HTTP service.
    pub(super) fn http(&self) -> HttpDesk {
        let state = Arc::clone(&self.state);
        HttpDesk::new(self.decider.clone(), self.feedback.clone(), state)
    }
}

/// All gRPC services of one worker. Decisions are told by their path before the router is asked: it costs half a
/// microsecond a call.
///
/// Every call has a clone of its own, so this is one pointer.
#[derive(Clone)]
pub(super) struct Services(Arc<All>);

struct All {
    /// Every deciding method but the batch, with small messages.
    single: Shortcut<Decider, DecisionServiceServer<Decider>>,
    batch: DecisionServiceServer<Decider>,
    follow: DecisionServiceServer<Decider>,
    feedback: FeedbackServiceServer<Feedback>,
    telemetry: TelemetryServiceServer<Feedback>,
    envoys: EnvoyServices,
    others: axum::Router,
    /// Knows the other doors.
    state: Arc<State>,
}

impl Services {
    fn new(
        decider: &Decider,
        told: &Feedback,
        envoys: EnvoyServices,
        health: HealthServer<impl Health>,
        state: Arc<State>,
    ) -> Self {
        let server = |max_request: usize, max_answer: usize| {
            DecisionServiceServer::new(decider.clone())
                .max_decoding_message_size(max_request)
                .max_encoding_message_size(max_answer)
        };
        let single = server(grpc::MAX_QUERY_BYTES, grpc::MAX_ANSWER_BYTES);
        Self(Arc::new(All {
            single: Shortcut::new(decider.clone(), single),
            batch: server(grpc::MAX_BATCH_BYTES, grpc::MAX_BATCH_BYTES),
            follow: server(grpc::MAX_QUERY_BYTES, wire::follow::MAX_STATE_BYTES),
            feedback: FeedbackServiceServer::new(told.clone())
                .max_decoding_message_size(feedback::MAX_REPORT_BYTES),
            telemetry: TelemetryServiceServer::new(told.clone())
                .max_decoding_message_size(feedback::MAX_REPORT_BYTES),
            envoys,
            others: others(health),
            state,
        }))
    }
}

impl Service<Request<Incoming>> for Services {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Answering {
        self.0.call(request)
    }
}

impl All {
    fn call(&self, request: Request<Incoming>) -> Answering {
        let path = request.uri().path();
        if let Some(method) = path.strip_prefix(DECISION_PATHS) {
            return match method {
                "DecideBatch" => {
                    let request = earning(request, grpc::MAX_BATCH_BYTES);
                    Answering::Other(self.batch.clone().call(request))
                }
                "Follow" => {
                    let request = earning(request, grpc::MAX_QUERY_BYTES);
                    Answering::Other(self.follow.clone().call(request))
                }
                _ => Answering::Decide(self.single.clone().call(request)),
            };
        }
        if let Some(service) = EnvoyService::of(path) {
            return self.envoys.call(service, request);
        }
        Answering::Other(if path.starts_with(FEEDBACK_PATHS) {
            self.feedback.clone().call(told(request))
        } else if path.starts_with(TELEMETRY_PATHS) {
            self.telemetry.clone().call(told(request))
        } else if let Some(refused) = self.elsewhere(path) {
            let refused = refused.into_http();
            Box::pin(async move { Ok(refused) })
        } else {
            let request = earning(request, MAX_OTHER_BYTES);
            let answered = Service::call(&mut self.others.clone(), request);
            Box::pin(async move { answered.await.map(|response| response.map(Body::new)) })
        })
    }

    /// What a caller of a path is told that another door serves.
    fn elsewhere(&self, path: &str) -> Option<Status> {
        let words = self.state.doors.get()?.elsewhere(Door::Grpc, path)?;
        Some(Status::unimplemented(words))
    }
}

/// A call that tells something.
fn told(request: Request<Incoming>) -> Request<Earned<Incoming>> {
    earning(request, feedback::MAX_REPORT_BYTES)
}

/// Health and reflection.
fn others(health: HealthServer<impl Health>) -> axum::Router {
    let mut routes = Routes::builder();
    routes.add_service(health.max_decoding_message_size(MAX_OTHER_BYTES));
    match reflection().build_v1() {
        Ok(reflection) => {
            routes.add_service(reflection.max_decoding_message_size(MAX_OTHER_BYTES));
        }
        Err(error) => tracing::warn!(%error, "reflection is not served"),
    }
    // Tools older than 2023 and not a few newer ones know only this name of the same service.
    match reflection().build_v1alpha() {
        Ok(reflection) => {
            routes.add_service(reflection.max_decoding_message_size(MAX_OTHER_BYTES));
        }
        Err(error) => tracing::warn!(%error, "reflection is not served as v1alpha"),
    }
    routes.routes().into_axum_router()
}

/// What reflection tells, by either of its names.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    let all = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET);
    // The descriptors are of all services; only these are served here.
    let here = SERVED_HERE.iter().chain(&envoy::NAMES);
    here.fold(all, |all, name| all.with_service_name(*name))
}

/// Keeps gRPC health in step with readiness, for as long as the state lives.
pub(super) async fn report_health(reporter: HealthReporter, mut ready: watch::Receiver<bool>) {
    reporter
        .set_service_status("liveness", ServingStatus::Serving)
        .await;
    loop {
        let status = if *ready.borrow_and_update() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        let names = [
            "",
            "readiness",
            "tradewind.v1.DecisionService",
            "tradewind.v1.FeedbackService",
            "tradewind.v1.TelemetryService",
        ];
        for service in names.into_iter().chain(envoy::NAMES) {
            reporter.set_service_status(service, status).await;
        }
        if ready.changed().await.is_err() {
            return;
        }
    }
}

/// Largest message to health and reflection, in bytes: a name.
pub(super) const MAX_OTHER_BYTES: usize = 4 << 10;

/// The services of these doors, for reflection.
const SERVED_HERE: [&str; 6] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "grpc.health.v1.Health",
    "tradewind.v1.DecisionService",
    "tradewind.v1.FeedbackService",
    "tradewind.v1.TelemetryService",
];

/// What the paths of the decision service begin with.
const DECISION_PATHS: &str = "/tradewind.v1.DecisionService/";

/// What the paths of the services that are told something begin with.
const FEEDBACK_PATHS: &str = "/tradewind.v1.FeedbackService/";
const TELEMETRY_PATHS: &str = "/tradewind.v1.TelemetryService/";
