//! Taking a door's connections to the workers, whatever is spoken on them.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::accept::Acceptor;
use super::counters::{self, GateCounters, WorkerGauges};
use super::entrance::Entrance;
use super::limits::GateLimits;
use super::seats::{Seats, Sitting};
use super::socket::Accepted;
use super::stranger::{self, Signpost};
use super::tls::{Begun, DoorTls, Shown, Speaks};
use super::warden::{Companion, ConnectionState, Order, Phase};
use crate::identity::{Access, Caller, Pass, Peer, Proof};

/// What the doors of a gate share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: GateLimits,
    pub(crate) counters: Arc<GateCounters>,
    /// By worker.
    pub(crate) runtimes: Vec<Handle>,
    /// The connections that are open.
    pub(crate) seats: Arc<Seats>,
    /// Where the search for the least busy worker starts, so that ties go round.
    cursor: AtomicUsize,
    /// Numbers the connections.
    serial: AtomicU64,
    /// Told when the last connection ends.
    empty: Notify,
}

impl Shared {
    pub(crate) fn new(limits: GateLimits, runtimes: Vec<Handle>) -> Self {
        Self {
            limits,
            counters: Arc::new(GateCounters::new(runtimes.len())),
            runtimes,
            seats: Arc::new(Seats::new(limits.max_connections)),
            cursor: AtomicUsize::new(0),
            serial: AtomicU64::new(0),
            empty: Notify::new(),
        }
    }

    /// Waits until no connection is open.
    pub(crate) async fn emptied(&self) {
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

/// A connection that has just come.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// Who is at the other end, and what they may do.
    pub(crate) pass: Pass,
    /// Numbers the gate's connections.
    pub(crate) serial: u64,
    /// The gate's life.
    pub(crate) phase: watch::Receiver<Phase>,
    /// What is to be known of it.
    pub(crate) state: Arc<ConnectionState>,
}

/// Receives connections on one worker and speaks their protocol.
pub(crate) trait Host: Clone + Send + 'static {
    /// Serves one connection to its end.
    fn serve<T>(self, stream: T, arrival: Arrival) -> impl Future<Output = ()> + Send
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static;
}

/// Takes the connections of one door to the workers.
#[derive(Debug)]
pub(crate) struct Porter<H> {
    /// By worker.
    pub(crate) hosts: Vec<H>,
    pub(crate) shared: Arc<Shared>,
    /// Who may do what at this door.
    pub(crate) access: Arc<Access>,
    /// TLS for those that come by TCP, where the door has it.
    pub(crate) tls: Option<SecureDoor>,
    /// Never marked as seen beyond [`Phase::Serving`], so that each connection's copy sees the change.
    pub(crate) phase: watch::Receiver<Phase>,
}

impl<H: Host> Porter<H> {
    /// Takes connections until the gate closes.
    pub(crate) async fn admit_all(self, mut acceptor: Acceptor) {
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
        let place = (self.hosts.get(index), self.shared.runtimes.get(index));
        let ((Some(host), Some(runtime)), Some(gauges)) = (place, counters.workers.get(index))
        else {
            return;
        };
        // A socket error here and below means that the peer is gone already.
        let Some(peer) = accepted.peer() else {
            return;
        };
        let Some(visit) = Visit::begin(&self.shared, gauges, peer) else {
            return;
        };
        let arrival = Arrival {
            pass: self.access.pass(Caller::from(peer)),
            serial: self.shared.serial.fetch_add(1, Ordering::Relaxed),
            phase: self.phase.clone(),
            state: Arc::clone(&visit.sitting.state),
        };
        let host = host.clone();
        match accepted {
            Accepted::Tcp(stream) => {
                if let Ok(stream) = stream.set_nodelay(true).and_then(|()| stream.into_std()) {
                    let tls = self.tls.clone();
                    let access = Arc::clone(&self.access);
                    runtime.spawn(visit.over(async move {
                        let stream = TcpStream::from_std(stream)?;
                        match tls {
                            None => host.serve(stream, arrival).await,
                            Some(tls) => tls.serve(host, stream, (arrival, &access)).await,
                        }
                        Ok(())
                    }));
                }
            }
            Accepted::Unix(stream) => {
                if let Ok(stream) = stream.into_std() {
                    let stream: StdUnixStream = stream;
                    runtime.spawn(visit.over(async move {
                        host.serve(UnixStream::from_std(stream)?, arrival).await;
                        Ok(())
                    }));
                }
            }
        }
    }
}

