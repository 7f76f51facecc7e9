//! Real HTTP nodes behind the real sidecar: a proxy asks, fetches, and tells how it went; then a node goes bad.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tradewind::sidecar::clock;
use tradewind::sidecar::wire::proto::feedback_service_client::FeedbackServiceClient;
use tradewind::sidecar::wire::proto::{
    AttemptResult, CacheStatus, DecideResponse, Outcome, ReportRequest,
};

use crate::client::{Client, request};
use crate::server::{Files, Server};

/// How a node behaves.
const WELL: u8 = 0;
const FAILING: u8 = 1;
const HANGING: u8 = 2;

/// A small HTTP node that answers 200 after two milliseconds, 503 at once, or never.
pub(crate) struct Node {
    address: SocketAddr,
    behaviour: Arc<AtomicU8>,
    listening: JoinHandle<()>,
}

impl Node {
    async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let behaviour = Arc::new(AtomicU8::new(WELL));
        let now = Arc::clone(&behaviour);
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, Arc::clone(&now)));
            }
        });
        Self {
            address,
            behaviour,
            listening,
        }
    }

    /// Nobody listens there any more.
    pub(crate) fn kill(&self) {
        self.listening.abort();
    }

    /// Somebody does again.
    pub(crate) async fn restart(&mut self) {
        *self = Self::start_at(self.address).await;
    }
}

async fn answer(mut stream: TcpStream, behaviour: Arc<AtomicU8>) {
    let mut head = [0; 1_024];
    if stream.read(&mut head).await.unwrap_or(0) == 0 {
        return;
    }
    let status = match behaviour.load(Ordering::Relaxed) {
        FAILING => "503 Service Unavailable",
        HANGING => return std::future::pending().await,
        _ => {
            tokio::time::sleep(Duration::from_millis(2)).await;
            "200 OK"
        }
    };
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    drop(stream.write_all(text.as_bytes()).await);
}

/// Fetches from a node with 200 ms of patience: the status, or `None` for a timeout; and how long it took.
async fn fetch(address: &str) -> (Option<u32>, Duration) {
    let began = clock::now();
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let get = b"GET /object HTTP/1.1\r\nhost: www.example.com\r\nconnection: close\r\n\r\n";
        stream.write_all(get).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        text.split(' ').nth(1)?.parse().ok()
    };
    let status = tokio::time::timeout(Duration::from_millis(200), asked).await;
    (status.ok().flatten(), began.elapsed())
}

/// One request of a proxy: decided, fetched down the list, and every attempt told. The node named first.
async fn proxied(client: &mut Client, path: &str, outcomes: &mut Vec<Outcome>) -> (String, bool) {
    let answer: DecideResponse = client.decide(request(path)).await;
    let mut served = false;
    for (attempt, candidate) in (1_u32..).zip(&answer.candidates) {
        let (status, took) = fetch(&candidate.address).await;
        let result = if status.is_some() {
            AttemptResult::Ok
        } else {
            AttemptResult::Timeout
        };
        outcomes.push(Outcome {
            decision_id: answer.decision_id.clone(),
            node: candidate.node.clone(),
            attempt,
            result: result.into(),
            status: status.unwrap_or(0),
            time_to_first_byte: prost_types::Duration::try_from(took).ok(),
            cache_status: CacheStatus::Hit.into(),
            ..Outcome::default()
        });
        if status == Some(200) {
            served = true;
            break;
        }
    }
    (answer.candidates[0].node.clone(), served)
}

/// Requests for a while, told in batches: how often each node was named first, and how many were not served.
pub(crate) async fn traffic(
    client: &mut Client,
    lasting: Duration,
) -> (BTreeMap<String, u32>, u32, u32) {
    let (mut first, mut unserved, mut all) = (BTreeMap::new(), 0, 0);
    let end = clock::now() + lasting;
    while clock::now() < end {
        let mut outcomes = Vec::new();
        for _ in 0..20 {
            all += 1;
            let path = format!("/object/{}", all * 7_919 % 10_007);
            let (node, served) = proxied(client, &path, &mut outcomes).await;
            *first.entry(node).or_insert(0) += 1;
            unserved += u32::from(!served);
        }
        let mut feedback = FeedbackServiceClient::new(client.channel.clone());
        let told = feedback.report_unary(ReportRequest {
            outcomes,
            reporter: "proxy".to_owned(),
        });
        let told = told.await.unwrap().into_inner();
        assert!(told.refused.is_empty(), "{told:?}");
    }
    (first, unserved, all)
}

