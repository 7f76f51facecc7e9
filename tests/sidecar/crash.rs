//! After a crash with broken files: the last good texts, from disk.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

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
        server.until_said("what was kept is lost").await;
    }
    // With broken files beside it, there is nothing to serve and it says so.
    for path in files_kept(&files, "revision") {
        fs::write(path, "garbage").unwrap();
    }
    files.write("policy.yaml", "");
    let server = files.setup().start_unready().await;
    assert_eq!(server.get("/readyz").status, 503);
}
