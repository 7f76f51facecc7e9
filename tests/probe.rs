//! The prober against real servers on loopback, good and bad.
//!
//! Each test publishes a policy and a topology of its own, as the writer does, and waits for what is told with a
//! deadline. The shortest interval is a second, so a first answer takes up to that.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's helpers may fail like the test itself"
)]

#[path = "probe/servers.rs"]
mod servers;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{self, Instant};
use tonic_health::ServingStatus;
use tradewind::sidecar::probe::{MAX_IN_FLIGHT, ProbeFailure, Probed, Prober};
use tradewind::sidecar::settings::{Args, Settings};
use tradewind::sidecar::state::State;
use tradewind::sidecar::writer::Writer;

use servers::{Server, refused};

/// How long anything may take that is awaited; generous, because other work may keep the cores busy.
const PATIENCE: Duration = Duration::from_secs(15);

/// A fleet, its policy, and the prober that follows them.
struct Setup {
    files: TempDir,
    state: Arc<State>,
    writer: Writer,
    prober: Prober,
    told: UnboundedReceiver<Probed>,
}

/// The nodes of a topology: id, address, state.
type Nodes<'a> = &'a [(&'a str, String, &'a str)];

fn ready(id: &str, address: SocketAddr) -> (&str, String, &'static str) {
    (id, address.to_string(), "ready")
}

impl Setup {
    /// Starts with this section `probe` and these nodes.
    fn new(probe: &str, nodes: Nodes<'_>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(files.path().join(name));
        let settings = Settings::new(Args {
            policy: path("policy.yaml"),
            topology: path("topology.yaml"),
            state_dir: path("state"),
            ..Args::default()
        });
        let state = Arc::<State>::default();
        let (writer, _mailbox) = Writer::new(&settings.unwrap(), Arc::clone(&state));
        let (tell, told) = mpsc::unbounded_channel();
        let prober = Prober::spawn(Arc::clone(&state), move |probed| drop(tell.send(probed)));
        let mut setup = Self {
            files,
            state,
            writer,
            prober: prober.unwrap(),
            told,
        };
        setup.publish("all", probe, nodes);
        setup
    }

    /// Publishes a policy whose only rule has this name, and a topology.
    fn publish(&mut self, rule: &str, probe: &str, nodes: Nodes<'_>) {
        let policy = format!(
            "apiVersion: tradewind/v1
kind: Policy
spec:
  addresses: {{allow: [127.0.0.0/8, localhost]}}
  probe: {{{probe}}}
  pools:
    - {{name: edge, select: {{tier: edge}}}}
  rules:
    - {{name: {rule}, owner: tests, rollback: none, pools: [edge]}}
"
        );
        let mut topology = String::from(
            "apiVersion: tradewind/v1
kind: Topology
spec:
  sites:
    - {id: fra, lat: 50.03, lon: 8.57, country: DE}
  nodes:
",
        );
        for (id, address, state) in nodes {
            writeln!(
                topology,
                "    - {{id: {id}, site: fra, address: \"{address}\", state: {state}}}"
            )
            .unwrap();
        }
        fs::write(self.files.path().join("policy.yaml"), policy).unwrap();
        fs::write(self.files.path().join("topology.yaml"), topology).unwrap();
        self.writer.load();
        let status = self.state.status.load();
        let faults = [&status.policy.faults, &status.topology.faults];
        assert!(faults.iter().all(|faults| faults.is_empty()), "{faults:?}");
    }

    /// The next that is told.
    async fn next(&mut self) -> Probed {
        let told = time::timeout(PATIENCE, self.told.recv()).await;
        told.expect("it is told in time").unwrap()
    }

    /// What is told of each node first, until there are so many.
    async fn first_of(&mut self, nodes: usize) -> BTreeMap<String, Probed> {
        let mut first = BTreeMap::new();
        while first.len() < nodes {
            let probed = self.next().await;
            assert_eq!(probed.healthy, probed.detail.is_none(), "{probed:?}");
            first.entry(probed.node.to_string()).or_insert(probed);
        }
        first
    }

