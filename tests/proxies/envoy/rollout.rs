//! A bad policy tried on 5 % of the clients of a real Envoy: it takes itself back, and nobody else has ever met it.

use std::net::IpAddr;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tradewind::engine::model::Digest;
use tradewind::engine::query::Query;
use tradewind::engine::rollout::buckets;
use tradewind::engine::snapshot::{Cohort, Split};
use tradewind::sidecar::clock;
use tradewind::sidecar::wire::proto::rollout_service_client::RolloutServiceClient;
use tradewind::sidecar::wire::proto::{RolloutStatus, StartRolloutRequest, WatchRolloutRequest};
use tradewind_demo::nodes::Behaviour;

use super::traffic::{self, Seen, Visit};
use super::{Envoy, PATIENT, TELL_THE_LIST};
use crate::process::PATIENCE;
use crate::rig::{Setup, Sidecar};
use crate::tools::note;

/// The share of the clients that it is tried on, in percent.
const PERCENT: f64 = 5.0;

/// Requests between two looks at the rollout.
const ROUND: usize = 500;

/// Connections that requests come over.
const CONNECTIONS: usize = 8;

/// How long the rollout may take to end: a machine that has other work makes few requests a second.
const UNTIL_TAKEN_BACK: Duration = Duration::from_secs(90);

/// The site whose nodes fail, and the others, where the policy in force sends everybody.
const BAD_SITE: &str = "sites: [WAW]";
const GOOD_SITES: &str = "sites: [FRA, MAD]";

/// The policy in force: Warsaw is left out, and a new policy is watched for errors by groups of clients.
fn setup() -> Setup {
    Setup {
        policy: vec![
            ("select: { tier: edge }", "select: { sites: [FRA, MAD] }"),
            (
                "\nspec:\n",
                "\nspec:
  rollout:
    cohort: client_group
    stages: [{ percent: 5, hold: 10m }]
    guards: [{ metric: error_percent, worse_by: 1, min_samples: 10, window: 10s }]
",
            ),
        ],
        ..Setup::quick()
    }
}

/// The way to a sidecar's rollouts.
struct Operator {
    runtime: Runtime,
    rollout: RolloutServiceClient<Channel>,
}

impl Operator {
    fn of(sidecar: &Sidecar) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", sidecar.admin)).unwrap();
        let endpoint = endpoint.connect_timeout(PATIENCE).timeout(PATIENCE);
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        let rollout = RolloutServiceClient::new(channel);
        Self { runtime, rollout }
    }

    fn start(&mut self, document: &str) -> RolloutStatus {
        let request = StartRolloutRequest {
            document: document.to_owned(),
            who: "ada".to_owned(),
            why: "tests".to_owned(),
            ..StartRolloutRequest::default()
        };
        let started = self.runtime.block_on(self.rollout.start(request));
        let started = started.unwrap().into_inner();
        assert_eq!(started.faults, Vec::<String>::new());
        started.status.unwrap()
    }

    fn status(&mut self) -> RolloutStatus {
        let rollout = &mut self.rollout;
        self.runtime.block_on(async {
            let watch = rollout.watch(WatchRolloutRequest {}).await;
            let first = watch.unwrap().into_inner().message().await;
            first.unwrap().unwrap()
        })
    }
}

/// Who is tried on, told by the candidate's text alone.
fn tried(candidate: &str) -> impl Fn(&Visit) -> bool {
    let split = Split {
        cohort: Cohort::ClientGroup,
        buckets: buckets(PERCENT),
        salt: Digest::of(candidate.as_bytes()).salt(),
    };
    move |visit| {
        let mut query = Query::default();
        let client: IpAddr = visit.client.parse().unwrap();
        query.client.ip = Some(client);
        split.has(&query)
    }
}

/// Makes rounds of requests until the rollout has ended: what became of them, and why it ended.
fn until_it_ends(
    operator: &mut Operator,
    mut round: impl FnMut() -> Vec<Seen>,
) -> (Vec<Seen>, String) {
    let began = clock::now();
    let mut seen = Vec::new();
    loop {
        seen.extend(round());
        let status = operator.status();
        if status.rollout.is_none() {
            assert_eq!(status.revision, 1, "the policy before is in force still");
            let last = status.last.unwrap();
            assert_eq!(last.fate, "rolled_back");
            assert!(last.why.starts_with("error_percent is "), "{}", last.why);
            return (seen, last.why);
        }
        assert!(began.elapsed() < UNTIL_TAKEN_BACK, "{status:?}");
    }
}

