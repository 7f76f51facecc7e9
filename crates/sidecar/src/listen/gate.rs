//! The gate: listening sockets on the control runtime, connections on the workers, and the way out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time;

use super::ListenError;
use super::accept::Acceptor;
use super::connection::Http2Host;
use super::counters::{self, GateCounters, Timed};
use super::drain::DrainReport;
use super::entrance::Entrance;
use super::guard::CallTerms;
use super::http1::{Http1Host, Http1Limits, HttpService};
use super::limits::{self, GateLimits, Limits};
use super::porter::{Host, Porter, SecureDoor, Shared};
use super::service::WorkerService;
use super::socket::{Endpoint, Listener};
use super::tls::Speaks;
use super::warden::Phase;
use super::worker::{WorkerIndex, Workers};
use crate::clock;

/// Time for cut connections to notice, and for workers to leave their threads.
const CUT_PATIENCE: Duration = Duration::from_millis(500);

/// One surface: where it listens and under which limits. A door serves one service, so surfaces that
/// must not share a port get a door each.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where to listen.
    pub endpoint: Endpoint,
    /// Bounds of its connections and calls.
    pub limits: Limits,
    /// Who may do what at it, and what those are told that speak HTTP/1.
    pub entrance: Entrance,
}

/// One HTTP/1.1 surface on the workers.
#[derive(Clone, Debug)]
pub struct PlainDoor {
    /// Where to listen.
    pub endpoint: Endpoint,
    /// Bounds of its connections and requests. Those of the door as a whole (connections, pause after errors, deadline of
    /// the drain) are the gate's.
    pub limits: Http1Limits,
    /// Who may do what at it, and what those are told that speak HTTP/2.
    pub entrance: Entrance,
}

/// The accept gate. Dropping it cuts everything at once; [`Gate::drain`] is the polite way.
///
/// ```
/// use tradewind_sidecar::listen::entrance::{Entrance, Method};
/// use tradewind_sidecar::listen::gate::{Door, Gate};
/// use tradewind_sidecar::listen::limits::{GateLimits, Limits};
/// use tradewind_sidecar::listen::socket::Endpoint;
/// use tradewind_sidecar::listen::worker::Workers;
///
/// # let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # control.block_on(async {
/// let mut gate = Gate::new(Workers::start(2)?, GateLimits::default());
/// let door = Door {
///     endpoint: Endpoint::Tcp(([127, 0, 0, 1], 0).into()),
///     limits: Limits { max_concurrent_streams: 256, ..Limits::trusted() },
///     entrance: Entrance {
///         methods: |path| Method { is_streaming: path.ends_with("/DecideStream"), ..Method::OPEN },
///         ..Entrance::open()
///     },
/// };
/// // One service for each worker: a generated tonic server, or several in `tonic::service::Routes`.
/// let listening = gate.open(door, |_worker| tonic::service::Routes::default().prepare()).await?;
/// println!("listening on {listening}");
/// // At shutdown:
/// let report = gate.drain().await;
/// assert_eq!(report.cut, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    workers: Arc<Workers>,
    doors: Vec<JoinHandle<()>>,
    timed: Timed,
    phase: watch::Sender<Phase>,
}

impl Gate {
    /// A gate over `workers`, with no door yet. Connections are capped further if the process may not
    /// open enough files.
    pub fn new(workers: Workers, limits: GateLimits) -> Self {
        let fitted =
            limits::descriptor_limit().map_or(limits, |descriptors| limits.fitted_to(descriptors));
        if fitted != limits {
            tracing::warn!(
                wanted = limits.max_connections,
                allowed = fitted.max_connections,
                "fewer connections than wanted: the limit on open files is low"
            );
        }
        Self::over(Arc::new(workers), fitted)
    }

    /// Another gate over the same workers, with limits and counters of its own: for doors whose connections must not
    /// take the place of others. Give it limits that fit ([`limits::fit_together`]). Both gates must be drained; the
    /// one that is done last stops the workers.
    #[must_use]
    pub fn beside(&self, limits: GateLimits) -> Self {
        Self::over(Arc::clone(&self.workers), limits)
    }

    fn over(workers: Arc<Workers>, limits: GateLimits) -> Self {
        Self {
            shared: Arc::new(Shared::new(limits, workers.runtimes())),
            workers,
            doors: Vec::new(),
            timed: Timed::Some,
            phase: watch::Sender::new(Phase::Serving),
        }
    }

    /// The same gate, which times every call: for doors where a call costs more than a look at the clock.
    #[must_use]
    pub fn timing_all(self) -> Self {
        Self {
            timed: Timed::All,
            ..self
        }
    }

    /// What has been counted so far, for as long as the caller likes.
    pub fn counters(&self) -> Arc<GateCounters> {
        Arc::clone(&self.shared.counters)
    }

