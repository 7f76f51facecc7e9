//! `serve`: starts every part, waits for a signal, and ends every part.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;
use tower::Service;

use super::audit::Audit;
use super::clock;
use super::debug;
use super::grpc::{self, Decider};
use super::listen::ListenError;
use super::listen::counters::GateCounters;
use super::listen::gate::{Door, DrainReport, Gate};
use super::listen::http1::{self, Http1Door, Http1Limits};
use super::listen::limits::{GateLimits, Limits};
use super::listen::socket::{Endpoint, Listener};
use super::listen::worker::Workers;
use super::metrics::{DecisionCounters, Sources};
use super::settings::Settings;
use super::state::State;
use super::watch::Watch;
use super::wire;
use super::wire::proto::server::decision_service_server::DecisionServiceServer;
use super::writer::{Mailbox, Writer};

/// Why serving could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A thread or runtime could not be started.
    #[error("a thread or runtime can not be started")]
    Start(#[source] io::Error),
    /// A door could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Signals can not be received.
    #[error("signals can not be received")]
    Signals(#[source] io::Error),
}

/// Where a running sidecar can be reached.
#[derive(Debug, Clone)]
pub struct Running {
    /// Where gRPC is served, with the ports the system chose.
    pub grpc: Vec<Endpoint>,
    /// Where the debug door is.
    pub debug: Endpoint,
    /// For asking the writer.
    pub mailbox: Mailbox,
    /// What is published.
    pub state: Arc<State>,
}

/// Serves until SIGTERM or SIGINT; `announce` is told where as soon as everything answers.
pub fn run(settings: Settings, announce: impl FnOnce(&Running)) -> Result<ExitCode, ServeError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Start)?;
    runtime.block_on(async {
        let shutdown = shutdown_signal()?;
        serve(settings, announce, shutdown).await
    })
}

/// Serves until `shutdown` completes.
pub async fn serve(
    settings: Settings,
    announce: impl FnOnce(&Running),
    shutdown: impl Future<Output = ()>,
) -> Result<ExitCode, ServeError> {
    let state = Arc::new(State::default());
    let (mut writer, mailbox) = Writer::new(&settings, Arc::clone(&state));
    // Watched before they are read: a change in between would be seen by the slow poll only.
    let files: Vec<_> = [&settings.policy, &settings.topology]
        .into_iter()
        .flatten()
        .chain(&settings.geo)
        .cloned()
        .collect();
    let watch = Watch::start(&files, mailbox.clone());
    writer.load();
    let writer = writer.spawn().map_err(ServeError::Start)?;
    let (audit, samples) = Audit::new(settings.decisions_kept);
    let keeper = tokio::spawn(Arc::clone(&audit).keep_all(samples));
    let reloader = tokio::spawn(reload_on_signal(
        mailbox.clone(),
        Duration::from_millis(settings.poll.as_ms()),
    ));

    let counters_of_workers: Vec<Arc<DecisionCounters>> =
        (0..settings.workers).map(|_| Arc::default()).collect();
    let (gate, endpoints) = open_gate(&settings, &state, &audit, &counters_of_workers).await?;
    let debug_door = DebugDoor::open(&settings, |counters| Sources {
        state: Arc::clone(&state),
        workers: counters_of_workers,
        gate: gate.counters(),
        debug: counters,
        audit,
    })
    .await?;

    announce(&Running {
        grpc: endpoints,
        debug: debug_door.endpoint.clone(),
        mailbox: mailbox.clone(),
        state: Arc::clone(&state),
    });
    shutdown.await;

    tracing::info!("draining");
    mailbox.draining();
    let report = gate.drain().await;
    tracing::info!(
        drained = report.drained,
        cut = report.cut,
        took_ms = report.took.as_millis(),
        "drained"
    );
    debug_door.close().await;
    drop(watch);
    reloader.abort();
    keeper.abort();
    mailbox.stop();
    drop(tokio::task::spawn_blocking(move || writer.join()).await);
    Ok(ExitCode::SUCCESS)
}

/// The debug door, served by a task of the control runtime.
struct DebugDoor {
    endpoint: Endpoint,
    close: oneshot::Sender<()>,
    task: JoinHandle<DrainReport>,
}

impl DebugDoor {
    async fn open(
        settings: &Settings,
        sources: impl FnOnce(Arc<GateCounters>) -> Sources,
    ) -> Result<Self, ListenError> {
        if !settings.debug.ip().is_loopback() {
            tracing::warn!(address = %settings.debug, "the debug door is open to the network, it has no access control");
        }
        let listener = Listener::bind(&Endpoint::Tcp(settings.debug)).await?;
        let endpoint = listener.endpoint().clone();
        let counters = Arc::new(GateCounters::new(0));
        let pages = debug::router(sources(Arc::clone(&counters)));
        let door = Http1Door {
            listener,
            limits: Http1Limits::default(),
            counters,
        };
        let (close, closed) = oneshot::channel::<()>();
        let task = tokio::spawn(http1::serve_http1(door, pages, async move {
            drop(closed.await);
        }));
        Ok(Self {
            endpoint,
            close,
            task,
        })
    }

