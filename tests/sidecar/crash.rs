//! After a crash with broken files: the last good texts, from disk.
//!
//! The long run of kills is `cargo test --release --test sidecar -- --ignored --nocapture kills`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tonic::transport::Channel;
use tradewind::sidecar::wire::proto::topology_service_client::TopologyServiceClient;
use tradewind::sidecar::wire::proto::{ApplyTopologyRequest, GetTopologyRequest};

use crate::client::request;
use crate::fleet::{self, Fleet};
use crate::server::{Files, Server};
use tradewind::sidecar::clock::timer_now;

const POLICY_DEGRADED: &str = "tradewind_source_degraded{source=\"policy\"}";
const TOPOLOGY_DEGRADED: &str = "tradewind_source_degraded{source=\"topology\"}";

/// What is on disk of the revisions: paths of files that end so, the newest last.
fn files_kept(files: &Files, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(files.state().join("revisions")) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|it| it == ending))
        .collect();
    paths.sort();
    paths
}

/// The newest revision on disk, as a text.
fn newest_kept(files: &Files) -> String {
    fs::read_to_string(files_kept(files, "revision").last().unwrap()).unwrap()
}

async fn rule(server: &Server) -> String {
    server.client().await.decide(request("/a")).await.rule
}

#[tokio::test]
async fn f01_killed_and_started_over_a_broken_policy_it_serves_the_last_good_one() {
    let files = Files::new();
    let server = files.setup().start().await;
    files.replace("policy.yaml", fleet::policy("newer"));
    server.until_revision(2).await;
    let before = server.client().await.decide(request("/a")).await;
    assert_eq!(before.rule, "newer");
    // Killed while it is asked.
    let mut client = server.client().await;
    let asking =
        tokio::spawn(async move { while client.try_decide(request("/b")).await.is_ok() {} });
    tokio::task::yield_now().await;
    server.kill();
    asking.await.unwrap();

    files.write("policy.yaml", "rules: [");
    let began = timer_now();
    let server = files.setup().start().await;
    let answer = server.client().await.decide(request("/a")).await;
    let took = began.elapsed();
    println!("the last good policy answers after {} ms", took.as_millis());
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(answer.candidates, before.candidates);
    assert_eq!(answer.policy_digest, before.policy_digest);
    let page = server.get("/readyz");
    let ready = page.json();
    assert_eq!((page.status, &ready["ready"]), (200, &true.into()));
    assert_eq!(ready["policy"]["state"], "last_good");
    assert_eq!(
        ready["policy"]["serving_digest"],
        before.policy_digest.as_str()
    );
    assert_eq!(ready["topology"]["state"], "serving");
    let faults = ready["policy"]["faults"].as_array().unwrap();
    assert!(
        faults[0].as_str().unwrap().contains("policy.yaml"),
        "{faults:?}"
    );
    assert_eq!(server.count(POLICY_DEGRADED), 1);
    assert_eq!(server.count(TOPOLOGY_DEGRADED), 0);

    files.replace("policy.yaml", fleet::policy("mended"));
    server.until_revision(3).await;
    assert_eq!(rule(&server).await, "mended");
    assert_eq!(server.count(POLICY_DEGRADED), 0);
    assert_eq!(server.get("/readyz").json()["policy"]["state"], "serving");
}

#[tokio::test]
async fn with_both_files_broken_or_gone_the_last_good_pair_is_served() {
    let files = Files::new();
    files.setup().start().await.kill();
    for gone in [false, true] {
        for name in ["policy.yaml", "topology.yaml"] {
            if gone {
                fs::remove_file(files.path(name)).unwrap();
            } else {
                files.write(name, "\0");
            }
        }
        let server = files.setup().start().await;
        assert_eq!(rule(&server).await, "all");
        let ready = server.get("/readyz").json();
        for document in ["policy", "topology"] {
            assert_eq!(ready[document]["state"], "last_good", "{ready}");
            assert!(!ready[document]["faults"].as_array().unwrap().is_empty());
        }
        assert_eq!(server.count(POLICY_DEGRADED), 1);
        assert_eq!(server.count(TOPOLOGY_DEGRADED), 1);
    }
    // One after the other comes back.
    let server = files.setup().start().await;
    files.write("policy.yaml", fleet::policy("back"));
    server.until_revision(2).await;
    let without = Fleet::usual().without("fra-1");
    files.write("topology.yaml", without.text());
    server.until_revision(3).await;
    assert_eq!(rule(&server).await, "back");
    assert_eq!(server.count(POLICY_DEGRADED), 0);
    assert_eq!(server.count(TOPOLOGY_DEGRADED), 0);
}

#[tokio::test]
async fn f05_killed_at_any_moment_of_a_reload_it_finds_a_whole_pair() {
    let files = Files::new();
    for round in 0..8_u64 {
        let server = files.setup().start().await;
        let name = format!("rule-{round}");
        files.replace("policy.yaml", fleet::policy(&name));
        // Reading takes 70 ms or more after the change; the kills fall before, into and after the write.
        tokio::time::sleep(Duration::from_millis(60 + 10 * round)).await;
        server.kill();
        files.replace("policy.yaml", "");
        let server = files.setup().start().await;
        let kept = rule(&server).await;
        let before = newest_kept(&files);
        assert!(
            before.contains(&format!("name: {kept},")),
            "{kept} {before}"
        );
        server.kill();
        files.replace("policy.yaml", fleet::policy("all"));
    }
}