    /// Takes what was told already.
    fn drain(&mut self) -> Vec<Probed> {
        std::iter::from_fn(|| self.told.try_recv().ok()).collect()
    }
}

/// Asserts what each node came to: `healthy`, or the failure's name.
fn assert_told(told: &BTreeMap<String, Probed>, expected: &[(&str, &str)]) {
    let seen: Vec<_> = told
        .iter()
        .map(|(id, probed)| {
            let detail = probed.detail.map_or("healthy", ProbeFailure::name);
            (id.as_str(), detail)
        })
        .collect();
    assert_eq!(seen, expected);
}

/// Waits until a condition holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "waited in vain until {what}");
        time::sleep(Duration::from_millis(5)).await;
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[tokio::test]
async fn http_is_healthy_from_200_to_399() {
    let statuses = [200, 204, 302, 399, 400, 404, 503];
    let mut running = Vec::new();
    for status in statuses {
        running.push((format!("n{status}"), Server::http(status).await));
    }
    let nodes: Vec<_> = running
        .iter()
        .map(|(id, server)| ready(id, server.address))
        .collect();
    let mut setup = Setup::new(
        "kind: http, path: \"/healthz?deep=1\", interval: 1s",
        &nodes,
    );
    assert_told(
        &setup.first_of(statuses.len()).await,
        &[
            ("n200", "healthy"),
            ("n204", "healthy"),
            ("n302", "healthy"),
            ("n399", "healthy"),
            ("n400", "status"),
            ("n404", "status"),
            ("n503", "status"),
        ],
    );
    let server = &running[0].1;
    assert_eq!(
        server.heard()[0],
        format!(
            "GET /healthz?deep=1 host: {} user-agent: tradewind-probe connection: close",
            server.address
        )
    );
    let counters = setup.prober.counters();
    assert!(read(&counters.healthy) >= 4 && read(&counters.status) >= 3);
    assert_eq!(read(&counters.protocol) + read(&counters.local), 0);
}