    async fn close(self) {
        drop(self.close);
        drop(self.task.await);
    }
}

/// Opens the gRPC doors on the workers.
async fn open_gate(
    settings: &Settings,
    state: &Arc<State>,
    audit: &Arc<Audit>,
    counters: &[Arc<DecisionCounters>],
) -> Result<(Gate, Vec<Endpoint>), ListenError> {
    let limits = GateLimits {
        max_connections: settings.max_connections,
        drain_deadline: Duration::from_millis(settings.drain_deadline.as_ms()),
        ..GateLimits::default()
    };
    let mut gate = Gate::new(Workers::start(settings.workers)?, limits);
    // Process id and start time: enough to tell apart the processes whose decisions one may look up together.
    let instance = u64::from(std::process::id()) ^ clock::unix_ms();
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(report_health(reporter, state.ready.subscribe()));
    let mut endpoints = Vec::new();
    for endpoint in &settings.listen {
        let limits = match endpoint {
            Endpoint::Tcp(_) => Limits::network(),
            Endpoint::Unix(_) => Limits::trusted(),
        };
        let door = Door {
            endpoint: endpoint.clone(),
            limits,
            streaming: is_streaming,
            names_peer: |_path| false,
        };
        let opened = gate
            .open(door, |worker| {
                let own = counters.get(worker.0).map_or_else(Arc::default, Arc::clone);
                let decider = Decider::new(
                    Arc::clone(state),
                    own,
                    Arc::clone(audit),
                    (instance, worker.0),
                );
                Services::new(&decider, health.clone())
            })
            .await?;
        endpoints.push(opened);
    }
    Ok((gate, endpoints))
}

/// All gRPC services of one worker. Decisions are told by their path before the router is asked: it costs half a
/// microsecond a call.
#[derive(Clone)]
struct Services {
    /// Every deciding method but the batch, with small messages.
    single: DecisionServiceServer<Decider>,
    batch: DecisionServiceServer<Decider>,
    others: axum::Router,
}

impl Services {
    fn new(decider: &Decider, health: HealthServer<impl Health>) -> Self {
        let server = |max_request: usize, max_answer: usize| {
            DecisionServiceServer::new(decider.clone())
                .max_decoding_message_size(max_request)
                .max_encoding_message_size(max_answer)
        };
        Self {
            single: server(grpc::MAX_QUERY_BYTES, grpc::MAX_ANSWER_BYTES),
            batch: server(grpc::MAX_BATCH_BYTES, grpc::MAX_BATCH_BYTES),
            others: others(health),
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
        match request.uri().path().strip_prefix(DECISION_PATHS) {
            Some("DecideBatch") => return self.batch.call(request),
            Some(_) => return self.single.call(request),
            None => {}
        }
        let answered = Service::call(&mut self.others, request);
        Box::pin(async move { answered.await.map(|response| response.map(Body::new)) })
    }
}

/// Health and reflection.
fn others(health: HealthServer<impl Health>) -> axum::Router {
    let mut routes = Routes::builder();
    routes.add_service(health);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    match reflection {
        Ok(reflection) => drop(routes.add_service(reflection)),
        Err(error) => tracing::warn!(%error, "reflection is not served"),
    }
    routes.routes().into_axum_router()
}

/// Keeps gRPC health in step with readiness, for as long as the state lives.
async fn report_health(reporter: HealthReporter, mut ready: watch::Receiver<bool>) {
    reporter
        .set_service_status("liveness", ServingStatus::Serving)
        .await;
    loop {
        let status = if *ready.borrow_and_update() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in ["", "readiness", "tradewind.v1.DecisionService"] {
            reporter.set_service_status(service, status).await;
        }
        if ready.changed().await.is_err() {
            return;
        }
    }
}

/// What the paths of the decision service begin with.
const DECISION_PATHS: &str = "/tradewind.v1.DecisionService/";

/// Whether calls of this path live as long as their streams.
fn is_streaming(path: &str) -> bool {
    matches!(
        path,
        "/tradewind.v1.DecisionService/DecideStream"
            | "/grpc.health.v1.Health/Watch"
            | "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    )
}

/// Asks the writer to look again on SIGHUP and every `poll`.
async fn reload_on_signal(mailbox: Mailbox, poll: Duration) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    loop {
        let signalled = async {
            match hangup.as_mut() {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = signalled => tracing::info!("told to look at the files again"),
            () = tokio::time::sleep(poll) => {}
        }
        mailbox.look_again();
    }
}

/// Completes at the first SIGTERM or SIGINT.
fn shutdown_signal() -> Result<impl Future<Output = ()>, ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
