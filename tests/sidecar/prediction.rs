//! What a plan says will move, and what then moves on the running sidecar: the same, within the error of its sample.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;
use tonic::transport::Channel;
use tradewind::sidecar::wire::proto::policy_service_client::PolicyServiceClient;
use tradewind::sidecar::wire::proto::{ApplyPolicyRequest, DecideRequest, PlanPolicyRequest};

use crate::client::{Client, from_ip, request, requests};
use crate::fleet;
use crate::server::{Files, Server};

/// How far a share of a sample may be from the share of all, in standard errors: chance alone is further off once in
/// sixteen thousand times.
const ERRORS: f64 = 4.0;

/// Changes of the usual policy: most keys move, or those of one object in ten.
fn changes() -> [(&'static str, String); 2] {
    let policy = fleet::policy("all");
    let every_key = policy.replace("rollback: none,", "rollback: none, key: {host: false},");
    let sevens = "  rules:
    - {name: sevens, owner: tests, rollback: none, when: 'request.path.endsWith(\"7\")', key: {host: false},
       pools: [edge, regional, origin]}\n";
    let one_in_ten = policy.replace("  rules:\n", sevens);
    [
        ("another key for all", every_key),
        ("another key for one in ten", one_in_ten),
    ]
}

/// A sidecar that keeps so many decisions, and the ways to it.
struct Door {
    /// Gone with it.
    _files: Files,
    server: Server,
    client: Client,
    policy: PolicyServiceClient<Channel>,
}

impl Door {
    async fn open(kept: usize, geo: Option<PathBuf>) -> Self {
        let files = Files::new();
        let setup = files.setup().with("decisions-kept", kept.to_string());
        let setup = geo
            .into_iter()
            .fold(setup, |setup, geo| setup.with("geo", geo));
        let server = setup.start().await;
        let admin = format!("http://{}", server.admin);
        Self {
            client: server.client().await,
            policy: PolicyServiceClient::connect(admin).await.unwrap(),
            server,
            _files: files,
        }
    }

    /// What a policy would do, by the decisions that are kept.
    async fn plan(&mut self, document: &str) -> Value {
        let request = PlanPolicyRequest {
            document: document.to_owned(),
        };
        let planned = self.policy.plan(request).await.unwrap().into_inner();
        assert_eq!(planned.faults, Vec::<String>::new());
        let report: Value = serde_json::from_str(&planned.report_json).unwrap();
        assert_eq!(report["rests_on"], "traffic", "{:?}", planned.lines);
        report
    }

    async fn apply(&mut self, document: String) {
        let request = ApplyPolicyRequest {
            document,
            why: "tests".to_owned(),
            ..ApplyPolicyRequest::default()
        };
        let applied = self.policy.apply(request).await.unwrap().into_inner();
        assert_eq!(applied.revision, 2, "{applied:?}");
        assert_eq!(self.server.revision(), 2);
    }

    /// The first nodes for all of these. Each few are kept before the next are asked for, so that none is dropped.
    async fn first_nodes(&mut self, requests: &[DecideRequest]) -> Vec<String> {
        let mut nodes = Vec::new();
        for batch in requests.chunks(128) {
            let answers = self.client.decide_all(batch).await;
            let page = format!("/debug/decisions/{}", answers.last().unwrap().decision_id);
            let server = &self.server;
            let is_kept = || server.get(&page).status == 200;
            server.until("the decisions are kept", is_kept).await;
            let first = answers.iter().map(|answer| answer.candidates.first());
            let first = first.map(|node| node.map(|node| node.node.clone()));
            nodes.extend(first.map(Option::unwrap_or_default));
        }
        nodes
    }
}

/// A share in percent, and of how many.
fn moved(of: &Value) -> (f64, u32) {
    let count = of["looked_at"].as_u64().unwrap();
    let percent = of["moved_percent"].as_f64().unwrap();
    (percent, u32::try_from(count).unwrap())
}

/// How many of all have another first node, in percent.
fn differing(before: &[String], after: &[String]) -> f64 {
    let both = before.iter().zip(after);
    let differing = both.filter(|(before, after)| before != after).count();
    let [differing, all] = [differing, before.len()].map(|it| u32::try_from(it).unwrap());
    100.0 * f64::from(differing) / f64::from(all)
}

/// That a share of a sample is what it is of all, within the error of the sample: `left_out` is the share of all that is not
/// in it, for of all itself there is no error but that of rounding.
#[track_caller]
fn is_near(what: &str, (planned, sample): (f64, u32), (happened, left_out): (f64, f64)) {
    let share = happened / 100.0;
    let error = (share * (1.0 - share) / f64::from(sample) * left_out).sqrt();
    let bound = ERRORS * 100.0 * error + 1e-6;
    println!(
        "{what}: planned {planned:.2} % by {sample} requests, {happened:.2} % moved; within {bound:.2} points"
    );
    assert!((planned - happened).abs() <= bound);
}

#[tokio::test]
async fn as_many_keys_move_as_a_plan_says() {
    for (what, document) in changes() {
        for kept in [600, 2_000] {
            let mut door = Door::open(kept, None).await;
            let objects = requests(2_000);
            let before = door.first_nodes(&objects).await;
            let planned = moved(&door.plan(&document).await["keys"]);
            door.apply(document.clone()).await;
            let after = door.first_nodes(&objects).await;
            let happened = differing(&before, &after);
            assert!(happened > 5.0, "{happened}");
            let left_out = 1.0 - f64::from(planned.1) / 2_000.0;
            is_near(what, planned, (happened, left_out));
        }
    }
}

/// The requests of the real access log; `None`, after one line that says so, where there is none.
fn access_log(test: &str) -> Option<Vec<DecideRequest>> {
    let Some(path) = shared("traces/apache_logs.gz") else {
        println!("skipped: {test}: ../shared/data is not here");
        return None;
    };
    let mut log = Vec::new();
    let mut file = GzDecoder::new(File::open(path).unwrap());
    file.read_to_end(&mut log).unwrap();
    let log = String::from_utf8_lossy(&log);
    let requests = log.lines().map(|line| {
        let target = line.split('"').nth(1).unwrap().split(' ').nth(1).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        DecideRequest {
            request_id: String::new(),
            query: query.to_owned(),
            client: Some(from_ip(line.split(' ').next().unwrap())),
            ..request(path)
        }
    });
    Some(requests.collect())
}

fn shared(name: &str) -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    Some(directory.join(name)).filter(|path| path.exists())
}

/// Here the log is the sample, of what its clients ask: what is kept of a request has the client's network only, which a geo
/// file may place elsewhere than the client.
#[tokio::test]
async fn as_many_requests_of_a_real_log_move_as_a_plan_says() {
    let Some(log) = access_log("as_many_requests_of_a_real_log_move_as_a_plan_says") else {
        return;
    };
    let [(what, document), _] = changes();
    let geo = shared("geo/dbip-city-subset-flat.mmdb").unwrap();
    let mut door = Door::open(log.len(), Some(geo)).await;
    let before = door.first_nodes(&log).await;
    let planned = moved(&door.plan(&document).await["requests"]);
    door.apply(document).await;
    let after = door.first_nodes(&log).await;
    is_near(what, planned, (differing(&before, &after), 1.0));
}
