//! Policies, topologies and drains of a fleet: sidecars and a real server of NATS that is killed and loses what it had.

use std::time::Duration;

use tokio::time;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tradewind::sidecar::clock::timer_now;
use tradewind::sidecar::wire::proto::fleet_service_client::FleetServiceClient;
use tradewind::sidecar::wire::proto::policy_service_client::PolicyServiceClient;
use tradewind::sidecar::wire::proto::set_admin_state_request::Target;
use tradewind::sidecar::wire::proto::topology_service_client::TopologyServiceClient;
use tradewind::sidecar::wire::proto::{
    AdminState, ApplyPolicyRequest, ApplyPolicyResponse, ApplyTopologyRequest, FleetFollowing,
    MemberReport, Roll, RollRequest, RollbackPolicyRequest, SetAdminStateRequest,
};

use crate::bus::Bus;
use crate::client::{Client, request};
use crate::fleet::{Fleet, policy};
use crate::server::{Files, PATIENCE, Server};

/// A sidecar of a fleet, and an operator of it.
struct Member {
    name: &'static str,
    files: Files,
    server: Server,
    client: Client,
    fleet: FleetServiceClient<Channel>,
    policy: PolicyServiceClient<Channel>,
    topology: TopologyServiceClient<Channel>,
}

impl Member {
    async fn start(name: &'static str, files: Files, bus: &Bus) -> Self {
        let setup = files.setup().with("bus", bus.url()).with("member", name);
        let server = setup.start().await;
        let at = format!("http://{}", server.admin);
        Self {
            client: server.client().await,
            fleet: FleetServiceClient::connect(at.clone()).await.unwrap(),
            policy: PolicyServiceClient::connect(at.clone()).await.unwrap(),
            topology: TopologyServiceClient::connect(at).await.unwrap(),
            name,
            files,
            server,
        }
    }

    async fn restart(self, bus: &Bus) -> Self {
        self.server.kill();
        Self::start(self.name, self.files, bus).await
    }

    async fn rule(&mut self) -> String {
        self.client.decide(request("/a")).await.rule
    }

