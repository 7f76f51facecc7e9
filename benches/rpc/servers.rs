//! All servers that are loaded, and what they are asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tradewind::engine::snapshot::Snapshot;
use tradewind::sidecar::doors::envoy::authorize::Authorizer;
use tradewind::sidecar::doors::envoy::proto::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use tradewind::sidecar::doors::unary::Shortcut;
use tradewind::sidecar::doors::{envoy, grpc};
use tradewind::sidecar::intake::counters::DecisionCounters;
use tradewind::sidecar::intake::decider::Decider;
use tradewind::sidecar::intake::recent::RecentDecisions;
use tradewind::sidecar::listen::entrance::{Entrance, Method};
use tradewind::sidecar::listen::gate::{Door, Gate};
use tradewind::sidecar::listen::limits::{GateLimits, Limits};
use tradewind::sidecar::listen::service::WorkerService;
use tradewind::sidecar::listen::socket::Endpoint;
use tradewind::sidecar::listen::worker::Workers;
use tradewind::sidecar::state::State;
use tradewind::sidecar::wire::proto::server::decision_service_server::DecisionServiceServer;

use crate::check;
use crate::client::{self, Target};
use crate::echo::{self, Blob, Echo};
use crate::published;
use crate::{DECIDE, Effort, STREAM};
use tradewind_bench::{self, Ask, Geography, Rules, Size};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// All servers, and what they are asked.
pub(crate) struct Bench {
    pub(crate) effort: Effort,
    pub(crate) control: Runtime,
    stock: Runtime,
    gates: Vec<Gate>,
    pub(crate) state: Arc<State>,
    pub(crate) recent: Arc<RecentDecisions>,
    pub(crate) asks: Vec<Ask>,
    pub(crate) messages: Arc<Vec<Bytes>>,
    /// By transport.
    pub(crate) decides: Vec<(&'static str, Rivals)>,
    /// Over TCP.
    pub(crate) checks: Rivals,
    pub(crate) one_worker: Target,
    pub(crate) default_server: Target,
}

/// One method, as it is served and by the generated service alone, and the echo of its sizes.
#[derive(Clone)]
pub(crate) struct Rivals {
    pub(crate) echo: Target,
    pub(crate) served: Target,
    pub(crate) generated: Target,
}

impl Bench {
    #[expect(
        clippy::too_many_lines,
        clippy::similar_names,
        reason = "every contender is opened in one place"
    )]
    pub(crate) fn new(effort: Effort, geography: &Geography) -> Self {
        let rules = Rules::Hosts(10);
        let state = Arc::new(State::default());
        let topology = Size {
            nodes: 64,
            sites: 8,
        }
        .topology();
        let snapshot =
            Snapshot::build(1, tradewind_bench::parts(&topology, rules, geography), None);
        state
            .published
            .store(Some(Arc::new(published::publish(snapshot))));
        let control = runtime("control", 1);
        let (recent, samples) = RecentDecisions::new(1_024);
        control.spawn(Arc::clone(&recent).keep_all(samples, Arc::clone(&state)));
        let asks = geography.asks(rules);
        let messages = asks.iter().map(|ask| ask.message.encode_to_vec().into());
        let messages: Arc<Vec<Bytes>> = Arc::new(messages.collect());
        let checks = asks.iter().map(|ask| check::of(&ask.message));
        let checks: Arc<Vec<Bytes>> = Arc::new(checks.collect());
        let decider = |worker: usize| {
            let counters = Arc::new(DecisionCounters::default());
            let (state, recent) = (Arc::clone(&state), Arc::clone(&recent));
            Decider::new(state, counters, recent, Arc::default(), (1, worker))
        };

        let mut opening = Opening {
            control: &control,
            gate: Gate::new(Workers::start(2).unwrap(), GateLimits::default()),
        };
        let decides = ["TCP", "Unix socket"].map(|transport| {
            let place = || match transport {
                "TCP" => Endpoint::Tcp(ANY),
                _ => socket(),
            };
            let served = opening.open(place(), |worker| decide(decider(worker)));
            let generated = opening.open(place(), |worker| generated_decide(decider(worker)));
            let rivals = opening.beside_echo(
                (place, echo::PATH_LIKE_DECIDE),
                target("decide", served, DECIDE, &messages),
                target("decide, generated", generated, DECIDE, &messages),
            );
            (transport, rivals)
        });
        let served = opening.open(Endpoint::Tcp(ANY), |worker| authorize(decider(worker)));
        let generated = opening.open(Endpoint::Tcp(ANY), |worker| {
            generated_check(Authorizer::new(decider(worker)))
        });
        let checks = opening.beside_echo(
            (|| Endpoint::Tcp(ANY), echo::PATH_LIKE_CHECK),
            target("check", served, check::PATH, &checks),
            target("check, generated", generated, check::PATH, &checks),
        );
        let gate = opening.gate;

        let mut single = Opening {
            control: &control,
            gate: Gate::new(Workers::start(1).unwrap(), GateLimits::default()),
        };
        let opened = single.open(Endpoint::Tcp(ANY), |worker| decide(decider(worker)));
        let one_worker = target("gate, one worker", opened, DECIDE, &messages);
        let single = single.gate;
        let stock = runtime("stock", 2);
        let default_server = Target {
            name: "tonic's default server",
            endpoint: start_stock(&stock, generated_decide(decider(0))),
            threads: "stock",
            ..one_worker.clone()
        };
        Self {
            effort,
            stock,
            gates: vec![gate, single],
            asks,
            messages,
            decides: decides.into(),
            checks,
            one_worker,
            default_server,
            control,
            state,
            recent,
        }
    }

    pub(crate) fn decide(&self) -> &Target {
        &self.decides[0].1.served
    }

    pub(crate) fn end(self) {
        for gate in self.gates {
            self.control.block_on(gate.drain());
        }
        self.stock.shutdown_background();
    }
}

