//! The decision log of a running sidecar: what is in it is answered again, bit for bit, and names nobody.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tradewind::example;
use tradewind::sidecar::wire::proto::feedback_service_client::FeedbackServiceClient;
use tradewind::sidecar::wire::proto::rollout_service_client::RolloutServiceClient;
use tradewind::sidecar::wire::proto::{
    AttemptResult, DecideRequest, DecideResponse, Header, Outcome, ReportRequest, RolloutStage,
    StartRolloutRequest,
};

use crate::client::{Client, FRANKFURT, at, from_ip};
use crate::fleet::Fleet;
use crate::server::{Files, Server};

/// Pools of every kind, and rules that look at whatever a request has.
fn policy(detour: &str, sample_ratio: f64) -> String {
    format!(
        "apiVersion: tradewind/v1
kind: Policy
spec:
  decision_log: {{sample_ratio: {sample_ratio}}}
  slow_start_window: 0ms
  score: {{max_detour: {detour}}}
  geo:
    overrides: [{{cidr: 198.18.7.0/24, lat: 40.6, lon: -73.8, country: US}}]
    default: {{lat: 50.1, lon: 8.7}}
  pools:
    - {{name: edge, select: {{tier: edge}}}}
    - {{name: sticky, select: {{tier: edge}}, affinity: client}}
    - {{name: any, select: {{tier: edge}}, affinity: none}}
    - {{name: origin, select: {{tier: origin}}}}
  rules:
    - {{name: no, owner: tests, rollback: none, match: {{paths: [{{value: /no}}]}}, action: refuse}}
    - {{name: mine, owner: tests, rollback: none, match: {{paths: [{{value: /mine}}]}}, pools: [sticky, origin]}}
    - {{name: any, owner: tests, rollback: none, match: {{paths: [{{value: /any}}]}}, pools: [any, origin]}}
    - {{name: paris, owner: tests, rollback: none, match: {{paths: [{{value: /in}}]}}, when: 'client.ip == \"198.18.1.7\"', pools: [edge, origin]}}
    - {{name: all, owner: tests, rollback: none, pools: [edge, origin], key: {{query: [v], headers: [x-variant]}}}}
"
    )
}

/// One of many different requests: of clients that say where they are, that are known by their address, and of nobody.
fn asked(number: usize) -> DecideRequest {
    let address = |low: usize| from_ip(&format!("198.18.{low}.{}", number % 251 + 2));
    let client = match number % 5 {
        0 => Some(at(FRANKFURT)),
        1 | 2 => Some(address(1)),
        3 => Some(address(7)),
        _ => None,
    };
    let path = match number % 11 {
        0 => format!("/mine/{number}"),
        1 => format!("/any/{number}"),
        2 => "/no".to_owned(),
        3 => "/hot;session=17?token=secret".to_owned(),
        _ => format!("/object/{}", number % 1_000),
    };
    let header = |name: &str, value: String| Header {
        name: name.to_owned(),
        value,
    };
    let id = (!number.is_multiple_of(3)).then(|| format!("request {number}"));
    DecideRequest {
        request_id: id.unwrap_or_default(),
        host: "video.example.com".to_owned(),
        path,
        query: if number.is_multiple_of(2) {
            String::new()
        } else {
            format!("v={}&token=secret", number % 7)
        },
        headers: vec![
            header("x-variant", format!("{}", number % 2)),
            header("cookie", "secret".to_owned()),
        ],
        client,
        ..DecideRequest::default()
    }
}

/// A sidecar that logs, and the one who asks it.
struct Rig {
    files: Files,
    server: Server,
    client: Client,
    asked: usize,
}

impl Rig {
    async fn open(sample_ratio: f64) -> Self {
        let files = Files::new();
        files.write("geo.mmdb", example::GEO);
        files.write("policy.yaml", policy("150ms", sample_ratio));
        let setup = files.setup().with("geo", files.path("geo.mmdb"));
        let server = setup.with("decision-log", log(&files)).start().await;
        let client = server.client().await;
        Self {
            files,
            server,
            client,
            asked: 0,
        }
    }

    /// Asks so many times, and waits until all of it is in the log: a test machine's disk is slow.
    async fn ask(&mut self, count: usize) -> Vec<DecideResponse> {
        let mut answers = Vec::new();
        let numbers: Vec<usize> = (self.asked..self.asked + count).collect();
        for some in numbers.chunks(1_000) {
            let requests: Vec<DecideRequest> = some.iter().map(|number| asked(*number)).collect();
            answers.extend(self.client.decide_all(&requests).await);
            self.asked += some.len();
            let wanted = i64::try_from(self.asked).unwrap();
            let written = || self.server.count("tradewind_decision_log_written_total");
            self.server
                .until("all is logged", || written() == wanted)
                .await;
        }
        answers
    }

