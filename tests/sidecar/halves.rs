//! Files that are written in place, with pauses: half of one is a sound document here, and never taken.

use std::fs::File;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use crate::fleet;
use crate::server::{Files, Server};
use tradewind::sidecar::geoip::source::FileDigest;

/// How often a file is written in each way.
const TRIALS: u64 = 6;

/// A policy of twenty rules, of which the first of any number are a policy too.
fn policy(last: &str, end: &str) -> String {
    let first = fleet::policy("rule-0").replace("  rules:", "  otherwise: refuse\n  rules:");
    let rule = |number| {
        let name = if number == 19 {
            last.to_owned()
        } else {
            format!("rule-{number}")
        };
        format!("    - {{name: {name}, owner: tests, rollback: none, pools: [edge]}}\n")
    };
    let more: String = (1..20).map(rule).collect();
    format!("{first}{more}{end}")
}

/// Writes a file as somebody does who is often interrupted; how many revisions came of halves of it.
async fn write(server: &Server, files: &Files, text: &str, pause: Duration) -> u64 {
    let before = server.revision();
    let mut file = File::create(files.path("policy.yaml")).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for part in lines.chunks(lines.len().div_ceil(3)) {
        file.write_all(part.concat().as_bytes()).unwrap();
        // What is tried: that a pause is taken for the end.
        thread::sleep(pause);
    }
    drop(file);
    let sum = format!("{}  policy.yaml\n", FileDigest::of(text.as_bytes()));
    if files.path("policy.yaml.sha256").exists() {
        files.replace("policy.yaml.sha256", sum);
    }
    server
        .until("the whole is in force", || {
            let rules = server.get("/debug/policy").json()["rules"].clone();
            let last = rules.as_array().and_then(|rules| rules.last().cloned());
            last.is_some_and(|last| {
                text.contains(&format!("name: {},", last["name"].as_str().unwrap()))
            }) && rules.as_array().unwrap().len() == 20
                && server.revision() > before
        })
        .await;
    server.revision() - before - 1
}

async fn halves(how: &str, end: &str) -> u64 {
    let files = Files::new();
    let first = policy("first", end);
    files.write("policy.yaml", &first);
    if how == "sha256" {
        for name in ["policy.yaml", "topology.yaml"] {
            let text = std::fs::read(files.path(name)).unwrap();
            files.write(
                &format!("{name}.sha256"),
                format!("{}\n", FileDigest::of(&text)),
            );
        }
    }
    if how == "end" {
        let topology = std::fs::read_to_string(files.path("topology.yaml")).unwrap();
        files.write("topology.yaml", format!("{topology}\nend: true\n"));
    }
    let server = files.setup().with("documents", how).start().await;
    let mut taken = 0;
    for trial in 0..TRIALS {
        for pause in [100, 300].map(Duration::from_millis) {
            let name = format!("last-{trial}-{}", pause.as_millis());
            taken += write(&server, &files, &policy(&name, end), pause).await;
        }
    }
    println!(
        "--documents {how}: {taken} halves served in {} trials",
        2 * TRIALS
    );
    taken
}

#[tokio::test]
async fn f08_a_file_written_with_pauses_is_served_whole_or_not_at_all() {
    let [any, end, sum] = [
        halves("any", "").await,
        halves("end", "end: true\n").await,
        halves("sha256", "").await,
    ];
    assert_eq!([any, end, sum], [0, 0, 0]);
}

#[tokio::test]
async fn what_does_not_say_that_it_ends_is_refused_where_it_must() {
    let files = Files::new();
    let server = files.setup().with("documents", "end").start_unready().await;
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 503);
    let text = ready.json().to_string();
    assert!(
        text.contains("error[D016]") && text.contains("end: true"),
        "{text}"
    );
    for name in ["policy.yaml", "topology.yaml"] {
        let text = std::fs::read_to_string(files.path(name)).unwrap();
        files.replace(name, format!("{text}\nend: true\n"));
    }
    server
        .until("it is ready", || server.get("/readyz").status == 200)
        .await;
}