/// A gate whose doors are being opened.
struct Opening<'a> {
    control: &'a Runtime,
    gate: Gate,
}

impl Opening<'_> {
    fn open<S: WorkerService>(
        &mut self,
        endpoint: Endpoint,
        serve: impl Fn(usize) -> S,
    ) -> Endpoint {
        let opened = self.gate.open(door(endpoint), |worker| serve(worker.0));
        self.control.block_on(opened).unwrap()
    }

    /// Opens an echo of the same sizes, with a path as long.
    fn beside_echo(
        &mut self,
        (place, path): (impl Fn() -> Endpoint, &'static str),
        served: Target,
        generated: Target,
    ) -> Rivals {
        assert_eq!(path.len(), served.path.len(), "paths of one length");
        let answer = self.control.block_on(client::answer_size(&served));
        let message = Arc::new(Blob::of_encoded_size(answer));
        let echo = self.open(place(), |_| Echo {
            answer: Arc::clone(&message),
        });
        let questions = served.messages.iter();
        let questions =
            questions.map(|message| Blob::of_encoded_size(message.len()).encode_to_vec().into());
        let echo = target("echo", echo, path, &Arc::new(questions.collect()));
        println!(
            "{}: bytes of a question: {}, echoed {}; of an answer: {answer}, echoed {}",
            served.name,
            mean_len(&served.messages),
            mean_len(&echo.messages),
            self.control.block_on(client::answer_size(&echo)),
        );
        Rivals {
            echo,
            served,
            generated,
        }
    }
}

fn runtime(name: &str, threads: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(threads).thread_name(name);
    builder.enable_all().build().unwrap()
}

fn decide(decider: Decider) -> Shortcut<Decider, DecisionServiceServer<Decider>> {
    Shortcut::new(decider.clone(), generated_decide(decider))
}

fn generated_decide(decider: Decider) -> DecisionServiceServer<Decider> {
    DecisionServiceServer::new(decider)
        .max_decoding_message_size(grpc::MAX_BATCH_BYTES)
        .max_encoding_message_size(grpc::MAX_ANSWER_BYTES)
}

fn authorize(decider: Decider) -> Shortcut<Authorizer, AuthorizationServer<Authorizer>> {
    let authorizer = Authorizer::new(decider);
    Shortcut::new(authorizer.clone(), generated_check(authorizer))
}

fn generated_check(authorizer: Authorizer) -> AuthorizationServer<Authorizer> {
    AuthorizationServer::new(authorizer).max_decoding_message_size(envoy::MAX_ASKED_BYTES)
}

fn door(endpoint: Endpoint) -> Door {
    Door {
        endpoint,
        limits: Limits::trusted(),
        entrance: Entrance {
            methods: |path| Method {
                is_streaming: path == STREAM,
                ..Method::OPEN
            },
            ..Entrance::open()
        },
    }
}

/// A path of its own each time.
fn socket() -> Endpoint {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let file = format!("tradewind-bench-{}-{number}.sock", std::process::id());
    Endpoint::Unix(std::env::temp_dir().join(file))
}

fn target(
    name: &'static str,
    endpoint: Endpoint,
    path: &'static str,
    messages: &Arc<Vec<Bytes>>,
) -> Target {
    Target {
        name,
        endpoint,
        // Each gate has threads of its own, called alike; only one is loaded at a time.
        threads: "tradewind-",
        path,
        messages: Arc::clone(messages),
        decisions: 1,
    }
}

/// What `tonic::transport::Server::builder().add_service(...)` under `#[tokio::main]` gives.
fn start_stock(runtime: &Runtime, service: DecisionServiceServer<Decider>) -> Endpoint {
    let listener = runtime.block_on(TcpListener::bind(ANY)).unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(service);
    drop(runtime.spawn(server.serve_with_incoming(incoming)));
    Endpoint::Tcp(address)
}

fn mean_len(messages: &[Bytes]) -> usize {
    messages.iter().map(Bytes::len).sum::<usize>() / messages.len()
}
