//! `serve`: starts every part, waits for a signal, and ends every part.

mod admin;
mod answering;
mod entrances;
mod envoy;
mod manager;
pub mod methods;
mod outlets;
mod published;
mod services;
mod signalled;
mod signposts;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use self::entrances::Entrances;
use self::manager::Manager;
use self::outlets::Outlets;
use self::services::{Desk, Desks, report_health};
use self::signalled::Signalled;
use crate::clock;
use crate::doors::admin::AdminDesk;
use crate::doors::health::Seated;
use crate::fleet;
use crate::freshness::keeper;
use crate::intake::handover::Intake;
use crate::intake::recent::RecentDecisions;
use crate::intake::tally::ReportSources;
use crate::listen::ListenError;
use crate::listen::entrance::Entrance;
use crate::listen::gate::{Door, Gate, PlainDoor};
use crate::listen::http1::Http1Limits;
use crate::listen::limits::{self, GateLimits, Limits};
use crate::listen::socket::Endpoint;
use crate::listen::worker::{Beside, Workers};
use crate::log_filter::{LogFilter, Switch};
use crate::observe::debug;
use crate::observe::debug::aside::Aside;
use crate::observe::debug::stream;
use crate::observe::metrics::Sources;
use crate::observe::process::Process;
use crate::observe::recorder;
use crate::probe::Prober;
use crate::reclaim::Reclaimer;
use crate::settings::here::UnknownSite;
use crate::settings::{Granting, Settings};
use crate::state::State;
use crate::state::doors::{self, Doors};
use crate::writer::watch::Watch;
use crate::writer::{CredentialsError, Mailbox, Writer};

/// How long the writer may take to end, and how often it is looked whether it has.
const WRITER_ENDS_WITHIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);

/// How long a sidecar that begins waits for the purges of its fleet.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(2);

/// Why serving could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A thread or runtime could not be started.
    #[error("a thread or runtime cannot be started")]
    Start(#[source] io::Error),
    /// A door could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The site that the sidecar is said to be at does not exist.
    #[error(transparent)]
    Here(#[from] UnknownSite),
    /// What callers are known by cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

/// Where a running sidecar can be reached.
#[derive(Debug, Clone)]
pub struct Running {
    /// Where gRPC is served, with the ports the system chose.
    pub grpc: Vec<Endpoint>,
    /// Where plain HTTP queries are answered.
    pub http: Endpoint,
    /// Where the debug door is.
    pub debug: Endpoint,
    /// Where the services for operators are.
    pub admin: Endpoint,
    /// For asking the writer.
    pub mailbox: Mailbox,
    /// Those of the doors that speak TLS on TCP.
    pub secure: Vec<doors::Door>,
    /// What is published.
    pub state: Arc<State>,
    /// What workers hand to the writer.
    pub intake: Arc<Intake>,
}

impl Running {
    fn doors(&self) -> Doors {
        Doors {
            grpc: self.grpc.clone(),
            http: self.http.clone(),
            debug: self.debug.clone(),
            admin: self.admin.clone(),
            secure: self.secure.clone(),
        }
    }
}

/// Serves until SIGTERM or SIGINT; `log` lets operators change what is logged, and `announce` is told where as soon as
/// everything answers.
pub fn run(
    settings: Settings,
    log: Box<dyn Switch>,
    announce: impl FnOnce(&Running),
) -> Result<ExitCode, ServeError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Start)?;
    runtime.block_on(async {
        let shutdown = signalled::shutdown()?;
        let manager = Arc::new(Manager::of_environment());
        serve_for(&manager, settings, log, announce, shutdown).await
    })
}

/// Serves until `shutdown` completes.
pub async fn serve(
    settings: Settings,
    log: Box<dyn Switch>,
    announce: impl FnOnce(&Running),
    shutdown: impl Future<Output = ()>,
) -> Result<ExitCode, ServeError> {
    let nobody = Arc::default();
    serve_for(&nobody, settings, log, announce, shutdown).await
}

