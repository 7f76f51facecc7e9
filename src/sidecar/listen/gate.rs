//! The gate: listening sockets on the control runtime, connections on the workers, and the way out.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{self, Instant};

use super::ListenError;
use super::accept::Acceptor;
use super::connection::{self, ConnectionTerms};
use super::counters::{self, GateCounters, WorkerGauges};
use super::guard::CallTerms;
use super::limits::{self, GateLimits, Limits};
use super::service::WorkerService;
use super::socket::{Accepted, Endpoint, Listener};
use super::warden::Phase;
use super::worker::{WorkerIndex, Workers};

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
    /// Says of a request path (`/package.Service/Method`) that it streams. Such calls have no request
    /// deadline; the keepalive bounds how long a dead peer can hold one.
    pub streaming: fn(&str) -> bool,
    /// Says of a request path that its service wants to know who asks: the request's extensions then hold a
    /// [`Peer`](super::socket::Peer). Not for every path, because that costs an allocation.
    pub names_peer: fn(&str) -> bool,
}

/// The accept gate. Dropping it cuts everything at once; [`Gate::drain`] is the polite way.
///
/// ```
/// use tradewind::sidecar::listen::gate::{Door, Gate};
/// use tradewind::sidecar::listen::limits::{GateLimits, Limits};
/// use tradewind::sidecar::listen::socket::Endpoint;
/// use tradewind::sidecar::listen::worker::Workers;
///
/// # let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # control.block_on(async {
/// let mut gate = Gate::new(Workers::start(2)?, GateLimits::default());
/// let door = Door {
///     endpoint: Endpoint::Tcp(([127, 0, 0, 1], 0).into()),
///     limits: Limits { max_concurrent_streams: 256, ..Limits::trusted() },
///     streaming: |path| path.ends_with("/DecideStream"),
///     names_peer: |_path| false,
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
    workers: Workers,
    doors: Vec<JoinHandle<()>>,
    phase: watch::Sender<Phase>,
}

/// What the doors share.
#[derive(Debug)]
struct Shared {
    limits: GateLimits,
    counters: Arc<GateCounters>,
    runtimes: Vec<Handle>,
    /// Where the search for the least busy worker starts, so that ties go round.
    cursor: AtomicUsize,
    /// Numbers the connections.
    serial: AtomicU64,
    /// Told when the last connection ends.
    empty: Notify,
}

/// What [`Gate::drain`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that finished by themselves after the drain began.
    pub drained: u64,
    /// Connections cut at the deadline, with calls in flight or a peer that did not read.
    pub cut: u64,
    /// Worker threads that were still busy at the end, in a service that blocks; they end with the process.
    pub workers_stuck: usize,
    /// How long it took.
    pub took: Duration,
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
        let shared = Arc::new(Shared {
            limits: fitted,
            counters: Arc::new(GateCounters::new(workers.count())),
            runtimes: workers.runtimes(),
            cursor: AtomicUsize::new(0),
            serial: AtomicU64::new(0),
            empty: Notify::new(),
        });
        Self {
            shared,
            workers,
            doors: Vec::new(),
            phase: watch::Sender::new(Phase::Serving),
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
        let listener = Listener::bind(&door.endpoint).await?;
        let endpoint = listener.endpoint().clone();
        let counters = &self.shared.counters;
        let share = self.shared.limits.max_in_flight / self.workers.count();
        let desks = counters
            .workers
            .iter()
            .zip(&self.shared.runtimes)
            .enumerate();
        let desks = desks.map(|(index, (gauges, runtime))| Desk {
            service: service(WorkerIndex(index)),
            runtime: runtime.clone(),
            calls: Arc::new(CallTerms {
                request_deadline: door.limits.request_deadline,
                streaming: door.streaming,
                names_peer: door.names_peer,
                max_in_flight: u64::try_from(share.max(1)).unwrap_or(u64::MAX),
                counters: Arc::clone(counters),
                gauges: Arc::clone(gauges),
            }),
        });
        let porter = Porter {
            desks: desks.collect(),
            limits: door.limits,
            shared: Arc::clone(&self.shared),
            phase: self.phase.subscribe(),
        };
        let acceptor = Acceptor::new(listener, self.shared.limits.accept_backoff);
        self.doors.push(tokio::spawn(porter.admit_all(acceptor)));
        tracing::info!(%endpoint, "listening");
        Ok(endpoint)
    }

    /// Stops accepting, asks every connection to leave, waits for calls in flight up to the drain
    /// deadline, cuts what is left and stops the workers.
    pub async fn drain(self) -> DrainReport {
        let started = Instant::now();
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
        let workers = self.workers;
        let stopped = tokio::task::spawn_blocking(move || workers.stop(CUT_PATIENCE));
        DrainReport {
            drained: counters::read(&counters.drained),
            cut,
            workers_stuck: stopped.await.unwrap_or(0),
            took: started.elapsed(),
        }
    }
}

