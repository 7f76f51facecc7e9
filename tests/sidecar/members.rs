//! Sidecars that act as one, over a real server of NATS: what some see all act on, and who has the chair.

use std::time::Duration;

use tokio::time;
use tonic::Code;
use tonic::transport::Channel;
use tradewind::sidecar::clock::timer_now;
use tradewind::sidecar::wire::proto::feedback_service_client::FeedbackServiceClient;
use tradewind::sidecar::wire::proto::fleet_service_client::FleetServiceClient;
use tradewind::sidecar::wire::proto::{
    AttemptResult, BusStanding, Following, Outcome, ReportRequest, Roll, RollRequest,
};

use crate::bus::Bus;
use crate::client::{Client, request};
use crate::server::{Files, PATIENCE, Server};

struct Member {
    _files: Files,
    server: Server,
    client: Client,
    admin: FleetServiceClient<Channel>,
}

impl Member {
    async fn start(name: &str, bus: &str) -> Self {
        let files = Files::new();
        let setup = files.setup().with("bus", bus).with("member", name);
        let server = setup.start().await;
        let admin = FleetServiceClient::connect(format!("http://{}", server.admin));
        Self {
            client: server.client().await,
            admin: admin.await.unwrap(),
            _files: files,
            server,
        }
    }

    async fn roll(&mut self) -> Roll {
        self.admin.roll(RollRequest {}).await.unwrap().into_inner()
    }

    /// Waits until what it says of the fleet is so.
    async fn until(&mut self, what: &str, holds: impl Fn(&Roll) -> bool) -> Roll {
        let give_up = timer_now() + PATIENCE;
        loop {
            let roll = self.roll().await;
            if holds(&roll) {
                return roll;
            }
            let log = self.server.log();
            assert!(
                timer_now() < give_up,
                "waited in vain until {what}: {roll:#?}\n{log}"
            );
            time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The node that is named first for a path.
    async fn first(&mut self, path: &str) -> String {
        let answer = self.client.decide(request(path)).await;
        answer.candidates[0].node.clone()
    }

    /// Tells how attempts at a node ended, of decisions that were made: so many, or until it is not named any more.
    async fn tell(&mut self, node: &str, count: usize, is_good: bool) {
        let (result, status) = if is_good {
            (AttemptResult::Ok, 200)
        } else {
            (AttemptResult::Error, 503)
        };
        let mut feedback = FeedbackServiceClient::new(self.client.channel.clone());
        let mut told = 0;
        for at in 0..400 {
            let answer = self.client.decide(request(&format!("/of-{at}"))).await;
            if answer.candidates.first().is_none_or(|it| it.node != node) {
                continue;
            }
            let outcome = Outcome {
                decision_id: answer.decision_id.clone(),
                node: node.to_owned(),
                attempt: 1,
                result: result.into(),
                status,
                ..Outcome::default()
            };
            let batch = ReportRequest {
                outcomes: vec![outcome],
                ..ReportRequest::default()
            };
            feedback.report_unary(batch).await.unwrap();
            told += 1;
            if told == count {
                return;
            }
        }
        assert!(told > 0, "{node} is not named");
    }
}

/// Three members that know each other.
async fn three(bus: &Bus) -> [Member; 3] {
    let mut members = [
        Member::start("a", &bus.url()).await,
        Member::start("b", &bus.url()).await,
        Member::start("c", &bus.url()).await,
    ];
    for member in &mut members {
        member
            .until("all three are there", |roll| {
                names(roll) == ["a", "b", "c"] && roll.following() == Following::Chair
            })
            .await;
    }
    members
}

fn names(roll: &Roll) -> Vec<&str> {
    let reports = roll.members.iter().filter_map(|it| it.report.as_ref());
    reports.map(|it| it.name.as_str()).collect()
}

/// Each of three knows the others; the chair's end makes another have it.
#[tokio::test]
async fn all_know_who_is_there_and_the_next_takes_the_chair() {
    let Some(bus) = Bus::start("all_know_who_is_there_and_the_next_takes_the_chair") else {
        return;
    };
    let members = ["a", "b", "c"].into_iter().zip(three(&bus).await);
    let mut members: Vec<(&str, Member)> = members.collect();
    let mut epochs = Vec::new();
    for (_, member) in &mut members {
        let roll = member.roll().await;
        assert_eq!(roll.bus(), BusStanding::Up);
        epochs.push((roll.chair.clone(), roll.epoch));
    }
    assert!(epochs.iter().all(|it| *it == epochs[0]), "{epochs:?}");
    let (chair, epoch) = epochs[0].clone();
    let at = members.iter().position(|(name, _)| *name == chair).unwrap();
    let (_, dead) = members.remove(at);
    dead.server.kill();
    let began = timer_now();
    for (_, member) in &mut members {
        let roll = member
            .until("another has the chair", |roll| roll.epoch > epoch)
            .await;
        assert_ne!(roll.chair, chair);
    }
    println!("the next had the chair after {:?}", began.elapsed());
    let printed = members[0].1.server.get("/metrics").body;
    assert!(printed.contains("tradewind_fleet_bus_up 1"), "{printed}");
    let page = members[0].1.server.get("/debug/members").json();
    assert_eq!(page["fleet"], "default");
}

#[tokio::test]
async fn who_is_alone_says_so() {
    let files = Files::new();
    let server = files.setup().start().await;
    let admin = FleetServiceClient::connect(format!("http://{}", server.admin)).await;
    let refused = admin.unwrap().roll(RollRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("--bus"), "{refused}");
}

/// Two of three see a node fail; the third, who never asked it, leaves it too. One that complains alone moves nobody.
#[tokio::test]
async fn what_most_see_all_act_on_and_one_alone_moves_nobody() {
    let Some(bus) = Bus::start("what_most_see_all_act_on_and_one_alone_moves_nobody") else {
        return;
    };
    let [mut a, mut b, mut c] = three(&bus).await;
    let node = c.first("/of-0").await;
    for member in [&mut a, &mut b] {
        member.tell(&node, 8, false).await;
    }
    c.until("the fleet has left the node", |roll| roll.left_nodes == 1)
        .await;
    let give_up = timer_now() + PATIENCE;
    while c.first("/of-0").await == node {
        assert!(
            timer_now() < give_up,
            "{node} is still named\n{}",
            c.server.log()
        );
        time::sleep(Duration::from_millis(20)).await;
    }
    c.server
        .until_said("the fleet agrees that the node fails")
        .await;
}

/// One says that a node fails, two others are served by it: it leaves the node itself, and the others stay.
#[tokio::test]
async fn one_alone_moves_nobody_but_itself() {
    let Some(bus) = Bus::start("one_alone_moves_nobody_but_itself") else {
        return;
    };
    let [mut a, mut b, mut c] = three(&bus).await;
    let node = c.first("/of-0").await;
    a.tell(&node, 8, false).await;
    // A hearing ends after 1.3 s; until then, and after, the others are served by the node.
    let until = timer_now() + Duration::from_secs(3);
    while timer_now() < until {
        for member in [&mut b, &mut c] {
            member.tell(&node, 4, true).await;
            assert_eq!(member.roll().await.left_nodes, 0);
        }
    }
    assert_ne!(
        a.first("/of-0").await,
        node,
        "its own breaker keeps it away"
    );
    assert_eq!(c.first("/of-0").await, node);
}