/// So many nodes at one site.
pub(crate) async fn fleet(size: usize) -> (Files, Vec<Node>, Server) {
    let mut nodes = Vec::new();
    let mut text = String::from(
        "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n  - {id: fra, lat: 50.1, lon: 8.6}\n  nodes:\n",
    );
    for number in 0..size {
        let node = Node::start().await;
        writeln!(
            text,
            "  - {{id: fra-{number}, site: fra, address: \"{}\"}}",
            node.address
        )
        .unwrap();
        nodes.push(node);
    }
    let policy = "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  addresses: {allow: [127.0.0.0/8]}\n  \
                  slow_start_window: 2s\n  breaker: {base_ejection_time: 1s, max_ejection_time: 2s, probe_percent: 20}\n  pools:\n  \
                  - {name: edge, select: {tier: edge}, spread: {max_copies: 1}}\n  rules:\n  \
                  - {name: all, owner: tests, rollback: none, pools: [edge]}\n";
    let files = Files::empty();
    files.write("topology.yaml", &text);
    files.write("policy.yaml", policy);
    let server = files.setup().start().await;
    (files, nodes, server)
}

/// Keys of fra-2, which is out, say so: in answers, in explanations with since when and for how long, and in metrics.
fn tells_who_is_away(server: &Server) {
    let (mut away, mut at_home) = (0, 0);
    for key in 0..60 {
        let told = server.get(&format!("/debug/explain?path=/{key}")).json();
        let (answer, home) = (&told["decision"], &told["explanation"]["home"]);
        let first = &answer["candidates"][0]["node"];
        assert_eq!(answer["purity"] == "pure", home["node"] == *first, "{told}");
        if answer["purity"] == "pure" {
            at_home += 1;
            continue;
        }
        away += 1;
        assert_eq!(home["node"], "fra-2", "{told}");
        assert_eq!(answer["reason"], "owner_out", "{told}");
        assert_eq!(answer["purity"], "moved", "{told}");
        let why = home["why"].as_str().unwrap_or_default();
        assert!(["breaker_open", "recovering"].contains(&why), "{told}");
        assert!(home["since_ms"].as_u64().is_some(), "{told}");
        let again = if why == "recovering" {
            "slice_ratio"
        } else {
            "retry_ms"
        };
        assert!(
            home[again].is_number() || home["retry_ms"].is_null(),
            "{told}"
        );
    }
    assert!(away > 0 && at_home > away, "{away} away, {at_home} at home");
    let moved = "tradewind_decisions_total{pool=\"edge\",verdict=\"route\",reason=\"owner_out\",purity=\"moved\"}";
    assert!(server.count(moved) > 0);
}

/// A node goes bad: it is left within seconds, its requests are served by others, and it comes back once it is well.
async fn goes_bad_and_recovers(behaviour: u8) {
    let (_files, nodes, server) = fleet(6).await;
    let mut client = server.client().await;
    let (usual, unserved, all) = traffic(&mut client, Duration::from_secs(2)).await;
    assert_eq!(unserved, 0);
    let fair = usual["fra-2"];
    assert!(fair * 12 > all, "fra-2 has its share: {usual:?}");

    nodes[2].behaviour.store(behaviour, Ordering::Relaxed);
    let (_, unserved, _) = traffic(&mut client, Duration::from_secs(3)).await;
    assert_eq!(
        unserved, 0,
        "the next of the list serves what the bad node does not"
    );
    let (left, unserved, all) = traffic(&mut client, Duration::from_secs(2)).await;
    let share = f64::from(*left.get("fra-2").unwrap_or(&0)) / f64::from(all) * 6.0;
    println!("behaviour {behaviour}: {share:.3} of its fair share after 3 s");
    assert!(share < 0.25 && unserved == 0, "{left:?}");
    let page = server.get("/debug/nodes").json();
    let bad = &page["nodes"][2]["health"];
    assert_ne!(bad["breaker"]["state"], "closed", "{bad}");
    assert!(server.count("tradewind_breaker_transitions_total{node=\"fra-2\",to=\"open\",cause=\"consecutive_failures\"}") >= 1);
    tells_who_is_away(&server);

    nodes[2].behaviour.store(WELL, Ordering::Relaxed);
    let deadline = clock::now() + Duration::from_secs(20);
    loop {
        let (now, _, all) = traffic(&mut client, Duration::from_secs(1)).await;
        if now.get("fra-2").unwrap_or(&0) * 12 > all {
            break;
        }
        assert!(clock::now() < deadline, "it does not come back: {now:?}");
    }
}

#[tokio::test]
async fn f42_a_node_that_fails_fast_is_left_and_comes_back() {
    goes_bad_and_recovers(FAILING).await;
}

#[tokio::test]
async fn a_node_that_hangs_is_left_and_comes_back() {
    goes_bad_and_recovers(HANGING).await;
}