impl Shared {
    /// Waits until no connection is open.
    async fn emptied(&self) {
        while counters::read(&self.counters.open) > 0 {
            self.empty.notified().await;
        }
    }

    /// The worker with the fewest open connections; among equals, the next in turn.
    fn least_busy(&self) -> usize {
        let gauges = &self.counters.workers;
        let first = self.cursor.fetch_add(1, Ordering::Relaxed) % gauges.len().max(1);
        let turn = (first..gauges.len()).chain(0..first);
        let open = |index: &usize| {
            gauges
                .get(*index)
                .map(|worker| counters::read(&worker.open))
        };
        turn.min_by_key(open).unwrap_or(0)
    }
}

/// A worker as one door sees it.
#[derive(Debug)]
struct Desk<S> {
    service: S,
    runtime: Handle,
    calls: Arc<CallTerms>,
}

/// Takes the connections of one door to the workers.
#[derive(Debug)]
struct Porter<S> {
    desks: Vec<Desk<S>>,
    limits: Limits,
    shared: Arc<Shared>,
    /// Never marked as seen beyond [`Phase::Serving`], so that each connection's copy sees the change.
    phase: watch::Receiver<Phase>,
}

impl<S: WorkerService> Porter<S> {
    async fn admit_all(self, mut acceptor: Acceptor) {
        let mut phase = self.phase.clone();
        let counters = Arc::clone(&self.shared.counters);
        loop {
            tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
                accepted = acceptor.next(&counters.accept_errors) => self.admit(accepted),
            }
        }
    }

    fn admit(&self, accepted: Accepted) {
        let counters = &self.shared.counters;
        counters::count(&counters.accepted);
        let index = self.shared.least_busy();
        let Some(desk) = self.desks.get(index) else {
            return;
        };
        let Some(visit) = Visit::begin(&self.shared, &desk.calls.gauges) else {
            counters::count(&counters.refused_cap);
            return;
        };
        // A socket error here and below means that the peer is gone already.
        let Some(peer) = accepted.peer() else {
            return;
        };
        let terms = ConnectionTerms {
            peer,
            limits: self.limits,
            serial: self.shared.serial.fetch_add(1, Ordering::Relaxed),
            phase: self.phase.clone(),
            calls: Arc::clone(&desk.calls),
        };
        let service = desk.service.clone();
        match accepted {
            Accepted::Tcp(stream) => {
                if let Ok(stream) = stream.set_nodelay(true).and_then(|()| stream.into_std()) {
                    desk.runtime.spawn(visit.over(async move {
                        connection::serve(TcpStream::from_std(stream)?, service, terms).await;
                        Ok(())
                    }));
                }
            }
            Accepted::Unix(stream) => {
                if let Ok(stream) = stream.into_std() {
                    let stream: StdUnixStream = stream;
                    desk.runtime.spawn(visit.over(async move {
                        connection::serve(UnixStream::from_std(stream)?, service, terms).await;
                        Ok(())
                    }));
                }
            }
        }
    }
}

/// A connection's place among the open ones, given back on drop.
#[derive(Debug)]
struct Visit {
    shared: Arc<Shared>,
    gauges: Arc<WorkerGauges>,
}

impl Visit {
    /// `None` if the gate is full.
    fn begin(shared: &Arc<Shared>, gauges: &Arc<WorkerGauges>) -> Option<Self> {
        let cap = u64::try_from(shared.limits.max_connections).unwrap_or(u64::MAX);
        let grown = |open: u64| (open < cap).then_some(open + 1);
        shared
            .counters
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .ok()?;
        counters::count(&gauges.open);
        Some(Self {
            shared: Arc::clone(shared),
            gauges: Arc::clone(gauges),
        })
    }

    /// Runs a connection and ends the visit with it, also if it panics or its worker stops.
    async fn over(self, connection: impl Future<Output = io::Result<()>>) {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "cannot take over a connection");
        }
        drop(self);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        counters::uncount(&self.gauges.open);
        if self.shared.counters.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.shared.empty.notify_one();
        }
    }
}
