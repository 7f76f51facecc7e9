//! Attacks by those who tell, through the doors: forged outcomes, floods, one of three that lies, old news. What they
//! change for everybody else: nothing.
//!
//! A reporter is a peer, so these come from addresses of their own. All of 127.0.0.0/8 is this machine and one reporter, unless the
//! operator trusts it: then each address is one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time;
use tonic::transport::Endpoint;
use tower::service_fn;
use tradewind::sidecar::wire::proto::feedback_service_client::FeedbackServiceClient;
use tradewind::sidecar::wire::proto::telemetry_service_client::TelemetryServiceClient;
use tradewind::sidecar::wire::proto::{
    AttemptResult, CacheStatus, DecideResponse, LoadReport, Outcome, ReportRequest, ReportResponse,
};

use crate::client::{Client, request, requests};
use crate::server::{Files, Server};
use tradewind::sidecar::clock::timer_now;

/// Somebody with an address of their own.
struct Teller {
    client: Client,
    asked: u32,
}

impl Teller {
    async fn new(server: &Server, last: u8) -> Self {
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
        let to = server.grpc[0];
        let connect = service_fn(move |_: Uri| async move {
            let socket = TcpSocket::new_v4()?;
            // As clients do; or each small request waits 40 ms for word that the one before has come.
            socket.set_nodelay(true)?;
            socket.bind(from)?;
            socket.connect(to).await.map(TokioIo::new)
        });
        let endpoint = Endpoint::from_shared(format!("http://{to}")).unwrap();
        let channel = endpoint.connect_with_connector(connect).await.unwrap();
        let grpc =
            tradewind::sidecar::wire::proto::decision_service_client::DecisionServiceClient::new(
                channel.clone(),
            );
        let client = Client { channel, grpc };
        Self { client, asked: 0 }
    }

    /// Asks for some objects and tells of each attempt what `say` makes of the truth: all is well, in 2 ms.
    async fn ask_and_tell(&mut self, count: u32, say: impl Fn(&mut Outcome)) {
        let mut outcomes = Vec::new();
        for _ in 0..count {
            self.asked += 1;
            let answer = self
                .client
                .decide(request(&format!("/object/{}", self.asked)))
                .await;
            let mut outcome = well(&answer);
            say(&mut outcome);
            outcomes.push(outcome);
        }
        let told = self.tell(outcomes).await;
        assert!(told.refused.is_empty(), "{told:?}");
    }

    /// How long one of the answers that [`first_nodes`] saw takes; it is the same still.
    async fn time_an_answer(&mut self, number: usize, before: &[String]) -> Duration {
        let number = number % before.len();
        let began = timer_now();
        let answer = self.client.decide(requests(300).swap_remove(number)).await;
        let took = began.elapsed();
        assert_eq!(answer.candidates[0].node, before[number]);
        took
    }

    async fn tell(&self, outcomes: Vec<Outcome>) -> ReportResponse {
        let mut feedback = FeedbackServiceClient::new(self.client.channel.clone());
        let told = feedback.report_unary(ReportRequest {
            outcomes,
            // One process was as many reporters as it had names.
            reporter: String::new(),
        });
        told.await.unwrap().into_inner()
    }
}

fn well(answer: &DecideResponse) -> Outcome {
    Outcome {
        decision_id: answer.decision_id.clone(),
        node: answer.candidates[0].node.clone(),
        attempt: 1,
        result: AttemptResult::Ok.into(),
        status: 200,
        time_to_first_byte: Some(prost_types::Duration {
            seconds: 0,
            nanos: 2_000_000,
        }),
        cache_status: CacheStatus::Hit.into(),
        ..Outcome::default()
    }
}

fn failed(outcome: &mut Outcome) {
    outcome.result = AttemptResult::Error.into();
    outcome.status = 503;
}

/// Which node serves each of many objects.
async fn first_nodes(client: &mut Client) -> Vec<String> {
    let answers = client.decide_all(&requests(300)).await;
    let first = |answer: DecideResponse| answer.candidates[0].node.clone();
    answers.into_iter().map(first).collect()
}

fn unbelieved(server: &Server) -> BTreeMap<String, u64> {
    let page = server.get("/debug/reporters").json();
    serde_json::from_value(page["unbelieved"].clone()).unwrap()
}

async fn start() -> (Files, Server) {
    let files = Files::new();
    let setup = files.setup().with("trusted-reporters", "127.0.0.0/8");
    let server = setup.start().await;
    (files, server)
}

