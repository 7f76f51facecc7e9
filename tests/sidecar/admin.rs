//! The admin door: states set by operators, topologies given by call, updates that are held.

use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Code, Streaming};
use tradewind::sidecar::wire::proto::admin_service_client::AdminServiceClient;
use tradewind::sidecar::wire::proto::set_admin_state_request::Target;
use tradewind::sidecar::wire::proto::topology_service_client::TopologyServiceClient;
use tradewind::sidecar::wire::proto::{
    AdminState, ApplyTopologyRequest, ApplyTopologyResponse, DecideResponse, GetTopologyRequest,
    GetTopologyResponse, ResetBreakerRequest, SetAdminStateRequest, SetAdminStateResponse,
    TopologyEvent, WatchTopologyRequest,
};

use crate::client::{Client, requests};
use crate::fleet::Fleet;
use crate::server::{Files, PATIENCE, Server};

/// How many objects are asked for.
const KEYS: usize = 1_024;

/// A server and its admin door.
struct Door {
    server: Server,
    topology: TopologyServiceClient<Channel>,
    admin: AdminServiceClient<Channel>,
    client: Client,
}

impl Door {
    async fn open(files: &Files) -> Self {
        let server = files.setup().start().await;
        let at = format!("http://{}", server.admin);
        Self {
            topology: TopologyServiceClient::connect(at.clone()).await.unwrap(),
            admin: AdminServiceClient::connect(at).await.unwrap(),
            client: server.client().await,
            server,
        }
    }

    async fn set(&mut self, request: SetAdminStateRequest) -> SetAdminStateResponse {
        let answered = self.topology.set_admin_state(request).await;
        answered.unwrap().into_inner()
    }

    async fn apply(&mut self, request: ApplyTopologyRequest) -> ApplyTopologyResponse {
        self.topology.apply(request).await.unwrap().into_inner()
    }

    async fn get(&mut self) -> GetTopologyResponse {
        let answered = self.topology.get(GetTopologyRequest {}).await;
        answered.unwrap().into_inner()
    }

    async fn watch(&mut self) -> Streaming<TopologyEvent> {
        let answered = self.topology.watch(WatchTopologyRequest {}).await;
        answered.unwrap().into_inner()
    }

    async fn owners(&mut self) -> Vec<String> {
        let answers = self.client.decide_all(&requests(KEYS)).await;
        answers.iter().map(first).collect()
    }

    fn held(&self) -> Option<String> {
        let status = self.server.get("/readyz").json();
        status["topology"]["held"].as_str().map(str::to_owned)
    }
}

fn first(answer: &DecideResponse) -> String {
    answer.candidates[0].node.clone()
}

fn drain(node: &str) -> SetAdminStateRequest {
    SetAdminStateRequest {
        target: Some(Target::Node(node.to_owned())),
        state: AdminState::Drain.into(),
        who: "ada".to_owned(),
        why: "disk is failing".to_owned(),
        ..SetAdminStateRequest::default()
    }
}

fn undo(node: &str) -> SetAdminStateRequest {
    SetAdminStateRequest {
        state: AdminState::Ready.into(),
        ..drain(node)
    }
}

fn document(text: String) -> ApplyTopologyRequest {
    ApplyTopologyRequest {
        document: text,
        why: "tests".to_owned(),
        ..ApplyTopologyRequest::default()
    }
}

/// The usual fleet without half of its largest site and all of another: 11 of 17 nodes are left.
fn shrunk() -> Fleet {
    let gone = ["fra-1", "fra-2", "fra-3", "fra-4", "nyc-1", "nyc-2"];
    gone.into_iter().fold(Fleet::usual(), Fleet::without)
}

