//! Caches are told to drop what was purged, parents first; who does not is named, and is told again after a restart.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tonic::transport::Channel;
use tradewind::sidecar::wire::proto::purge_selector::Of;
use tradewind::sidecar::wire::proto::purge_service_client::PurgeServiceClient;
use tradewind::sidecar::wire::proto::{
    PurgeSelector, PurgeStatus, PurgeStatusRequest, SubmitPurgeRequest,
};

use crate::server::{Files, Server};

/// A cache that is told: what it was asked, in the order of all caches of its fleet, and whether it answers at all.
#[derive(Debug)]
struct Cache {
    name: &'static str,
    address: SocketAddr,
    answers: Mutex<u16>,
}

#[derive(Debug, Default)]
struct Fleet {
    caches: Vec<Arc<Cache>>,
    /// What was done, as `NAME METHOD TARGET`.
    done: Arc<Mutex<Vec<String>>>,
}

impl Fleet {
    fn of(names: &[&'static str]) -> Self {
        let mut fleet = Self::default();
        for name in names {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let cache = Arc::new(Cache {
                name,
                address: listener.local_addr().unwrap(),
                answers: Mutex::new(200),
            });
            let (own, done) = (Arc::clone(&cache), Arc::clone(&fleet.done));
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let (own, done) = (Arc::clone(&own), Arc::clone(&done));
                    thread::spawn(move || serve(stream.unwrap(), &own, &done));
                }
            });
            fleet.caches.push(cache);
        }
        fleet
    }

    fn answer(&self, name: &str, status: u16) {
        let cache = self.caches.iter().find(|it| it.name == name).unwrap();
        *cache.answers.lock().unwrap() = status;
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }

    /// Two tiers: what begins with `a` is a parent.
    fn topology(&self) -> String {
        let mut text = "apiVersion: tradewind/v1
kind: Topology
spec:
  tiers: [edge, regional]
  sites:
    - {id: fra, lat: 50.0, lon: 8.6, country: DE, tier: edge}
    - {id: ams, lat: 52.3, lon: 4.8, country: NL, tier: regional}
  nodes:
"
        .to_owned();
        for cache in &self.caches {
            let site = if cache.name.starts_with('a') {
                "ams"
            } else {
                "fra"
            };
            let (name, address) = (cache.name, cache.address);
            writeln!(
                text,
                "    - {{id: {name}, site: {site}, address: \"{address}\"}}"
            )
            .unwrap();
        }
        text
    }
}

/// Answers as it is told to; a status of 0 stands for nothing.
fn serve(stream: TcpStream, cache: &Cache, done: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => lines.push(line.trim_end().to_owned()),
            }
        }
        let status = *cache.answers.lock().unwrap();
        if status == 0 {
            continue;
        }
        if status == 200 {
            let asked = lines[0].trim_end_matches(" HTTP/1.1");
            done.lock().unwrap().push(format!("{} {asked}", cache.name));
        }
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn policy(pool: &str) -> String {
    format!(
        "apiVersion: tradewind/v1
kind: Policy
spec:
  addresses: {{allow: [127.0.0.0/8]}}
  slow_start_window: 0ms
  geo: {{default: {{lat: 50.1, lon: 8.7}}}}
  freshness: {{guard_percent: 100}}
  pools:
    - {{name: edge, select: {{tier: edge}}, reclaim: {{wide_method: BAN}}{pool}}}
    - {{name: regional, select: {{tier: regional}}, reclaim: {{wide_method: BAN}}{pool}}}
  rules:
    - {{name: all, owner: tests, rollback: none, pools: [edge, regional]}}
"
    )
}

/// A sidecar in front of such a fleet, and who purges.
struct Rig {
    server: Server,
    admin: PurgeServiceClient<Channel>,
}

impl Rig {
    async fn of(files: &Files) -> Self {
        let server = files.setup().start().await;
        let at = format!("http://{}", server.admin);
        Self {
            admin: PurgeServiceClient::connect(at).await.unwrap(),
            server,
        }
    }

    async fn purge(&mut self, of: Of) -> u64 {
        let asked = SubmitPurgeRequest {
            selectors: vec![PurgeSelector {
                of: Some(of),
                exact_query: false,
            }],
            ..SubmitPurgeRequest::default()
        };
        self.admin
            .submit(asked)
            .await
            .unwrap()
            .into_inner()
            .sequence
    }

    async fn status(&mut self, sequence: u64) -> PurgeStatus {
        let asked = PurgeStatusRequest { sequence };
        self.admin.status(asked).await.unwrap().into_inner()
    }

    /// Waits until the debug door says something of purges.
    async fn until(&self, what: &str, holds: impl Fn(&serde_json::Value) -> bool) {
        let page = || self.server.get("/debug/purges").json();
        self.server.until(what, || holds(&page())).await;
    }
}

fn files(fleet: &Fleet, pool: &str) -> Files {
    let files = Files::new();
    files.write("policy.yaml", policy(pool));
    files.write("topology.yaml", fleet.topology());
    files
}

fn is_done(page: &serde_json::Value) -> bool {
    let tiers = page["tiers"].as_array().unwrap();
    !tiers.is_empty() && tiers.iter().all(|tier| tier["done"] == tier["nodes"])
}