/// 400 outcomes in two requests without a name emptied a healthy site for twelve minutes.
#[tokio::test]
async fn forged_outcomes_change_nothing() {
    let (_files, server) = start().await;
    let mut proxy = Teller::new(&server, 2).await;
    let before = first_nodes(&mut proxy.client).await;
    let line = |node: usize| {
        format!(
            r#"{{"node": "fra-{}", "result": "error", "status": 503}}"#,
            node % 8 + 1
        )
    };
    let lines: Vec<String> = (0..200).map(line).collect();
    for _ in 0..2 {
        proxy.ask_and_tell(50, |_| {}).await;
        let forged = server
            .query()
            .ask(("POST", "/v1/outcomes"), &[], lines.join("\n").as_bytes());
        assert_eq!(forged.unwrap().json()["accepted"], 200);
    }
    let told = |server: &Server| {
        let counts = unbelieved(server);
        counts["outweighed"] + counts["unsent"]
    };
    server
        .until("the forged ones are counted", || told(&server) >= 390)
        .await;
    assert_eq!(first_nodes(&mut proxy.client).await, before);
    let state = server.metric("tradewind_breaker_state{node=\"fra-1\"}");
    assert!(state < 0.5, "closed: {state}");
}

#[tokio::test]
async fn a_guessed_receipt_is_refused_and_a_used_one_counts_once() {
    let (_files, server) = start().await;
    let mut proxy = Teller::new(&server, 2).await;
    let answer = proxy.client.decide(request("/a")).await;
    let mut guessed = well(&answer);
    for last in ["0", "1"] {
        guessed.decision_id.replace_range(23.., last);
        if guessed.decision_id == answer.decision_id {
            continue;
        }
        let told = proxy.tell(vec![guessed.clone(); 10]).await;
        assert_eq!(told.refused, [("unknown_decision".to_owned(), 10)].into());
    }
    let again = proxy.tell(vec![well(&answer); 1_000]).await;
    assert_eq!(again.accepted, 1_000);
    server
        .until("repetitions are counted", || {
            unbelieved(&server)["repeated"] == 999
        })
        .await;
    // A node that the decision did not name has no receipt, and nothing was sent there.
    let mut elsewhere = well(&answer);
    elsewhere.node = "dub-1".to_owned();
    proxy.tell(vec![elsewhere; 10]).await;
    server
        .until("the others too", || unbelieved(&server)["unsent"] == 10)
        .await;
    let page = server.get("/debug/reporters").json();
    assert_eq!(page["reporters"][0]["outcomes"], 1, "{page}");
}

/// A flood of 50,000 a second from one peer, for three seconds: a message of a thousand each 20 ms, up to sixteen on their way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_peer_leaves_the_others_heard() {
    let (_files, server) = start().await;
    let mut proxy = Teller::new(&server, 2).await;
    let before = first_nodes(&mut proxy.client).await;
    let mut quiet = Vec::new();
    for number in 0..300 {
        quiet.push(proxy.time_an_answer(number, &before).await);
        proxy.ask_and_tell(1, |_| {}).await;
    }
    let flooding = Arc::new(Teller::new(&server, 3).await);
    let flood = tokio::spawn(async move {
        let mut bad = Outcome {
            node: "fra-1".to_owned(),
            ..Outcome::default()
        };
        failed(&mut bad);
        let (began, mut told) = (timer_now(), 0_u64);
        let mut ticks = time::interval(Duration::from_millis(20));
        let mut on_their_way = JoinSet::new();
        while began.elapsed() < Duration::from_secs(3) {
            ticks.tick().await;
            if on_their_way.len() >= 16
                && let Some(answer) = on_their_way.join_next().await
            {
                told += answer.unwrap();
            }
            let (flooding, outcomes) = (Arc::clone(&flooding), vec![bad.clone(); 1_000]);
            on_their_way.spawn(async move { flooding.tell(outcomes).await.accepted });
        }
        told += on_their_way.join_all().await.iter().sum::<u64>();
        (told, began.elapsed())
    });
    let mut under = Vec::new();
    while !flood.is_finished() {
        under.push(proxy.time_an_answer(under.len(), &before).await);
        proxy.ask_and_tell(1, |_| {}).await;
        time::sleep(Duration::from_millis(5)).await;
    }
    let (told, lasted) = flood.await.unwrap();
    let p99 = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() * 99 / 100]
    };
    let (quiet, under) = (p99(&mut quiet), p99(&mut under));
    let rate = u128::from(told) * 1_000 / lasted.as_millis();
    println!("{rate} outcomes/s; answers take p99 {quiet:?}, under the flood {under:?}");
    assert!(told > 20_000, "{told}");
    assert_eq!(first_nodes(&mut proxy.client).await, before);
    let state = server.metric("tradewind_breaker_state{node=\"fra-1\"}");
    assert!(state < 0.5, "closed: {state}");
    assert!(
        under < 2 * quiet + Duration::from_millis(200),
        "{under:?} beside {quiet:?}"
    );
}

