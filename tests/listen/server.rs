//! The server and the well-behaved client of these tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint as TonicEndpoint};
use tonic::{Request, Status};
use tradewind::sidecar::listen::ListenError;
use tradewind::sidecar::listen::counters::GateCounters;
use tradewind::sidecar::listen::drain::DrainReport;
use tradewind::sidecar::listen::entrance::{Entrance, Method};
use tradewind::sidecar::listen::gate::{Door, Gate};
use tradewind::sidecar::listen::limits::{GateLimits, Limits};
use tradewind::sidecar::listen::socket::Endpoint;
use tradewind::sidecar::listen::stranger::Signpost;
use tradewind::sidecar::listen::worker::Workers;

use crate::echo::{self, Echo, RawCodec};
use tradewind::sidecar::clock::timer_now;

/// A gate with one door for [`Echo`], and the runtime it accepts on.
pub(crate) struct Server {
    pub(crate) control: Runtime,
    pub(crate) gate: Option<Gate>,
    pub(crate) endpoint: Endpoint,
    pub(crate) counters: Arc<GateCounters>,
}

/// How a test's server differs from the usual.
pub(crate) struct Setup {
    pub(crate) workers: usize,
    pub(crate) limits: Limits,
    pub(crate) gate: GateLimits,
    pub(crate) endpoint: Endpoint,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            workers: 2,
            limits: Limits::network(),
            gate: GateLimits::default(),
            endpoint: Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
        }
    }
}

impl Setup {
    pub(crate) fn limits(change: impl FnOnce(&mut Limits)) -> Self {
        let mut setup = Self::default();
        change(&mut setup.limits);
        setup
    }

    pub(crate) fn gate(change: impl FnOnce(&mut GateLimits)) -> Self {
        let mut setup = Self::default();
        change(&mut setup.gate);
        setup
    }

    pub(crate) fn start(self) -> Server {
        self.try_start().unwrap()
    }

    pub(crate) fn try_start(self) -> Result<Server, ListenError> {
        let control = runtime();
        let mut gate = Gate::new(Workers::start(self.workers)?, self.gate);
        let counters = gate.counters();
        let door = Door {
            endpoint: self.endpoint,
            limits: self.limits,
            entrance: Entrance {
                methods: |path| Method {
                    is_streaming: echo::streams(path),
                    ..Method::OPEN
                },
                signpost: Signpost::new(|path| format!("asked for {path}")),
                ..Entrance::open()
            },
        };
        let endpoint = control.block_on(gate.open(door, |_worker| Echo))?;
        Ok(Server {
            control,
            gate: Some(gate),
            endpoint,
            counters,
        })
    }
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        let Endpoint::Tcp(address) = self.endpoint else {
            panic!("not a TCP server")
        };
        address
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    pub(crate) fn drain(&mut self) -> DrainReport {
        self.control.block_on(self.gate.take().unwrap().drain())
    }

    /// Waits for a counter, at most 3 s.
    pub(crate) fn wait_for(&self, what: impl Fn(&GateCounters) -> &AtomicU64, value: u64) {
        let give_up = timer_now() + Duration::from_secs(3);
        while what(&self.counters).load(Ordering::Relaxed) != value {
            assert!(timer_now() < give_up, "not {value}: {:?}", self.counters);
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        let workers = self.counters.workers.iter();
        workers
            .map(|worker| worker.in_flight.load(Ordering::Relaxed))
            .sum()
    }

    /// Waits until a call has been refused for too many in flight, at most 3 s.
    pub(crate) fn wait_for_shed(&self) {
        let give_up = timer_now() + Duration::from_secs(3);
        while self.counters.shed_in_flight.load(Ordering::Relaxed) == 0 {
            assert!(timer_now() < give_up, "nothing was shed");
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn wait_for_no_calls(&self) {
        let give_up = timer_now() + Duration::from_secs(3);
        while self.in_flight() != 0 {
            assert!(timer_now() < give_up, "{} calls left", self.in_flight());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// A client that keeps the rules: tonic's, on a runtime of its own.
pub(crate) struct Client {
    pub(crate) runtime: Runtime,
    pub(crate) channel: Channel,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let runtime = runtime();
        let endpoint = TonicEndpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        Self { runtime, channel }
    }

    /// Starts a unary call.
    pub(crate) fn begin(&self, method: &'static str, request: Request<Bytes>) -> Reply {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        self.runtime.spawn(async move {
            grpc.ready()
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            let path = http::uri::PathAndQuery::try_from(format!("/test.Echo/{method}")).unwrap();
            grpc.unary(request, path, RawCodec)
                .await
                .map(tonic::Response::into_inner)
        })
    }

    pub(crate) fn end(&self, reply: Reply) -> Result<Bytes, Status> {
        self.runtime.block_on(reply).unwrap()
    }

    pub(crate) fn call(
        &self,
        method: &'static str,
        message: &'static str,
    ) -> Result<Bytes, Status> {
        self.end(self.begin(method, Request::new(Bytes::from(message))))
    }

    pub(crate) fn assert_served(&self) {
        assert_eq!(self.call("Unary", "hello").unwrap(), "hello");
    }
}

pub(crate) type Reply = tokio::task::JoinHandle<Result<Bytes, Status>>;