#[tokio::test]
async fn parents_drop_first_and_who_does_not_is_named() {
    let fleet = Fleet::of(&["fra-1", "ams-1", "ams-2"]);
    let files = files(&fleet, "");
    let mut rig = Rig::of(&files).await;
    rig.until("its nodes are known", |page| page["tiers"][1]["nodes"] == 1)
        .await;
    fleet.answer("ams-2", 503);
    let first = rig.purge(Of::Url("https://h/a?w=1".to_owned())).await;
    let is_stuck = |page: &serde_json::Value| {
        let tier = &page["tiers"][0];
        tier["tier"] == "regional" && tier["done"] == 1 && page["behind"][0]["failure"] != ""
    };
    rig.until("a parent does not come along", is_stuck).await;
    let status = rig.status(first).await;
    let names = |it: &tradewind::sidecar::wire::proto::NodeBehind| {
        [&it.node, &it.waits_for, &it.failure].map(String::clone)
    };
    let behind: Vec<_> = status.behind.iter().map(names).collect();
    assert_eq!(
        behind,
        [["ams-2", "", "answered 503"], ["fra-1", "ams-2", ""]]
    );
    assert!(status.tiers.iter().all(|tier| tier.fenced == 0));
    assert_eq!(fleet.done(), ["ams-1 PURGE /a"]);
    let behind = |site: &str| format!("tradewind_purge_behind_nodes{{site=\"{site}\"}}");
    assert_eq!(rig.server.count(&behind("ams")), 1);
    assert_eq!(rig.server.count(&behind("fra")), 1);

    fleet.answer("ams-2", 200);
    rig.until("all have dropped it", is_done).await;
    assert_eq!(
        fleet.done(),
        ["ams-1 PURGE /a", "ams-2 PURGE /a", "fra-1 PURGE /a"]
    );
    assert_eq!(rig.server.count(&behind("fra")), 0);
    // What is wider goes by its own method.
    let last = rig.purge(Of::Prefix("https://h/img/".to_owned())).await;
    rig.until("all have dropped that", |page| {
        page["head"] == last && is_done(page)
    })
    .await;
    assert_eq!(fleet.done().last().unwrap(), "fra-1 BAN /img");
    assert!(rig.status(last).await.behind.is_empty());
}

/// `freshness: node`: who has not dropped an object is not named for it, and is waited for no longer than five seconds.
#[tokio::test]
async fn who_is_behind_is_left_out_for_what_was_purged_and_only_for_that() {
    let fleet = Fleet::of(&["fra-1", "fra-2", "ams-1"]);
    let files = files(&fleet, ", freshness: node");
    let rig = Rig::of(&files).await;
    rig.until("its nodes are known", |page| page["tiers"][1]["nodes"] == 2)
        .await;
    let at = |path: &str| format!("/debug/object?host=h&path={path}&lat=50.1&lon=8.7");
    let page = |path: &str| rig.server.get(&at(path)).json();
    let first = |page: &serde_json::Value| page["decision"]["candidates"][0]["node"].clone();
    let home = first(&page("/a"));
    let name = home.as_str().unwrap().to_owned();
    fleet.answer(&name, 503);
    let purge = Of::Url("https://h/a".to_owned());
    let mut admin = rig.admin.clone();
    let asked = SubmitPurgeRequest {
        selectors: vec![PurgeSelector {
            of: Some(purge),
            exact_query: false,
        }],
        ..SubmitPurgeRequest::default()
    };
    admin.submit(asked).await.unwrap();
    let is_dropped_by_others =
        |page: &serde_json::Value| page["tiers"][0]["done"] == 1 && page["tiers"][1]["done"] == 1;
    rig.until("the others have dropped it", is_dropped_by_others)
        .await;
    let seen = page("/a");
    assert_ne!(first(&seen), home);
    assert_eq!(seen["decision"]["reason"], "purge_behind");
    let listed = seen["decision"]["candidates"].as_array().unwrap();
    assert_eq!(
        listed.last().unwrap()["node"],
        home,
        "it is the last resort"
    );
    let summary = seen["explanation"]["summary"].to_string();
    assert!(
        summary.contains(&format!("{name} left out: the purge is not done there yet")),
        "{summary}"
    );
    // Another object that it is home to is served by it as ever.
    let other = (0..100).map(|at| format!("/other/{at}"));
    let mut other = other.filter(|path| first(&page(path)) == home);
    assert!(other.next().is_some());
    rig.until("it is fenced", |page| page["tiers"][1]["fenced"] == 1)
        .await;
    fleet.answer(&name, 200);
    rig.until("it has dropped it too", is_done).await;
    rig.server
        .until("it is named again", || first(&page("/a")) == home)
        .await;
    assert_eq!(page("/a")["decision"]["reason"], "owner");
}

#[tokio::test]
async fn what_was_not_done_before_a_crash_is_done_after_it() {
    let fleet = Fleet::of(&["fra-1", "ams-1"]);
    let files = files(&fleet, "");
    let mut rig = Rig::of(&files).await;
    rig.until("its nodes are known", |page| page["tiers"][1]["nodes"] == 1)
        .await;
    rig.purge(Of::Url("https://h/a".to_owned())).await;
    rig.until("all have dropped it", is_done).await;
    fleet.answer("ams-1", 503);
    rig.purge(Of::Url("https://h/b".to_owned())).await;
    let is_stuck = |page: &serde_json::Value| page["behind"][0]["failure"] != "" && !is_done(page);
    rig.until("a node does not come along", is_stuck).await;
    let kept = files.state().join("purge-floors");
    let holds = || std::fs::read_to_string(&kept).is_ok_and(|text| text.contains("fra-1"));
    rig.server.until("what was done is on disk", holds).await;
    rig.server.kill();
    fleet.answer("ams-1", 200);
    let rig = Rig::of(&files).await;
    rig.until("all have dropped the other too", is_done).await;
    let done = fleet.done();
    assert_eq!(
        &done[done.len() - 2..],
        ["ams-1 PURGE /b", "fra-1 PURGE /b"]
    );
}