/// Serves until `shutdown` completes, and tells whoever manages the process how that goes.
#[expect(
    clippy::too_many_lines,
    reason = "starts every part and ends every part, in an order that is to be seen at once"
)]
async fn serve_for(
    manager: &Arc<Manager>,
    settings: Settings,
    log: Box<dyn Switch>,
    announce: impl FnOnce(&Running),
    shutdown: impl Future<Output = ()>,
) -> Result<ExitCode, ServeError> {
    let signalled = Signalled::new()?;
    let started_unix_ms = clock::unix_ms();
    let state = Arc::new(State::default());
    let (mut writer, mailbox) = Writer::new(&settings, Arc::clone(&state));
    writer.keep_log_filter(LogFilter::new(settings.log.clone(), log));
    // Watched before they are read: a change in between would be seen by the slow poll only.
    let watch = Watch::start(&files(&settings), mailbox.clone());
    writer.load();
    writer.check_here()?;
    let entrances = Entrances::of_settings(&settings)?;
    writer.keep_credentials(entrances.credentials());
    let (recent, samples) = RecentDecisions::new(settings.decisions_kept);
    let trusted = settings.trusted_reporters.clone();
    let mut desks = Desks::new(settings.workers, (&state, &recent), trusted);
    let outlets = Outlets::begin(&settings, &state, started_unix_ms)?;
    (desks.log, desks.traces) = (outlets.log(), outlets.traces());
    let (shared, asked) = settings.fleet.as_ref().map(fleet::way).unzip();
    let purges = keeper::start(&state.freshness, settings.state_dir.as_deref(), shared);
    let purges = purges.map_err(ServeError::Start)?;
    let bus = join(&settings, (&state, &mailbox), asked)?;
    let reclaimer = Reclaimer::spawn(Arc::clone(&state), settings.state_dir.as_deref());
    let reclaimer = reclaimer.map_err(ServeError::Start)?;
    let intake = Arc::clone(&desks.intake);
    writer.connect(Arc::clone(&intake), Arc::clone(&desks.reporters));
    let writer = writer.spawn().map_err(ServeError::Start)?;
    let told = mailbox.clone();
    let prober = Prober::spawn(Arc::clone(&state), move |probed| told.probed(probed));
    let prober = prober.map_err(ServeError::Start)?;
    // What is shown to people is made here: nobody who comes in waits for it.
    let pages = Beside::start("tradewind-pages").map_err(ServeError::Start)?;
    let kept = Arc::clone(&recent).keep_all(samples, Arc::clone(&state));
    let keeper = pages.runtime().spawn(kept);
    let poll = Duration::from_millis(settings.poll.as_ms());
    let told = (watch.bell(), mailbox.clone(), Arc::clone(manager));
    let reloader = tokio::spawn(signalled.serve(told, poll));

    if settings.fleet.is_some() {
        catch_up(&state).await;
    }
    let mut queries = Queries::start(&settings)?;
    let way = |door| entrances.of(door, &state);
    let endpoints = queries
        .open_grpc(&settings, (&desks, &way(doors::Door::Grpc)))
        .await?;
    let http = queries
        .open_http(&settings, (&desks, way(doors::Door::Http)))
        .await?;
    let desk = AdminDesk::new(mailbox.clone(), Arc::clone(&state), Arc::clone(&recent));
    let (admin_gate, admin) =
        admin::open(&settings, desk.clone(), way(doors::Door::Admin), &state).await?;
    let mut debug_gate = debug_gate()?;
    let sources = Sources {
        state: Arc::clone(&state),
        workers: desks.decisions,
        envoys: desks.envoys,
        reports: ReportSources {
            workers: desks.reports,
            intake: Arc::clone(&intake),
        },
        probes: Arc::clone(prober.counters()),
        gate: queries.grpc.counters(),
        http: queries.http.counters(),
        debug: debug_gate.counters(),
        admin: admin_gate.counters(),
        recent,
        spans: outlets.counters(),
        process: Process { started_unix_ms },
        moves: Arc::default(),
        streams: Arc::default(),
        hosts: settings.debug_hosts.clone().into(),
        access: Arc::clone(&entrances.access),
        desk: desk.apart(),
    };
    let looking = [
        pages.runtime().spawn(recorder::record_all(sources.clone())),
        pages.runtime().spawn(stream::encode_all(sources.clone())),
        tokio::spawn(Arc::clone(manager).keep_told(sources.clone())),
    ];
    let aside = Aside::new(debug::router(sources), pages.runtime().clone());
    let debug_door = PlainDoor {
        endpoint: Endpoint::Tcp(settings.debug),
        limits: Http1Limits::default(),
        entrance: way(doors::Door::Debug),
    };
    let opened = debug_gate.open_http1(debug_door, |_worker| aside.clone());
    let debug = opened.await?;

    let running = Running {
        grpc: endpoints,
        http,
        debug,
        admin,
        mailbox: mailbox.clone(),
        secure: entrances.secure.clone(),
        state: Arc::clone(&state),
        intake,
    };
    // Set once: this is the only place, and the state is new.
    drop(state.doors.set(running.doors()));
    announce(&running);
    manager.ready().await;
    shutdown.await;

    tracing::info!("draining");
    manager.stopping().await;
    mailbox.draining();
    tokio::join!(queries.drain(), admin_gate.drain());
    // Last, so that it can be seen how the others drain.
    debug_gate.drain().await;
    drop(watch);
    reloader.abort();
    keeper.abort();
    for task in looking {
        task.abort();
    }
    drop(pages);
    drop(tokio::task::spawn_blocking(move || prober.stop()).await);
    drop(tokio::task::spawn_blocking(|| outlets.stop()).await);
    drop(tokio::task::spawn_blocking(|| reclaimer.stop()).await);
    drop(tokio::task::spawn_blocking(|| purges.stop()).await);
    drop(tokio::task::spawn_blocking(|| bus.map(fleet::Running::stop)).await);
    end_writer(&mailbox, &writer).await;
    Ok(ExitCode::SUCCESS)
}