    async fn until_rule(&mut self, rule: &str) {
        let give_up = timer_now() + PATIENCE;
        loop {
            let now = self.rule().await;
            if now == rule {
                return;
            }
            let (name, log) = (self.name, self.server.log());
            assert!(timer_now() < give_up, "{name} has {now}, not {rule}\n{log}");
            time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until what it says of the fleet is so.
    async fn until(&mut self, what: &str, holds: impl Fn(&Roll) -> bool) -> Roll {
        let give_up = timer_now() + PATIENCE;
        loop {
            let roll = self.fleet.roll(RollRequest {}).await.unwrap().into_inner();
            if holds(&roll) {
                return roll;
            }
            let log = self.server.log();
            assert!(
                timer_now() < give_up,
                "in vain until {what}: {roll:#?}\n{log}"
            );
            time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn try_publish(
        &mut self,
        rule: &str,
        (within_ms, force): (u64, bool),
    ) -> Result<ApplyPolicyResponse, Status> {
        self.try_publish_text(policy(rule), (within_ms, force))
            .await
    }

    async fn try_publish_text(
        &mut self,
        document: String,
        (within_ms, force): (u64, bool),
    ) -> Result<ApplyPolicyResponse, Status> {
        let asked = ApplyPolicyRequest {
            document,
            who: "ada".to_owned(),
            why: "tests".to_owned(),
            everywhere: true,
            within_ms: Some(within_ms),
            force,
            ..ApplyPolicyRequest::default()
        };
        let answered = self.policy.apply(asked).await;
        answered.map(tonic::Response::into_inner)
    }

    /// Publishes a policy whose rule has this name, as soon as the bus takes it; its revision.
    async fn publish(&mut self, rule: &str, within_ms: u64) -> u64 {
        let give_up = timer_now() + PATIENCE;
        loop {
            match self.try_publish(rule, (within_ms, false)).await {
                Ok(answer) => {
                    assert_eq!(answer.faults, [""; 0]);
                    return answer.fleet_revision.unwrap();
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    let log = self.server.log();
                    assert!(timer_now() < give_up, "{}: {status}\n{log}", self.name);
                    time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Publishes a topology, as soon as the bus takes it; the revision of the edition.
    async fn publish_topology(&mut self, asked: ApplyTopologyRequest) -> u64 {
        let give_up = timer_now() + PATIENCE;
        loop {
            match self.topology.apply(asked.clone()).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    return answer
                        .fleet_revision
                        .unwrap_or_else(|| panic!("{answer:?}"));
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    assert!(timer_now() < give_up, "{status}");
                    time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    async fn set(
        &mut self,
        node: &str,
        (state, only_here): (AdminState, bool),
    ) -> Result<bool, Status> {
        let asked = SetAdminStateRequest {
            target: Some(Target::Node(node.to_owned())),
            state: state.into(),
            who: "ada".to_owned(),
            why: "tests".to_owned(),
            only_here,
            ..SetAdminStateRequest::default()
        };
        let answered = self.topology.set_admin_state(asked).await;
        answered.map(|answer| answer.into_inner().everywhere)
    }

    async fn first(&mut self, path: &str) -> String {
        let answer = self.client.decide(request(path)).await;
        answer.candidates[0].node.clone()
    }

    async fn until_first(&mut self, path: &str, holds: impl Fn(&str) -> bool) {
        let give_up = timer_now() + PATIENCE;
        loop {
            let first = self.first(path).await;
            if holds(&first) {
                return;
            }
            let (name, log) = (self.name, self.server.log());
            assert!(timer_now() < give_up, "{name} names {first}\n{log}");
            time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Three members that know each other.
async fn three(bus: &Bus) -> [Member; 3] {
    let mut members = [
        Member::start("a", Files::new(), bus).await,
        Member::start("b", Files::new(), bus).await,
        Member::start("c", Files::new(), bus).await,
    ];
    for member in &mut members {
        member
            .until("all three are there", |roll| roll.members.len() == 3)
            .await;
    }
    members
}

fn report<'a>(roll: &'a Roll, name: &str) -> &'a MemberReport {
    let mut reports = roll.members.iter().filter_map(|it| it.report.as_ref());
    reports.find(|it| it.name == name).unwrap()
}

fn following(report: &MemberReport) -> &FleetFollowing {
    report.following.as_ref().unwrap()
}

#[tokio::test]
async fn a_policy_is_published_followed_kept_and_taken_back() {
    let Some(bus) = Bus::start("a_policy_is_published_followed_kept_and_taken_back") else {
        return;
    };
    let [mut a, mut b, mut c] = three(&bus).await;
    assert_eq!(a.publish("second", 1_000).await, 1);
    assert_eq!(a.rule().await, "second", "who is asked has it first");
    let kept = std::fs::read_to_string(a.files.state().join("audit.log")).unwrap();
    let published = kept
        .lines()
        .find(|line| line.contains(r#""event":"published""#));
    let published = published.unwrap_or_else(|| panic!("{kept}"));
    for said in [r#""kind":"policy""#, r#""who":"ada""#, r#""edition":1"#] {
        assert!(published.contains(said), "{published}");
    }
    for member in [&mut b, &mut c] {
        member.until_rule("second").await;
    }
    let roll = b
        .until("all have it", |roll| {
            let members = roll.members.iter().filter_map(|it| it.report.as_ref());
            members
                .map(following)
                .all(|it| it.revision == 1 && it.why.is_empty())
        })
        .await;
    let pointer = roll.published.as_ref().unwrap();
    assert_eq!(
        (pointer.who.as_str(), pointer.member.as_str()),
        ("ada", "a")
    );

    let refused = b.try_publish("  ", (0, false)).await.unwrap();
    assert!(!refused.faults.is_empty() && refused.fleet_revision.is_none());
    assert_eq!(b.publish("third", 0).await, 2);
    for member in [&mut a, &mut c] {
        member.until_rule("third").await;
    }
    let mut c = c.restart(&bus).await;
    assert_eq!(c.rule().await, "third", "it is kept");

    let back = RollbackPolicyRequest {
        why: "tests".to_owned(),
        everywhere: true,
        within_ms: Some(0),
        ..RollbackPolicyRequest::default()
    };
    let answer = a.policy.rollback(back).await.unwrap().into_inner();
    assert_eq!(answer.fleet_revision, Some(3));
    for member in [&mut a, &mut b, &mut c] {
        member.until_rule("second").await;
    }
}

/// Who publishes must know what is in force: not what is on its way to it.
#[tokio::test]
async fn another_one_on_its_way_is_said_and_waited_for() {
    let Some(bus) = Bus::start("another_one_on_its_way_is_said_and_waited_for") else {
        return;
    };
    let [mut a, mut b, mut c] = three(&bus).await;
    // Neither of them is among the first twentieth, of this text.
    assert_eq!(a.publish("slow", 600_000).await, 1);
    b.until("it has heard", |roll| {
        following(report(roll, "b")).heard == 1
    })
    .await;
    assert_eq!(b.rule().await, "all");
    let refused = b.try_publish("quick", (0, false)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for words in [
        "edition 1 of the fleet",
        "ada (fleet, at a)",
        "its wave has not come",
    ] {
        assert!(refused.message().contains(words), "{refused}");
    }
    let forced = b.try_publish("quick", (0, true)).await.unwrap();
    assert_eq!(forced.fleet_revision, Some(2));
    for member in [&mut a, &mut b, &mut c] {
        member.until_rule("quick").await;
    }
}

#[tokio::test]
async fn a_member_that_refuses_is_named_and_serves_on() {
    let Some(bus) = Bus::start("a_member_that_refuses_is_named_and_serves_on") else {
        return;
    };
    let mut a = Member::start("a", Files::new(), &bus).await;
    let files = Files::new();
    // Its fleet is without the nodes that the policy is about.
    let text = Fleet::usual().without("nyc-1").without("nyc-2").text();
    files.write("topology.yaml", text);
    let mut b = Member::start("b", files, &bus).await;
    a.until("both are there", |roll| roll.members.len() == 2)
        .await;
    let about = policy("here").replace(
        "  rules:",
        "    - {name: nyc, select: {sites: [nyc]}, spread: {max_copies: 1}}\n  rules:",
    );
    let about = about.replace("pools: [edge,", "pools: [nyc, edge,");
    let asked = ApplyPolicyRequest {
        document: about,
        why: "tests".to_owned(),
        everywhere: true,
        within_ms: Some(0),
        ..ApplyPolicyRequest::default()
    };
    let answer = a.policy.apply(asked).await.unwrap().into_inner();
    assert_eq!(answer.fleet_revision, Some(1), "{answer:?}");
    let roll = a
        .until("b has refused it", |roll| {
            following(report(roll, "b")).why.starts_with("refused: ")
        })
        .await;
    let following = following(report(&roll, "b"));
    assert_eq!((following.revision, following.heard), (0, 1));
    assert_eq!(
        (a.rule().await, b.rule().await),
        ("here".into(), "all".into())
    );
}

/// A policy and a topology that were tried with each other come into force with each other, in whatever turns they were published;
/// also at a member that has heard of none before.
#[tokio::test]
async fn an_edition_is_what_was_tried_with_each_other() {
    let Some(bus) = Bus::start("an_edition_is_what_was_tried_with_each_other") else {
        return;
    };
    let mut a = Member::start("a", Files::new(), &bus).await;
    let about = |rule: &str, site: &str| {
        let pool = format!("    - {{name: one, select: {{sites: [{site}]}}}}\n  rules:");
        let text = policy(rule).replace("  rules:", &pool);
        text.replace("pools: [edge,", "pools: [one, edge,")
    };
    let with = |site: &'static str| {
        let text = Fleet::usual().text().replace(
            "{id: dub,",
            &format!("{{id: {site}, lat: 1.0, lon: 1.0}}\n    - {{id: dub,"),
        );
        text + &format!("    - {{id: {site}-1, site: {site}, address: \"10.0.9.1:8080\"}}\n")
    };
    for (site, rule, revision) in [("rom", "first", 1), ("osl", "second", 3)] {
        let mut topology = with(site);
        if revision == 3 {
            // Both sites, since the policy in force still names the first.
            topology = topology.replace(
                "{id: dub,",
                "{id: rom, lat: 2.0, lon: 2.0}\n    - {id: dub,",
            );
            topology += "    - {id: rom-1, site: rom, address: \"10.0.9.2:8080\"}\n";
        }
        let asked = ApplyTopologyRequest {
            document: topology,
            why: "tests".to_owned(),
            everywhere: true,
            within_ms: Some(0),
            ..ApplyTopologyRequest::default()
        };
        let answer = a.publish_topology(asked).await;
        assert_eq!(answer, revision);
        let answer = a
            .try_publish_text(about(rule, site), (0, true))
            .await
            .unwrap();
        assert_eq!(answer.faults, [""; 0]);
        assert_eq!(answer.fleet_revision, Some(revision + 1));
    }
    let mut fresh = Member::start("fresh", Files::new(), &bus).await;
    fresh.until_rule("second").await;
    let roll = a
        .until("it has all", |roll| {
            let members = roll.members.iter().filter_map(|it| it.report.as_ref());
            members.map(following).filter(|it| it.revision == 4).count() == 2
        })
        .await;
    let both = ["a", "fresh"].map(|name| report(&roll, name).topology.clone());
    assert_eq!(both[0], both[1]);
}

#[tokio::test]
async fn a_bus_that_lost_what_was_published_takes_nobody_back() {
    let Some(mut bus) = Bus::start("a_bus_that_lost_what_was_published_takes_nobody_back") else {
        return;
    };
    let [mut a, mut b, mut c] = three(&bus).await;
    assert_eq!(a.publish("first", 0).await, 1);
    for member in [&mut b, &mut c] {
        member.until_rule("first").await;
    }
    bus.kill();
    let early = bus.copy();
    bus.begin();
    assert_eq!(b.publish("second", 0).await, 2);
    for member in [&mut a, &mut c] {
        member.until_rule("second").await;
    }
    bus.kill();
    a.server
        .until_said("what is published to the fleet is not followed")
        .await;
    let refused = a.try_publish("away", (0, false)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(
        a.rule().await,
        "second",
        "what cannot be published is not tried"
    );

    bus.put_back(Some(&early));
    bus.begin();
    let roll = c
        .until("it is seen that the bus has less", |roll| {
            following(report(roll, "c"))
                .why
                .starts_with("the bus lost it")
        })
        .await;
    assert_eq!(following(report(&roll, "c")).revision, 2);
    assert_eq!(c.rule().await, "second");
    let mut c = c.restart(&bus).await;
    assert_eq!(c.rule().await, "second", "after a restart too");
    // Nor does anybody hold a drain for one that was heard: its place was another's before.
    let node = c.first("/a").await;
    for _ in 0..2 {
        assert!(a.set(&node, (AdminState::Drain, false)).await.unwrap());
        c.until_first("/a", |first| first != node).await;
        assert!(b.set(&node, (AdminState::Ready, false)).await.unwrap());
        c.until_first("/a", |first| first == node).await;
    }
    assert_eq!(
        a.publish("third", 0).await,
        3,
        "it is above what members have"
    );
    for member in [&mut b, &mut c] {
        member.until_rule("third").await;
    }
}

#[tokio::test]
async fn a_drain_holds_at_all_and_its_end_is_heard_later_too() {
    let Some(mut bus) = Bus::start("a_drain_holds_at_all_and_its_end_is_heard_later_too") else {
        return;
    };
    let [mut a, mut b, mut c] = three(&bus).await;
    let node = c.first("/a").await;
    assert!(a.set(&node, (AdminState::Drain, false)).await.unwrap());
    assert_ne!(a.first("/a").await, node, "it holds when it is answered");
    for member in [&mut b, &mut c] {
        member.until_first("/a", |first| first != node).await;
    }
    let unknown = a.set("nowhere", (AdminState::Drain, false)).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);

    // The end of the first of two: whoever was away must not have the later one only.
    let other = if node == "fra-1" { "fra-2" } else { "fra-1" };
    c.server.kill();
    a.set(other, (AdminState::Drain, false)).await.unwrap();
    a.set(&node, (AdminState::Ready, false)).await.unwrap();
    a.set(other, (AdminState::Ready, false)).await.unwrap();
    b.until_first("/a", |first| first == node).await;
    let mut c = Member::start("c", c.files, &bus).await;
    c.until_first("/a", |first| first == node).await;

    bus.kill();
    a.server
        .until_said("what is published to the fleet is not followed")
        .await;
    let refused = a.set(&node, (AdminState::Drain, false)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(a.first("/a").await, node, "it is refused as a whole");
    assert!(!a.set(&node, (AdminState::Drain, true)).await.unwrap());
    assert_ne!(a.first("/a").await, node, "it holds here");
    assert_eq!(b.first("/a").await, node, "and not there");
}