async fn next(events: &mut Streaming<TopologyEvent>) -> TopologyEvent {
    let event = tokio::time::timeout(PATIENCE, events.message()).await;
    event.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn a_drain_moves_the_nodes_keys_only_and_undo_restores_them() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    let before = door.owners().await;
    let answer = door.set(drain("fra-5")).await;
    assert_eq!(
        (answer.previous(), answer.effective(), answer.nodes_changed),
        (AdminState::Ready, AdminState::Drain, 1)
    );
    assert!(answer.kept);
    let drained = door.owners().await;
    let moved = before.iter().zip(&drained).filter(|(a, b)| a != b);
    assert!(moved.clone().all(|(owner, _)| owner == "fra-5"));
    assert!(moved.count() > 50 && !drained.contains(&"fra-5".to_owned()));
    assert_eq!(door.server.revision(), 1, "no text took effect");
    let node = door.get().await.nodes;
    let node = node.into_iter().find(|node| node.id == "fra-5").unwrap();
    assert_eq!(node.state(), AdminState::Drain);
    assert_eq!(node.admin_override.unwrap().why, "disk is failing");
    let answer = door.set(undo("fra-5")).await;
    assert_eq!(answer.effective(), AdminState::Ready);
    assert_eq!(door.owners().await, before);
}

#[tokio::test]
async fn a_drained_site_gives_its_keys_away_and_the_stricter_state_holds() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    let site = SetAdminStateRequest {
        target: Some(Target::Site("fra".to_owned())),
        ..drain("")
    };
    assert_eq!(door.set(site).await.nodes_changed, 8);
    assert!(door.owners().await.iter().all(|o| !o.starts_with("fra")));
    let stricter = SetAdminStateRequest {
        state: AdminState::Maintenance.into(),
        ..drain("fra-1")
    };
    let answer = door.set(stricter).await;
    assert_eq!(
        (answer.previous(), answer.effective()),
        (AdminState::Drain, AdminState::Maintenance)
    );
    let answer = door.set(undo("fra-1")).await;
    assert_eq!(answer.effective(), AdminState::Drain, "by its site");
}

#[tokio::test]
async fn a_drain_survives_a_restart_and_its_node() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    door.set(drain("fra-5")).await;
    door.server.kill();
    files.write("topology.yaml", Fleet::usual().without("fra-5").text());
    let mut door = Door::open(&files).await;
    let answer = door.get().await;
    assert!(!answer.overrides[0].exists && answer.overrides[0].who == "ada");
    files.replace("topology.yaml", Fleet::usual().text());
    door.server.until_revision(2).await;
    assert!(!door.owners().await.contains(&"fra-5".to_owned()));
    assert!(door.get().await.overrides[0].exists);
}

#[tokio::test]
async fn a_state_ends_by_itself() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    let mut events = door.watch().await;
    next(&mut events).await;
    let until = prost_types::Duration {
        seconds: 1,
        nanos: 0,
    };
    let short = SetAdminStateRequest {
        until: Some(until),
        ..drain("fra-5")
    };
    door.set(short).await;
    assert_eq!(next(&mut events).await.set.len(), 1);
    assert!(!door.owners().await.contains(&"fra-5".to_owned()));
    assert_eq!(next(&mut events).await.ended.len(), 1);
    assert!(door.owners().await.contains(&"fra-5".to_owned()));
}

#[tokio::test]
async fn a_topology_given_by_call_that_takes_away_much_waits_to_be_confirmed() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    let asked = document(shrunk().text());
    let answer = door.apply(asked.clone()).await;
    assert!(answer.held && answer.faults.is_empty() && answer.revision == 1);
    assert!((answer.removed_ratio - 6.0 / 17.0).abs() < 1e-9);
    assert_eq!(
        answer.held_because,
        "takes away 35.3 % of the fleet's weight, at most 25 % are taken unconfirmed"
    );
    assert!(door.held().unwrap().contains("35.3 %"));
    let held = door.get().await.held.unwrap();
    assert_eq!(
        (held.source.as_str(), &held.digest),
        ("apply", &answer.given_digest)
    );
    let other = ApplyTopologyRequest {
        if_digest: "0".repeat(16),
        ..asked.clone()
    };
    let refused = door.topology.apply(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    let confirmed = ApplyTopologyRequest {
        confirm_removal: true,
        if_digest: answer.digest,
        ..asked
    };
    let answer = door.apply(confirmed).await;
    assert!(!answer.held && answer.revision == 2);
    assert_eq!(answer.digest, answer.given_digest);
    assert_eq!(door.held(), None);
    // A change of the policy does not undo it, a change of the file does.
    files.replace("policy.yaml", crate::fleet::policy("other"));
    door.server.until_revision(3).await;
    assert_eq!(door.get().await.nodes.len(), 11);
    files.replace("topology.yaml", Fleet::usual().text() + "\n");
    door.server.until_revision(4).await;
    assert_eq!(door.get().await.nodes.len(), 17);
}