/// Tells the writer to end and waits, but not for ever: a file system that hangs may hold it.
async fn end_writer(mailbox: &Mailbox, writer: &thread::JoinHandle<()>) {
    let deadline = clock::now() + WRITER_ENDS_WITHIN;
    let mut is_told = false;
    while !writer.is_finished() {
        is_told = is_told || mailbox.stop();
        if clock::now() >= deadline {
            tracing::error!("the writer does not end, and is left behind");
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Goes to the bus of the fleet, where there is one.
fn join(
    settings: &Settings,
    (state, mailbox): (&Arc<State>, &Mailbox),
    asked: Option<fleet::Asked>,
) -> Result<Option<fleet::Running>, ServeError> {
    let Some((membership, asked)) = settings.fleet.clone().zip(asked) else {
        return Ok(None);
    };
    let kept = (Arc::clone(&state.freshness), settings.state_dir.as_deref());
    let mut bus = fleet::start(membership, kept, asked).map_err(ServeError::Start)?;
    if let Some(orders) = bus.orders.take() {
        // It ends with the bus, whose orders it takes.
        drop(tokio::spawn(published::obey(orders, mailbox.clone())));
    }
    // Set once: this is the only place, and the state is new.
    drop(state.members.set(Arc::clone(&bus.fleet)));
    Ok(Some(bus))
}

/// Waits until what the fleet purged is in force here, so that nobody is answered by less; not for long: a sidecar whose bus is
/// away serves all the same.
async fn catch_up(state: &State) {
    let caught_up = state.freshness.caught_up();
    if tokio::time::timeout(CATCHES_UP_WITHIN, caught_up)
        .await
        .is_err()
    {
        tracing::warn!(
            "what the fleet purged was not heard within {CATCHES_UP_WITHIN:?}: this sidecar begins with what it knows itself"
        );
    }
}

/// Every file that the settings name.
fn files(settings: &Settings) -> Vec<PathBuf> {
    let documents = [&settings.policy, &settings.topology];
    let documents = documents.into_iter().flatten();
    let tls = settings.tls.iter().flat_map(|tls| tls.files.all());
    let secrets = tls.chain(&settings.tokens);
    let granting = settings.granting.iter().filter_map(Granting::path);
    documents
        .chain(&settings.geo)
        .chain(secrets)
        .cloned()
        .chain(granting.map(Path::to_owned))
        .collect()
}

/// A gate for the debug door, with a worker of its own: whoever shakes hands there without end, or asks for the dearest pages,
/// keeps neither what accepts connections waiting nor those who ask where requests go.
fn debug_gate() -> Result<Gate, ListenError> {
    let limits = GateLimits {
        max_connections: Http1Limits::default().max_connections,
        ..GateLimits::default()
    };
    Ok(Gate::new(Workers::start(1)?, limits))
}

/// The doors that proxies ask at, on the workers: gRPC, and plain HTTP with connections of its own number.
struct Queries {
    grpc: Gate,
    http: Gate,
    /// By worker: both gates have clones of the same.
    workers: BTreeMap<usize, Desk>,
}

impl Queries {
    /// Lets calls in flight finish, and says how that went.
    async fn drain(self) {
        let (grpc, http) = tokio::join!(self.grpc.drain(), self.http.drain());
        tracing::info!(
            drained = grpc.drained + http.drained,
            cut = grpc.cut + http.cut,
            took_ms = grpc.took.max(http.took).as_millis(),
            "drained"
        );
    }

    fn start(settings: &Settings) -> Result<Self, ListenError> {
        let drain_deadline = Duration::from_millis(settings.drain_deadline.as_ms());
        let limits = |max_connections| GateLimits {
            max_connections,
            max_in_flight: settings.max_calls,
            drain_deadline,
            ..GateLimits::default()
        };
        let wanted = [
            settings.max_connections,
            Http1Limits::query().max_connections,
        ]
        .map(limits);
        let descriptors = limits::descriptor_limit();
        let [grpc, http] = descriptors.map_or(wanted, |files| limits::fit_together(wanted, files));
        if [grpc, http] != wanted {
            tracing::warn!(
                grpc = grpc.max_connections,
                http = http.max_connections,
                "fewer connections than wanted: the limit on open files is low"
            );
        }
        let gate = Gate::new(Workers::start(settings.workers)?, grpc);
        Ok(Self {
            http: gate.beside(http),
            grpc: gate,
            workers: BTreeMap::new(),
        })
    }

    async fn open_grpc(
        &mut self,
        settings: &Settings,
        (desks, entrance): (&Desks, &Entrance),
    ) -> Result<Vec<Endpoint>, ListenError> {
        let reporter = HealthReporter::new();
        let health = HealthService::from_health_reporter(reporter.clone());
        let health = HealthServer::new(Seated::new(health, Arc::clone(&desks.state)));
        tokio::spawn(report_health(reporter, desks.state.ready.subscribe()));
        let mut endpoints = Vec::new();
        for endpoint in &settings.listen {
            let door = Door {
                endpoint: endpoint.clone(),
                limits: match endpoint {
                    Endpoint::Tcp(_) => Limits::network(),
                    Endpoint::Unix(_) => Limits::trusted(),
                },
                entrance: entrance.clone(),
            };
            let workers = &mut self.workers;
            let opened = self.grpc.open(door, |worker| {
                let desk = workers.entry(worker.0);
                let desk = desk.or_insert_with(|| desks.desk(worker.0));
                desk.services(&health)
            });
            endpoints.push(opened.await?);
        }
        Ok(endpoints)
    }

    async fn open_http(
        &mut self,
        settings: &Settings,
        (desks, entrance): (&Desks, Entrance),
    ) -> Result<Endpoint, ListenError> {
        let door = PlainDoor {
            endpoint: settings.http.clone(),
            limits: Http1Limits::query(),
            entrance,
        };
        let workers = &mut self.workers;
        let opened = self.http.open_http1(door, |worker| {
            let desk = workers.entry(worker.0);
            desk.or_insert_with(|| desks.desk(worker.0)).http()
        });
        opened.await
    }
}