/// What somebody says of others' load is hearsay: shown, and of no effect.
#[tokio::test]
async fn load_told_by_one_who_is_neither_node_nor_proxy_changes_no_decision() {
    let files = Files::new();
    let server = files.setup().start().await;
    let mut liar = Teller::new(&server, 4).await;
    let before = first_nodes(&mut liar.client).await;
    for _ in 0..16 {
        let mut load = TelemetryServiceClient::new(liar.client.channel.clone());
        let reports = (1..=8).map(|number| LoadReport {
            node: format!("fra-{number}"),
            cpu_utilization: 10.0,
            ..LoadReport::default()
        });
        load.report_load(tokio_stream::iter(reports)).await.unwrap();
        time::sleep(Duration::from_millis(100)).await;
        assert_eq!(first_nodes(&mut liar.client).await, before);
    }
    server
        .until("it is counted", || unbelieved(&server)["hearsay"] > 100)
        .await;
    let page = server.get("/debug/reporters").json();
    assert_eq!(page["hearsay"][0]["utilisation"], 10.0, "{page}");
}

/// One of three that lies, by each of the ways there are.
#[tokio::test]
async fn one_of_three_that_lies_changes_no_decision() {
    let (_files, server) = start().await;
    let mut honest = [Teller::new(&server, 2).await, Teller::new(&server, 3).await];
    let mut liar = Teller::new(&server, 4).await;
    let before = first_nodes(&mut honest[0].client).await;
    let lies: [fn(&mut Outcome); 4] = [
        |outcome| {
            outcome.time_to_first_byte = Some(prost_types::Duration {
                seconds: 599,
                nanos: 0,
            });
        },
        |outcome| outcome.cache_status = CacheStatus::Miss.into(),
        |outcome| {
            outcome.time_to_first_byte = Some(prost_types::Duration {
                seconds: 0,
                nanos: 1_000,
            });
        },
        failed,
    ];
    for lie in lies {
        for _ in 0..4 {
            for teller in &mut honest {
                teller.ask_and_tell(40, |_| {}).await;
            }
            liar.ask_and_tell(80, lie).await;
            time::sleep(Duration::from_millis(250)).await;
        }
        assert_eq!(first_nodes(&mut honest[0].client).await, before);
    }
    let page = server.get("/debug/reporters").json();
    let failed = page["reporters"].as_array().unwrap().iter();
    let failed: BTreeMap<&str, &Value> = failed
        .map(|known| (known["reporter"].as_str().unwrap(), &known["failed_ratio"]))
        .collect();
    assert_eq!(failed["127.0.0.2"], 0.0, "{page}");
    assert!(failed["127.0.0.4"].as_f64() > Some(0.1), "{page}");
}

#[tokio::test]
async fn names_tell_reporters_apart_only_where_the_operator_says_so() {
    let files = Files::new();
    for (trusted, expected) in [(None, 1), (Some("127.0.0.0/8"), 3)] {
        let mut setup = files.setup();
        if let Some(trusted) = trusted {
            setup = setup.with("trusted-reporters", trusted);
        }
        let server = setup.start().await;
        let client = server.client().await;
        let mut feedback = FeedbackServiceClient::new(client.channel.clone());
        for name in ["a", "b", "c"] {
            let outcomes = vec![Outcome {
                node: "fra-1".to_owned(),
                result: AttemptResult::Ok.into(),
                ..Outcome::default()
            }];
            let reporter = name.to_owned();
            let told = feedback.report_unary(ReportRequest { outcomes, reporter });
            assert_eq!(told.await.unwrap().into_inner().accepted, 1);
        }
        let count = || {
            let page = server.get("/debug/reporters").json();
            page["reporters"].as_array().unwrap().len()
        };
        server.until("all are shown", || count() == expected).await;
    }
    let bad = files
        .setup()
        .with("trusted-reporters", "localhost")
        .refused();
    assert!(
        bad.1.contains("trusted_reporters: `localhost` is no peer"),
        "{}",
        bad.1
    );
}

/// A decision made from a copy while the sidecar does not answer is a decision of its all the same.
#[tokio::test]
async fn ids_of_copies_are_believed() {
    use tradewind::sidecar::wire::proto::FollowRequest;
    use tradewind::sidecar::wire::proto::followed::Part;
    use tradewind::sidecar::wire::receipt::{CopyNumbers, ReceiptKey};
    let (_files, server) = start().await;
    let mut proxy = Teller::new(&server, 2).await;
    let answer = proxy.client.decide(request("/a")).await;
    let mut parts = proxy
        .client
        .grpc
        .follow(FollowRequest::default())
        .await
        .unwrap()
        .into_inner();
    let first = parts.message().await.unwrap().unwrap().part;
    let Some(Part::Receipts(told)) = first else {
        panic!("{first:?}")
    };
    let numbers = CopyNumbers::new(told.first_id, ReceiptKey::from_bytes(&told.key).unwrap());
    let outcomes = (0..20).map(|_| Outcome {
        decision_id: numbers.next().unwrap().1.as_str().to_owned(),
        ..well(&answer)
    });
    let outcomes: Vec<Outcome> = outcomes.collect();
    let told = proxy.tell([outcomes.clone(), outcomes].concat()).await;
    assert_eq!((told.accepted, told.refused.len()), (40, 0));
    server
        .until("each counts once", || unbelieved(&server)["repeated"] == 20)
        .await;
    let page = server.get("/debug/reporters").json();
    assert_eq!(page["reporters"][0]["outcomes"], 20, "{page}");
}