/// How many requests the bad nodes got.
fn met_by_nodes(envoy: &Envoy) -> usize {
    let counts = envoy.rig.nodes.counts();
    let bad = counts.iter().filter(|node| node.site == "WAW");
    let met = bad.map(|node| node.requests).sum::<u64>();
    usize::try_from(met).unwrap()
}

/// Has the nodes of the bad site fail; their addresses.
fn break_nodes(envoy: &Envoy) -> Vec<String> {
    let counts = envoy.rig.nodes.counts();
    let bad = counts.iter().filter(|node| node.site == "WAW");
    let bad: Vec<String> = bad.map(|node| node.address.to_string()).collect();
    for address in &bad {
        envoy.rig.behave(address, Behaviour::Error);
    }
    bad
}

/// Rolls a policy out that sends its clients to nodes that fail, and makes these requests over and over until it is gone.
fn is_taken_back_and_met_by_few(test: &str, visits: &[Visit]) {
    let edits = [TELL_THE_LIST, PATIENT];
    let Some(mut envoy) = Envoy::start_with(test, "envoy.yaml", &edits, setup()) else {
        return;
    };
    let bad = break_nodes(&envoy);
    let policy = std::fs::read_to_string(envoy.rig.file("policy.yaml")).unwrap();
    let candidate = policy.replace(GOOD_SITES, BAD_SITE);
    let is_tried = tried(&candidate);
    let mut operator = Operator::of(&envoy.rig.sidecar);
    let rollout = operator.start(&candidate).rollout.unwrap();
    assert_eq!(rollout.digest, Digest::of(candidate.as_bytes()).to_string());
    let share = (rollout.percent, rollout.cohort.as_str());
    assert_eq!(share, (PERCENT, "client_group"));

    let mut rounds = visits.chunks(ROUND).cycle();
    let mut round = || traffic::all(&envoy, rounds.next().unwrap(), CONNECTIONS);
    let began = clock::now();
    let (seen, why) = until_it_ends(&mut operator, &mut round);
    let took = began.elapsed();
    let names_bad = |one: &Seen| one.listed.iter().any(|node| bad.contains(node));
    let (mut met, mut attempts) = (0, 0);
    for one in &seen {
        if is_tried(&one.visit) {
            met += usize::from(names_bad(one));
            attempts += one.attempts * usize::from(names_bad(one));
        } else {
            assert!(one.status == 200 && !names_bad(one), "{one:?}");
        }
    }
    assert!(met > 0, "nobody was tried on");
    // The bad nodes got no more than those few were sent there: nobody came by another way. It may be fewer, for with some of
    // their breakers open a list is shorter than three, and Envoy's last attempts go to any node.
    let met_in_the_end = met_by_nodes(&envoy);
    assert!(met_in_the_end <= attempts, "{met_in_the_end} {attempts}");
    // It is gone, for all.
    for _ in 0..4 {
        for one in round() {
            assert!(one.status == 200 && !names_bad(&one), "{one:?}");
        }
    }
    assert_eq!(met_by_nodes(&envoy), met_in_the_end);
    let audit = envoy.rig.file("state/audit.log");
    envoy.process.until("the audit log has the reason", || {
        let audit = std::fs::read_to_string(&audit).unwrap();
        let mut lines = audit.lines();
        lines.any(|line| line.contains("\"rolled_back\"") && line.contains(&why))
    });
    note(&format!(
        "envoy: {met} of {} requests met the bad policy, all of the 5 %; taken back after {:.1} s: {why}",
        seen.len(),
        took.as_secs_f64(),
    ));
}

#[test]
fn envoys_clients_beyond_the_five_percent_never_meet_a_bad_policy() {
    // Networks for benchmarks, each a group of its own. Neighbours ask for different objects.
    let visits = (0..4_000_usize).map(|number| Visit {
        method: "GET".to_owned(),
        target: format!("/object/{}", number * 7 % 1_000),
        client: format!(
            "198.{}.{}.{}",
            18 + number % 2,
            number / 2 % 250,
            number % 200 + 1
        ),
    });
    let visits: Vec<Visit> = visits.collect();
    is_taken_back_and_met_by_few(
        "envoys_clients_beyond_the_five_percent_never_meet_a_bad_policy",
        &visits,
    );
}

#[test]
fn a_bad_policy_on_five_percent_of_a_real_log_is_taken_back() {
    let test = "a_bad_policy_on_five_percent_of_a_real_log_is_taken_back";
    if let Some(visits) = traffic::access_log(test) {
        is_taken_back_and_met_by_few(test, &visits);
    }
}