#[tokio::test]
async fn a_file_that_takes_away_much_is_held_and_stays_held() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    files.replace("topology.yaml", shrunk().text());
    let server = &door.server;
    server
        .until("the update is held", || door.held().is_some())
        .await;
    files.replace("topology.yaml", shrunk().text());
    files.replace("policy.yaml", crate::fleet::policy("other"));
    door.server.until_revision(2).await;
    let held = door.get().await.held.unwrap();
    assert!(held.source.ends_with("topology.yaml"), "{}", held.source);
    assert_eq!(door.get().await.nodes.len(), 17);
    let confirmed = ApplyTopologyRequest {
        held_digest: held.digest.chars().take(16).collect(),
        confirm_removal: true,
        ..document(String::new())
    };
    let answer = door.apply(confirmed.clone()).await;
    assert_eq!((answer.revision, &answer.digest), (3, &held.digest));
    let status = door.server.get("/readyz").json();
    assert_eq!(status["topology"]["state"], "serving");
    let gone = door.topology.apply(confirmed).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    assert_eq!(door.get().await.nodes.len(), 11);
}

#[tokio::test]
async fn a_watch_tells_of_each_change_and_ends_with_the_server() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    door.set(drain("fra-5")).await;
    let mut events = door.watch().await;
    let event = next(&mut events).await;
    assert_eq!((event.revision, event.set.len()), (1, 1));
    door.set(drain("fra-6")).await;
    assert_eq!(next(&mut events).await.set.len(), 1);
    door.set(undo("fra-5")).await;
    assert_eq!(next(&mut events).await.ended.len(), 1);
    let less = Fleet::usual().without("nyc-1").text();
    let answer = door.apply(document(less)).await;
    let event = next(&mut events).await;
    assert_eq!((event.revision, event.digest), (2, answer.digest));
    door.apply(document(shrunk().text())).await;
    assert!(next(&mut events).await.held.is_some());
    door.server.signal("TERM");
    let end = tokio::time::timeout(Duration::from_secs(10), events.message()).await;
    assert!(end.unwrap().unwrap().is_none(), "it ends in order");
    assert!(door.server.ended().await.success());
}

#[tokio::test]
async fn every_bad_field_is_refused_and_all_at_once() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    let bad = SetAdminStateRequest {
        target: Some(Target::Node("a b".to_owned())),
        state: 9,
        until: Some(prost_types::Duration {
            seconds: -1,
            nanos: 0,
        }),
        who: "w".repeat(257),
        why: String::new(),
        only_here: false,
    };
    let refused = door.topology.set_admin_state(bad).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for part in [
        "node is `a b`",
        "state is 9",
        "until is -1s",
        "who has 257",
        "why is empty",
    ] {
        assert!(refused.message().contains(part), "{part} in {refused}");
    }
    let bad = ApplyTopologyRequest {
        if_digest: "xyz".to_owned(),
        who: "\u{7}".to_owned(),
        ..ApplyTopologyRequest::default()
    };
    let refused = door.topology.apply(bad).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for part in ["document is empty", "if_digest is `xyz`", "who has", "why"] {
        assert!(refused.message().contains(part), "{part} in {refused}");
    }
    let answer = door.apply(document("kind: Nothing\n".to_owned())).await;
    assert!(!answer.faults.is_empty() && !answer.held && answer.revision == 1);
    let unknown = door.topology.set_admin_state(drain("nobody")).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    let reset = |node: &str| ResetBreakerRequest {
        node: node.to_owned(),
    };
    door.admin.reset_breaker(reset("fra-1")).await.unwrap();
    let unknown = door.admin.reset_breaker(reset("nobody")).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    let elsewhere = format!("http://{}", door.server.grpc[0]);
    let mut elsewhere = TopologyServiceClient::connect(elsewhere).await.unwrap();
    let refused = elsewhere.get(GetTopologyRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}