    /// The limits in force, the cap on connections lowered to what open files allow.
    pub fn limits(&self) -> GateLimits {
        self.shared.limits
    }

    /// Binds `door` and starts to accept; returns where it listens, with the port the system chose.
    ///
    /// `service` is called here once for each worker. Call it on the control runtime, which accepts.
    pub async fn open<S, F>(&mut self, door: Door, mut service: F) -> Result<Endpoint, ListenError>
    where
        S: WorkerService,
        F: FnMut(WorkerIndex) -> S,
    {
        let counters = &self.shared.counters;
        let share = self.shared.limits.max_in_flight / self.workers.count();
        let hosts = counters
            .workers
            .iter()
            .enumerate()
            .map(|(index, gauges)| Http2Host {
                service: service(WorkerIndex(index)),
                limits: door.limits,
                calls: Arc::new(CallTerms {
                    request_deadline: door.limits.request_deadline,
                    methods: door.entrance.methods,
                    own_calls: u64::from(door.limits.own_calls),
                    max_in_flight: u64::try_from(share.max(1)).unwrap_or(u64::MAX),
                    timed: self.timed,
                    counters: Arc::clone(counters),
                    gauges: Arc::clone(gauges),
                }),
                signpost: door.entrance.signpost.clone(),
            });
        let hosts = hosts.collect();
        let way = (&door.endpoint, door.entrance, Speaks::Http2);
        self.receive(way, hosts).await
    }

    /// Like [`Gate::open`], for HTTP/1.1. A worker's connections have one request in flight each, so the gate's bound on
    /// connections is the bound on requests too.
    pub async fn open_http1<S, F>(
        &mut self,
        door: PlainDoor,
        mut service: F,
    ) -> Result<Endpoint, ListenError>
    where
        S: HttpService,
        F: FnMut(WorkerIndex) -> S,
    {
        let counters = &self.shared.counters;
        let workers = counters.workers.iter().enumerate();
        let hosts = workers.map(|(index, gauges)| Http1Host {
            service: service(WorkerIndex(index)),
            limits: door.limits,
            methods: door.entrance.methods,
            counters: Arc::clone(counters),
            gauges: Arc::clone(gauges),
            signpost: door.entrance.signpost.clone(),
        });
        let hosts = hosts.collect();
        let way = (&door.endpoint, door.entrance, Speaks::Http1);
        self.receive(way, hosts).await
    }

    /// Binds a door and starts to accept for these hosts, one for each worker.
    async fn receive<H: Host>(
        &mut self,
        (endpoint, entrance, speaks): (&Endpoint, Entrance, Speaks),
        hosts: Vec<H>,
    ) -> Result<Endpoint, ListenError> {
        let listener = Listener::bind(endpoint).await?;
        let endpoint = listener.endpoint().clone();
        if matches!(endpoint, Endpoint::Unix(_)) {
            self.shared.seats.keep_for_unix();
        }
        let porter = Porter {
            hosts,
            shared: Arc::clone(&self.shared),
            tls: SecureDoor::of(&entrance, speaks, &self.shared.counters),
            access: entrance.access,
            phase: self.phase.subscribe(),
        };
        let acceptor = Acceptor::new(listener, self.shared.limits.accept_backoff);
        self.doors.push(tokio::spawn(porter.admit_all(acceptor)));
        tracing::info!(%endpoint, "listening");
        Ok(endpoint)
    }

    /// Stops accepting, asks every connection to leave, waits for calls in flight up to the drain
    /// deadline, cuts what is left and stops the workers, unless another gate still needs them.
    pub async fn drain(self) -> DrainReport {
        let started = clock::timer_now();
        let counters = &self.shared.counters;
        self.phase.send_replace(Phase::Closing);
        for door in self.doors {
            // A door's task ends by itself now; it has nothing to say.
            drop(door.await);
        }
        let open = counters::read(&counters.open);
        self.phase.send_replace(Phase::Draining);
        let deadline = started + self.shared.limits.drain_deadline;
        if time::timeout_at(deadline, self.shared.emptied())
            .await
            .is_err()
        {
            self.phase.send_replace(Phase::Cutting);
            // Connections of a blocked worker cannot notice; they are counted as cut below.
            drop(time::timeout(CUT_PATIENCE, self.shared.emptied()).await);
        }
        let cut = counters::read(&counters.cut) + counters::read(&counters.open);
        counters
            .drained
            .store(open.saturating_sub(cut), Ordering::Relaxed);
        // While another gate over the same workers has not drained, they must run on.
        let workers_stuck = match Arc::into_inner(self.workers) {
            Some(workers) => {
                let stopped = tokio::task::spawn_blocking(move || workers.stop(CUT_PATIENCE));
                stopped.await.unwrap_or(0)
            }
            None => 0,
        };
        DrainReport {
            drained: counters::read(&counters.drained),
            cut,
            workers_stuck,
            took: started.elapsed(),
        }
    }
}