/// What whoever comes without TLS is told.
const WITH_TLS: &str =
    "this door speaks TLS: ask with https, with --tls-ca in the commands of tradewind";

/// A door with TLS.
#[derive(Debug, Clone)]
pub(crate) struct SecureDoor {
    pub(crate) tls: DoorTls,
    pub(crate) counters: Arc<GateCounters>,
    /// What those are told who come without it.
    pub(crate) signpost: Signpost,
}

impl SecureDoor {
    /// TLS of a door, where it has it.
    pub(crate) fn of(
        entrance: &Entrance,
        speaks: Speaks,
        counters: &Arc<GateCounters>,
    ) -> Option<Self> {
        let keys = entrance.keys.as_ref()?;
        Some(Self {
            tls: DoorTls {
                keys: Arc::clone(keys),
                speaks,
            },
            counters: Arc::clone(counters),
            signpost: Signpost::new(|_path| WITH_TLS.to_owned()),
        })
    }

    /// Shakes hands and serves what is inside.
    pub(crate) async fn serve<H: Host>(
        self,
        host: H,
        stream: TcpStream,
        (mut arrival, access): (Arrival, &Arc<Access>),
    ) {
        let begun = tokio::select! {
            begun = self.tls.begin(stream) => begun,
            // Who has not said a word when the drain begins has no call in flight.
            _ = arrival.phase.wait_for(|phase| *phase >= Phase::Draining) => return,
            () = arrival.state.told_to_go() => return,
        };
        match begun {
            Begun::Shaken(stream, shown) => {
                let _watching = shown.map(|shown| self.believe(shown, &mut arrival, access));
                host.serve(*stream, arrival).await;
            }
            Begun::Plain(stream) => {
                counters::count(&self.counters.refused_preface);
                tokio::select! {
                    () = stranger::answer(stream, &self.signpost) => {}
                    () = arrival.state.told_to_go() => {}
                }
            }
            Begun::Gone => {}
            Begun::Failed => counters::count(&self.counters.failed_handshakes),
        }
    }
}

impl SecureDoor {
    /// Takes who comes for what their certificate says, for as long as it counts: then their calls are denied, their streams end,
    /// and the connection is asked to leave.
    fn believe(&self, shown: Shown, arrival: &mut Arrival, access: &Arc<Access>) -> Companion {
        let caller = arrival.pass.caller().clone().named(shown.names());
        let proof = Proof::default();
        arrival.pass = access.pass(caller).standing_on(proof.clone());
        let (tls, turns) = (self.tls.clone(), access.turns());
        let connection = Arc::clone(&arrival.state);
        Companion::spawn(async move {
            tls.outlived(&shown, turns).await;
            proof.end();
            connection.give(Order::Leave);
        })
    }
}

/// A connection among the open ones, uncounted on drop.
#[derive(Debug)]
struct Visit {
    shared: Arc<Shared>,
    gauges: Arc<WorkerGauges>,
    sitting: Sitting,
}

impl Visit {
    /// `None` if the gate is full.
    fn begin(shared: &Arc<Shared>, gauges: &Arc<WorkerGauges>, peer: Peer) -> Option<Self> {
        let counters = &shared.counters;
        let sitting = shared.seats.take(peer).counted(counters)?;
        counters::count(&counters.open);
        counters::count(&gauges.open);
        Some(Self {
            shared: Arc::clone(shared),
            gauges: Arc::clone(gauges),
            sitting,
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