#[tokio::test]
async fn http_fails_in_each_way_within_its_timeout() {
    let closes = Server::closing().await;
    let silent = Server::silent().await;
    let banner = Server::saying(b"SSH-2.0-OpenSSH_9.9\r\n").await;
    let drips =
        Server::dripping(b"HTTP/1.1 200 OK\r\nx-slow: 0123456789012345678901234567890123").await;
    let cut = Server::saying(b"HTTP/1.1 200 OK\r\nConte").await;
    let endless = Server::saying(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nx").await;
    let old = Server::saying(b"HTTP/1.0 200 OK\r\n\r\nbody").await;
    let mut setup = Setup::new(
        "kind: http, interval: 1s, timeout: 300ms",
        &[
            ready("banner", banner.address),
            ready("closes", closes.address),
            ready("cut", cut.address),
            ready("drips", drips.address),
            ready("endless", endless.address),
            ready("old", old.address),
            ready("refused", refused()),
            ready("silent", silent.address),
        ],
    );
    let told = setup.first_of(8).await;
    assert_told(
        &told,
        &[
            ("banner", "protocol"),
            ("closes", "protocol"),
            ("cut", "timeout"),
            ("drips", "timeout"),
            ("endless", "healthy"),
            ("old", "healthy"),
            ("refused", "refused"),
            ("silent", "timeout"),
        ],
    );
    for id in ["cut", "drips", "silent"] {
        let took = told[id].took;
        let bound = Duration::from_millis(300)..Duration::from_millis(1_500);
        assert!(bound.contains(&took), "{id} took {took:?}");
    }
    let counters = setup.prober.counters();
    for counter in [
        &counters.healthy,
        &counters.protocol,
        &counters.timeout,
        &counters.refused,
    ] {
        assert!(read(counter) >= 1, "{counters:?}");
    }
}

#[tokio::test]
async fn tcp_is_healthy_when_it_connects() {
    let silent = Server::silent().await;
    let closes = Server::closing().await;
    let mut setup = Setup::new(
        "kind: tcp, interval: 1s",
        &[
            ready("closes", closes.address),
            ready("refused", refused()),
            ready("silent", silent.address),
        ],
    );
    assert_told(
        &setup.first_of(3).await,
        &[
            ("closes", "healthy"),
            ("refused", "refused"),
            ("silent", "healthy"),
        ],
    );
}

#[tokio::test]
async fn grpc_is_healthy_when_the_service_serves() {
    const SERVICE: &str = "cache.v1.Cache";
    let serving = Server::grpc(SERVICE, ServingStatus::Serving).await;
    let not_serving = Server::grpc(SERVICE, ServingStatus::NotServing).await;
    let unknown = Server::grpc("other.v1.Other", ServingStatus::Serving).await;
    let http1 = Server::http(200).await;
    let closes = Server::closing().await;
    let silent = Server::silent().await;
    let mut setup = Setup::new(
        "kind: grpc, path: cache.v1.Cache, interval: 1s, timeout: 400ms",
        &[
            ready("closes", closes.address),
            ready("http1", http1.address),
            ready("not-serving", not_serving.address),
            ready("refused", refused()),
            ready("serving", serving.address),
            ready("silent", silent.address),
            ready("unknown", unknown.address),
        ],
    );
    let told = setup.first_of(7).await;
    assert_told(
        &told,
        &[
            ("closes", "protocol"),
            ("http1", "protocol"),
            ("not-serving", "status"),
            ("refused", "refused"),
            ("serving", "healthy"),
            ("silent", "timeout"),
            ("unknown", "status"),
        ],
    );
    let bound = Duration::from_millis(400)..Duration::from_millis(1_500);
    assert!(bound.contains(&told["silent"].took));
}

#[tokio::test]
async fn grpc_asks_for_the_whole_server_by_default() {
    let whole = Server::grpc("", ServingStatus::Serving).await;
    let not = Server::grpc("", ServingStatus::NotServing).await;
    let mut setup = Setup::new(
        "kind: grpc, interval: 1s",
        &[ready("not", not.address), ready("whole", whole.address)],
    );
    assert_told(
        &setup.first_of(2).await,
        &[("not", "status"), ("whole", "healthy")],
    );
}

#[tokio::test]
async fn a_host_name_is_looked_up() {
    let server = Server::http(200).await;
    let port = server.address.port();
    let mut setup = Setup::new(
        "kind: http, interval: 1s",
        &[
            ("known", format!("localhost:{port}"), "ready"),
            ("unknown", "nowhere.invalid:80".to_owned(), "ready"),
        ],
    );
    let told = setup.first_of(2).await;
    assert_eq!(told["known"].detail, None);
    // A resolver that can not be reached may take its time.
    assert!(matches!(
        told["unknown"].detail,
        Some(ProbeFailure::Refused | ProbeFailure::Timeout)
    ));
    assert!(server.heard()[0].contains(&format!("host: localhost:{port} ")));
}

#[tokio::test]
async fn a_node_is_asked_again_about_every_interval() {
    let server = Server::http(200).await;
    let mut setup = Setup::new(
        "kind: http, interval: 1s",
        &[ready("fra-1", server.address)],
    );
    setup.next().await;
    let mut before = Instant::now();
    for _ in 0..3 {
        setup.next().await;
        let gap = before.elapsed();
        before = Instant::now();
        // What is late is the test's, so only the lower bound is sharp: 0.8 s, less what the one before was late.
        assert!(gap > Duration::from_millis(600), "after {gap:?}");
        assert!(gap < Duration::from_secs(3), "after {gap:?}");
    }
}

#[tokio::test]
async fn probes_of_a_node_do_not_overlap() {
    let silent = Server::silent().await;
    let mut setup = Setup::new(
        "kind: http, interval: 1s, timeout: 1800ms",
        &[ready("fra-1", silent.address)],
    );
    assert_eq!(setup.next().await.detail, Some(ProbeFailure::Timeout));
    let before = Instant::now();
    assert_eq!(setup.next().await.detail, Some(ProbeFailure::Timeout));
    // The next was due long before, and began only when this one had ended.
    assert!(before.elapsed() > Duration::from_millis(1_500));
    assert!(silent.accepted() <= 3);
}

#[tokio::test]
async fn it_stops_within_a_second_whatever_is_on_its_way() {
    let silent = Server::silent().await;
    let mut setup = Setup::new(
        "kind: http, interval: 1s, timeout: 1m",
        &[ready("fra-1", silent.address)],
    );
    until("it is asked", || silent.open() == 1).await;
    let began = Instant::now();
    setup.prober.stop();
    assert!(began.elapsed() < Duration::from_secs(1));
    until("the probe is cut short", || silent.open() == 0).await;
    let told = time::timeout(PATIENCE, setup.told.recv()).await;
    assert_eq!(
        told.unwrap(),
        None,
        "nothing is told, and the thread is gone"
    );
}

#[tokio::test]
async fn a_policy_that_asks_nobody_stops_the_probing_at_once() {
    let server = Server::http(200).await;
    let silent = Server::silent().await;
    let nodes = [
        ready("good", server.address),
        ready("silent", silent.address),
    ];
    let http = "kind: http, interval: 1s, timeout: 1m";
    let mut setup = Setup::new(http, &nodes);
    until("both are asked", || {
        silent.open() == 1 && !server.heard().is_empty()
    })
    .await;
    // A policy with the same probes leaves what is on its way alone.
    setup.publish("other", http, &nodes);
    let asked = server.heard().len();
    until("the good one is asked twice more", || {
        server.heard().len() >= asked + 2
    })
    .await;
    assert_eq!((silent.open(), silent.accepted()), (1, 1));
    setup.publish("other", "kind: none", &nodes);
    until("the probe on its way is cut short", || silent.open() == 0).await;
    setup.drain();
    let asked = server.heard().len();
    time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(server.heard().len(), asked, "longer than any gap");
    assert_eq!(setup.drain(), []);
    assert_eq!(read(&setup.prober.counters().timeout), 0);
    // And on again, by other means.
    setup.publish("other", "kind: tcp, interval: 1s", &nodes);
    assert_told(
        &setup.first_of(2).await,
        &[("good", "healthy"), ("silent", "healthy")],
    );
}

#[tokio::test]
async fn nodes_in_maintenance_are_not_probed() {
    let [one, two, three] = [
        Server::http(200).await,
        Server::http(200).await,
        Server::http(200).await,
    ];
    let node = |id: &'static str, server: &Server, state: &'static str| {
        (id, server.address.to_string(), state)
    };
    let probe = "kind: http, interval: 1s";
    let mut setup = Setup::new(
        probe,
        &[
            node("drains", &one, "drain"),
            node("rests", &two, "maintenance"),
        ],
    );
    for _ in 0..2 {
        assert_eq!(&*setup.next().await.node, "drains");
    }
    assert!(two.heard().is_empty());
    // One rests, one is back, one has moved; all within a second and the first wait.
    setup.publish(
        "all",
        probe,
        &[
            node("drains", &one, "maintenance"),
            node("rests", &three, "ready"),
        ],
    );
    until("the moved one is asked", || three.heard().len() >= 2).await;
    let asked = one.heard().len();
    until("it is asked again", || three.heard().len() >= 4).await;
    assert_eq!(one.heard().len(), asked);
    assert!(two.heard().is_empty());
}

#[tokio::test]
async fn no_more_than_64_are_on_their_way() {
    let silent = Server::silent().await;
    let ids: Vec<_> = (0..80).map(|number| format!("fra-{number}")).collect();
    let nodes: Vec<_> = ids.iter().map(|id| ready(id, silent.address)).collect();
    let mut setup = Setup::new("kind: http, interval: 1s, timeout: 3s", &nodes);
    let counters = Arc::clone(setup.prober.counters());
    until("the rest wait", || {
        silent.open() == 64 && read(&counters.waiting) == 16
    })
    .await;
    assert!(read(&counters.delayed) >= 16);
    assert_eq!(silent.accepted(), MAX_IN_FLIGHT);
    // Those that waited have their turn, and their time does not begin before it.
    let told = setup.first_of(80).await;
    assert!(
        told.values()
            .all(|probed| probed.detail == Some(ProbeFailure::Timeout))
    );
}