    /// Tells that a node fails, by decisions that named it first.
    async fn fail(&self, node: &str, answers: &[DecideResponse]) {
        let is_first = |answer: &&DecideResponse| {
            answer
                .candidates
                .first()
                .is_some_and(|first| first.node == node)
        };
        let outcome = |answer: &DecideResponse| Outcome {
            decision_id: answer.decision_id.clone(),
            node: node.to_owned(),
            attempt: 1,
            result: AttemptResult::Error.into(),
            status: 503,
            ..Outcome::default()
        };
        let failed = answers.iter().rev().filter(is_first).take(10).map(outcome);
        let mut feedback = FeedbackServiceClient::new(self.client.channel.clone());
        let report = ReportRequest {
            outcomes: failed.collect(),
            reporter: "tests".to_owned(),
        };
        feedback.report_unary(report).await.unwrap();
        self.server
            .until("the breaker is open", || {
                let nodes = self.server.get("/debug/nodes").json();
                nodes.to_string().contains("breaker_open")
            })
            .await;
    }
}

fn log(files: &Files) -> std::path::PathBuf {
    files.root().join("decisions.log")
}

fn replay(files: &Files, args: &[&str]) -> (i32, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_tradewind"))
        .arg("replay")
        .arg(log(files))
        .args(args)
        .env_clear()
        .output()
        .unwrap();
    let errors = String::from_utf8(done.stderr).unwrap();
    let said = String::from_utf8(done.stdout).unwrap() + &errors;
    (done.status.code().unwrap(), said)
}

/// So many decisions, over an open breaker, another policy, another topology and a drain by file.
async fn run(count: usize) -> Rig {
    let mut rig = Rig::open(1.0).await;
    let part = count / 5;
    let answers = rig.ask(part).await;
    rig.fail("fra-1", &answers).await;
    rig.ask(part).await;
    rig.files.replace("policy.yaml", policy("40ms", 1.0));
    rig.server.until_revision(2).await;
    rig.ask(part).await;
    rig.files
        .replace("topology.yaml", Fleet::usual().without("fra-5").text());
    rig.server.until_revision(3).await;
    rig.ask(part).await;
    let drained = Fleet::usual().change("par-1", |node| node.state = "drain");
    rig.files.replace("topology.yaml", drained.text());
    rig.server.until_revision(4).await;
    rig.ask(count - 4 * part).await;
    rig
}

fn grouped(count: usize) -> String {
    format!("{},{:03}", count / 1_000, count % 1_000)
}

async fn all_are_answered_again(count: usize) {
    let rig = run(count).await;
    let hidden = rig.server.count("tradewind_decision_log_hidden_total");
    let hidden = usize::try_from(hidden).unwrap();
    let (status, said) = replay(&rig.files, &[]);
    let wanted = format!("{} decisions, 0 differences\n", grouped(count - hidden));
    assert!(
        status == 0 && said.starts_with(&wanted),
        "{hidden} hidden\n{said}"
    );
    assert!(
        hidden * 20 < count,
        "{hidden} of {count} cannot be made again"
    );
    let text = fs::read_to_string(log(&rig.files)).unwrap();
    println!("{} bytes a decision, {hidden} hidden", text.len() / count);
    drop(rig.server);
}

#[tokio::test]
async fn five_thousand_decisions_are_answered_again_bit_for_bit() {
    all_are_answered_again(5_000).await;
}

#[tokio::test]
#[ignore = "takes minutes: cargo test --test sidecar a_hundred_thousand -- --ignored --nocapture"]
async fn a_hundred_thousand_decisions_are_answered_again_bit_for_bit() {
    all_are_answered_again(100_000).await;
}

#[tokio::test]
async fn the_log_names_no_client_and_opens_no_door() {
    let mut rig = Rig::open(1.0).await;
    rig.ask(1_100).await;
    let text = fs::read_to_string(log(&rig.files)).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut seen = 0;
    for decision in lines.filter_map(|line| line.get("decision").cloned()) {
        let Some(asked) = decision.get("asked") else {
            continue;
        };
        let request: String = asked["request"].as_str().unwrap().to_owned();
        let request: DecideRequest =
            tradewind::sidecar::decision_log::record::decoded(&request).unwrap();
        let ip = request.client.map(|client| client.ip).unwrap_or_default();
        let is_network = ip.is_empty() || ip.ends_with(".0") || ip.starts_with("fd");
        assert!(is_network, "{ip}");
        assert!(
            request
                .headers
                .iter()
                .all(|header| header.name != "cookie" || header.value.is_empty())
        );
        seen += 1;
    }
    assert!(seen > 1_000, "{seen}");
    assert!(!text.contains("session=17"));
}

