//! The console in a real browser, on a sidecar that decides and is told, fails to read a policy, falls silent and is
//! started again. `tests/console/walk.mjs` has the assertions; docs/console.md the pictures.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::{self, MissedTickBehavior};
use tradewind::client::{AttemptResult, Client, Outcome};

use crate::programs;
use crate::requests::{Random, any};
use crate::sidecar::{Sidecar, until};

const SEED: u64 = 20_261_127;

/// How much more time the walk gives everything than on an idle machine.
const SLOW: &str = "6";

/// What is looked at with every run of the tests, in half a minute: that explanations are those of the door and the
/// terminal, decisions as they come, and who may not ask.
const OFTEN: &str = "explain,live,doors";

/// Decides and tells, some fifty times a second, as a proxy would.
async fn keep_asking(client: Client) {
    let mut random = Random(SEED);
    let mut tick = time::interval(Duration::from_millis(20));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let ms = |ms: u64| prost_types::Duration::try_from(Duration::from_millis(ms)).ok();
    loop {
        tick.tick().await;
        let mut request = any(&mut random);
        request.dry_run = false;
        request.tried_nodes.clear();
        if random.below(4) == 0 {
            "/video/launch/seg-1.m4s".clone_into(&mut request.path);
        }
        let Ok(answer) = client.decide(&request).await else {
            continue;
        };
        let Some(first) = answer.candidates.first() else {
            continue;
        };
        let is_slow = first.node == "ams-3";
        client.told(Outcome {
            status: 200,
            time_to_first_byte: ms(if is_slow { 60 } else { 5 + random.below(20) }),
            ..answer.outcome(first, 1, AttemptResult::Ok)
        });
    }
}

/// Where pictures go, to be looked at after a run.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("console")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_through_the_console_in_a_browser() {
    walk(&["--only", OFTEN]).await;
}

/// All of it: accessibility and pictures of every page in both themes and two widths, each state of a fleet caused on
/// a sidecar of its own, a large fleet, and what needs more patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; docs/testing.md"]
async fn the_whole_console_in_a_browser() {
    walk(&[]).await;
}

/// Of a thousand random questions page, gRPC and terminal say the same, and forty changes that the page names are made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; docs/testing.md"]
async fn a_thousand_explanations_of_the_console() {
    walk(&["--only", "same", "--same", "1000", "--flips", "40"]).await;
}

/// Ten minutes of Live while a thousand decisions a second are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes ten minutes; docs/testing.md"]
async fn ten_minutes_of_live_in_the_console() {
    walk(&["--only", "memory", "--minutes", "10"]).await;
}

async fn walk(only: &[&str]) {
    let test = "the walk through the console";
    let Some(chromium) = programs::path("chromium", test) else {
        return;
    };
    let Some(node) = programs::path("walk", test) else {
        return;
    };
    println!("seed {SEED}");
    let _quiet = crate::QUIET.lock().await;
    let sidecar = Sidecar::start().await;
    let client = sidecar.client();
    let asking = tokio::spawn(keep_asking(client));
    until("decisions are kept", async || {
        sidecar.body("/debug/decisions").contains("\"number\"")
    })
    .await;
    let mut walk = Command::new(node);
    walk.arg("tests/console/walk.mjs")
        .arg(format!("http://{}", sidecar.debug()))
        .arg(pictures())
        .args(["--slow", SLOW, "--questions", "8"])
        .args(only)
        .arg("--chromium")
        .arg(chromium)
        .arg("--pid")
        .arg(sidecar.pid().to_string())
        .arg("--policy")
        .arg(sidecar.file("policy.yaml"))
        .arg("--tradewind")
        .arg(env!("CARGO_BIN_EXE_tradewind"))
        .arg("--admin")
        .arg(sidecar.admin.to_string())
        .arg("--decisions")
        .arg(sidecar.grpc.to_string())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    // Every step of it has a bound of its own.
    let walked = tokio::task::spawn_blocking(move || walk.output()).await;
    asking.abort();
    let walked = walked.unwrap().unwrap();
    let said = String::from_utf8_lossy(&walked.stdout);
    let complaints = String::from_utf8_lossy(&walked.stderr);
    println!("{said}{complaints}");
    assert!(
        walked.status.success(),
        "see the lines that begin with FAILED"
    );
    assert!(said.contains("ok "), "something was looked at");
}