/// What a process that is killed while it keeps one pair after the other was asked, and what it said it had done.
#[derive(Debug, Default)]
struct Storm {
    asked: AtomicU64,
    done: AtomicU64,
}

impl Storm {
    /// Gives topologies with rising numbers, each as soon as the last is in force, until there is nobody to answer.
    async fn rage(self: Arc<Self>, mut topology: TopologyServiceClient<Channel>) {
        loop {
            let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            let asked = ApplyTopologyRequest {
                document: numbered(number),
                why: "tests".to_owned(),
                ..ApplyTopologyRequest::default()
            };
            match topology.apply(asked).await {
                Ok(answer) => assert_eq!(answer.into_inner().faults, Vec::<String>::new()),
                Err(_) => return,
            }
            self.done.store(number, Ordering::SeqCst);
        }
    }
}

/// The usual fleet under a number, in a text long enough for writing it to take a moment.
fn numbered(number: u64) -> String {
    let padding = "# as long as a real one\n".repeat(4_000);
    format!("{}{padding}# {number}\n", Fleet::usual().text())
}

/// The number of the topology in force.
async fn number_in_force(topology: &mut TopologyServiceClient<Channel>) -> u64 {
    let answer = topology.get(GetTopologyRequest {}).await.unwrap();
    let document = answer.into_inner().document;
    let last = document
        .lines()
        .last()
        .and_then(|line| line.strip_prefix("# "));
    last.map_or(0, |number| number.parse().unwrap())
}

/// Kills a process again and again while it keeps pairs. Its files are broken, so each start depends on what was kept: a
/// whole pair, and none older than what it said was in force.
async fn survive(kills: u64) {
    let files = Files::new();
    files.setup().start().await.kill();
    for name in ["policy.yaml", "topology.yaml"] {
        files.write(name, "");
    }
    let storm = Arc::new(Storm::default());
    let (mut in_the_middle, mut unanswered) = (0, 0);
    for kill in 0..kills {
        let server = files.setup().start().await;
        let door = format!("http://{}", server.admin);
        let mut topology = TopologyServiceClient::connect(door).await.unwrap();
        let kept = number_in_force(&mut topology).await;
        let (done, asked) = (&storm.done, &storm.asked);
        let (done, asked) = (done.load(Ordering::SeqCst), asked.load(Ordering::SeqCst));
        assert!(
            (done..=asked).contains(&kept),
            "{kept} after {kill} kills, where {done} was in force and {asked} asked for"
        );
        assert_eq!(rule(&server).await, "all");
        unanswered += u64::from(kept > done);
        let raging = tokio::spawn(Arc::clone(&storm).rage(topology));
        // Spread over several rounds of compiling, keeping and publishing; a prime, so that no moment is left out.
        tokio::time::sleep(Duration::from_micros(kill * 7_919 % 40_000)).await;
        server.kill();
        raging.await.unwrap();
        in_the_middle += u64::from(!files_kept(&files, "new").is_empty());
    }
    println!(
        "{kills} kills: {in_the_middle} in the middle of a persist, {unanswered} between that and the answer, {} answered",
        storm.done.load(Ordering::SeqCst)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_thirty_kills_while_it_keeps_lose_nothing_that_was_in_force() {
    survive(30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo test --release --test sidecar -- --ignored --nocapture kills"]
async fn five_hundred_kills_while_it_keeps_lose_nothing_that_was_in_force() {
    survive(500).await;
}

#[tokio::test]
async fn f23_a_state_directory_that_takes_nothing_is_only_warned_of() {
    let files = Files::new();
    // A directory below a file cannot be made by anybody; a mode would not stop every user.
    let file = files.root().join("file");
    fs::write(&file, "").unwrap();
    let server = files
        .setup()
        .with("state-dir", file.join("state"))
        .start()
        .await;
    assert_eq!(rule(&server).await, "all");
    assert_eq!(server.count("tradewind_store_failures_total"), 1);
    files.replace("policy.yaml", fleet::policy("other"));
    server.until_revision(2).await;
    assert_eq!(rule(&server).await, "other");
    // What could not be kept is tried again with what comes next.
    assert_eq!(server.count("tradewind_store_failures_total"), 3);
    assert_eq!(server.count(POLICY_DEGRADED), 0);
    let warned = server.log();
    assert!(
        warned.contains("WARN") && warned.contains("cannot be kept"),
        "{warned}"
    );
}

#[tokio::test]
async fn f05_a_spoilt_state_file_is_as_good_as_none() {
    let files = Files::new();
    let folder = files.state().join("revisions");
    fs::create_dir_all(&folder).unwrap();
    for spoilt in ["", "garbage", "{}\nx", "{\"format\":1}\n"] {
        fs::write(folder.join("00000007.revision"), spoilt).unwrap();
        let server = files.setup().start().await;
        assert_eq!(rule(&server).await, "all");
        let newest = newest_kept(&files);
        assert!(newest.contains("name: all"), "{newest}");
        assert_eq!(files_kept(&files, "bad").len(), 1, "it is set aside");
        assert!(server.log().contains("a revision is lost"));
    }
    // With broken files beside it, there is nothing to serve and it says so.
    for path in files_kept(&files, "revision") {
        fs::write(path, "garbage").unwrap();
    }
    files.write("policy.yaml", "");
    let server = files.setup().start_unready().await;
    assert_eq!(server.get("/readyz").status, 503);
}