#[tokio::test]
async fn what_is_refused_degraded_or_spilled_is_always_logged() {
    let mut rig = Rig::open(0.0).await;
    let requests: Vec<DecideRequest> = (0..110).map(asked).collect();
    let answers = rig.client.decide_all(&requests).await;
    let notable = answers.iter().filter(|answer| {
        answer.candidates.is_empty() || ["degraded", "spilled"].contains(&answer.purity.as_str())
    });
    let notable = i64::try_from(notable.count()).unwrap();
    assert!(notable >= 10);
    let written = || rig.server.count("tradewind_decision_log_written_total");
    rig.server
        .until("they are logged", || written() >= notable)
        .await;
    assert_eq!(written(), notable);
}

#[tokio::test]
async fn another_policy_is_tried_and_a_changed_log_is_not_believed() {
    let mut rig = Rig::open(1.0).await;
    rig.ask(1_000).await;
    let same = rig.files.path("policy.yaml");
    let (status, said) = replay(&rig.files, &["--policy", same.to_str().unwrap()]);
    assert!(
        status == 0 && said.contains("  0 get another first node"),
        "{said}"
    );
    let other = policy("150ms", 1.0)
        .replace("name: all,", "name: rest,")
        .replace("query: [v]", "query: []");
    rig.files.write("other.yaml", other);
    let other = rig.files.path("other.yaml");
    let (status, said) = replay(&rig.files, &["--policy", other.to_str().unwrap()]);
    assert_eq!(status, 0, "{said}");
    assert!(
        said.contains("rule all, node") && said.contains("-> rule rest, node"),
        "{said}"
    );
    assert!(!said.contains("  0 get another first node"), "{said}");
    let (status, said) = replay(&rig.files, &["--host", "x", "--topology", "y"]);
    assert!(status == 2 && said.contains("only --policy"), "{said}");

    let text = fs::read_to_string(log(&rig.files)).unwrap();
    let without: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("{\"state\""))
        .collect();
    fs::write(log(&rig.files), without.join("\n")).unwrap();
    let (status, said) = replay(&rig.files, &[]);
    assert!(
        status == 1 && said.contains("builds upon a state that is not there"),
        "{said}"
    );
}

#[tokio::test]
async fn a_log_within_its_bound_begins_anew_and_both_files_are_whole() {
    let files = Files::new();
    files.write("policy.yaml", policy("150ms", 1.0));
    let setup = files.setup().with("decision-log", log(&files));
    let setup = setup.with("decision-log-max-bytes", "1000000");
    let server = setup.clone().start().await;
    let client = server.client().await;
    let mut rig = Rig {
        files,
        server,
        client,
        asked: 0,
    };
    let before = rig.files.root().join("decisions.log.1");
    while !before.exists() {
        rig.ask(1_000).await;
    }
    rig.ask(10).await;
    assert!(fs::metadata(&before).unwrap().len() < 1_100_000);
    let (status, said) = replay(&rig.files, &[before.to_str().unwrap()]);
    assert_eq!(status, 0, "{said}");
    // A crash cuts a line; the next life goes on behind it.
    let Rig { files, server, .. } = rig;
    server.kill();
    let mut text = fs::read(log(&files)).unwrap();
    text.truncate(text.len() - 40);
    fs::write(log(&files), text).unwrap();
    let server = setup.start().await;
    let client = server.client().await;
    let mut rig = Rig {
        files,
        server,
        client,
        asked: 0,
    };
    rig.ask(100).await;
    let (status, said) = replay(&rig.files, &[]);
    assert!(
        status == 1 && said.contains("1 lines say nothing"),
        "{said}"
    );
    assert!(said.contains(" 0 differences"), "{said}");
}

/// With a candidate beside the policy in force each decision is made again by the policy that made it.
#[tokio::test]
async fn decisions_of_a_rollout_are_made_again_by_the_policy_that_made_them() {
    let mut rig = Rig::open(1.0).await;
    let at = format!("http://{}", rig.server.admin);
    let mut rollout = RolloutServiceClient::connect(at).await.unwrap();
    let document = policy("150ms", 1.0).replace("query: [v]", "query: [w]");
    let start = StartRolloutRequest {
        document,
        stages: vec![RolloutStage {
            percent: 30.0,
            hold: None,
        }],
        why: "tests".to_owned(),
        ..StartRolloutRequest::default()
    };
    rollout.start(start).await.unwrap();
    let answers = rig.ask(500).await;
    rig.fail("fra-1", &answers).await;
    let more = rig.ask(500).await;
    let by: BTreeSet<&str> = more.iter().map(|it| it.policy_digest.as_str()).collect();
    assert_eq!(by.len(), 2, "both decided");
    assert_eq!(rig.server.count("tradewind_decision_log_hidden_total"), 0);
    let (exit, said) = replay(&rig.files, &[]);
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("1,000 decisions"), "{said}");
}
