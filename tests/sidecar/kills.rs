//! Kills while it keeps topologies, policies and how far a rollout is: a start finds what it said was so, or what it was
//! asked for last, whole, and nothing else.
//!
//! The long run is `cargo test --release --test sidecar -- --ignored --nocapture kills`.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Code, Status};
use tradewind::engine::model::Digest;
use tradewind::sidecar::wire::proto::policy_service_client::PolicyServiceClient;
use tradewind::sidecar::wire::proto::rollout_service_client::RolloutServiceClient;
use tradewind::sidecar::wire::proto::topology_service_client::TopologyServiceClient;
use tradewind::sidecar::wire::proto::{
    ApplyPolicyRequest, ApplyTopologyRequest, GetPolicyRequest, GetTopologyRequest,
    OrderRolloutRequest, RolloutOrder, RolloutStage, StartRolloutRequest, WatchRolloutRequest,
};

use crate::client::request;
use crate::fleet::{self, Fleet};
use crate::server::{Files, Server};

/// Long enough for writing a text to take a moment.
const LINES: usize = 4_000;

/// All that is kept. Texts have numbers that rise, whichever way they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Kept {
    topology: u64,
    policy: u64,
    /// The policy that is tried, and its stage.
    rollout: Option<(u64, u32)>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Topology(u64),
    Policy(u64),
    Start(u64),
    Order(RolloutOrder),
}

impl Kept {
    /// What is asked for next, as the `step`th thing: topologies between all, and rollouts that end in every way.
    fn wish(self, step: u64, number: u64) -> Wish {
        match (step % 3, self.rollout) {
            (0, _) => Wish::Topology(number),
            (_, None) if step % 4 == 1 => Wish::Policy(number),
            (_, None) => Wish::Start(number),
            (_, Some((_, 1))) => Wish::Order(RolloutOrder::Promote),
            (_, Some(_)) => match step % 5 {
                0 => Wish::Policy(number),
                1 => Wish::Order(RolloutOrder::Abort),
                2 => Wish::Order(RolloutOrder::Reverse),
                _ => Wish::Order(RolloutOrder::Promote),
            },
        }
    }

    /// What is to be so after it.
    fn after(self, wish: Wish) -> Self {
        let (tried, stage) = self.rollout.unwrap_or_default();
        let rollout = match wish {
            Wish::Topology(topology) => return Self { topology, ..self },
            // Another policy in force ends what stood on the one before.
            Wish::Policy(policy) => {
                return Self {
                    policy,
                    rollout: None,
                    ..self
                };
            }
            Wish::Start(number) => Some((number, 1)),
            Wish::Order(RolloutOrder::Reverse) => Some((tried, 1)),
            Wish::Order(RolloutOrder::Promote) if stage == 1 => Some((tried, 2)),
            Wish::Order(RolloutOrder::Promote) => {
                return Self {
                    policy: tried,
                    rollout: None,
                    ..self
                };
            }
            Wish::Order(_) => None,
        };
        Self { rollout, ..self }
    }
}

/// The usual fleet under a number.
fn topology(number: u64) -> String {
    let padding = "# as long as a real one\n".repeat(LINES);
    format!("{}{padding}# {number}\n", Fleet::usual().text())
}

/// A policy under a number, with other keys than any before.
fn policy(number: u64) -> String {
    let padding = "# as long as a real one\n".repeat(LINES);
    let text = fleet::policy("all");
    let text = text.replace("none,", &format!("none, key: {{query: [v{number}]}},"));
    format!("{text}{padding}# {number}\n")
}

/// The number of a text; 0 of the first, which has none.
fn number(document: &str) -> u64 {
    let last = document.lines().last();
    let number = last.and_then(|line| line.strip_prefix("# "));
    number.map_or(0, |number| number.parse().unwrap())
}

/// What was so for certain, and what was asked for last.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    done: Kept,
    wanted: Kept,
    steps: u64,
    answered: u64,
}

/// The way to all that can be changed.
#[derive(Clone)]
struct Doors {
    topology: TopologyServiceClient<Channel>,
    policy: PolicyServiceClient<Channel>,
    rollout: RolloutServiceClient<Channel>,
}

impl Doors {
    async fn of(server: &Server) -> Self {
        let at = format!("http://{}", server.admin);
        Self {
            topology: TopologyServiceClient::connect(at.clone()).await.unwrap(),
            policy: PolicyServiceClient::connect(at.clone()).await.unwrap(),
            rollout: RolloutServiceClient::connect(at).await.unwrap(),
        }
    }

    /// What is so; `known` are the policies that may be tried.
    async fn kept(&mut self, known: [Kept; 2]) -> Kept {
        let fleet = self.topology.get(GetTopologyRequest {}).await.unwrap();
        let in_force = self.policy.get(GetPolicyRequest { revision: 0 }).await;
        let watch = self.rollout.watch(WatchRolloutRequest {}).await.unwrap();
        let status = watch.into_inner().message().await.unwrap().unwrap();
        let rollout = status.rollout.map(|rollout| {
            let tried = known.into_iter().filter_map(|kept| kept.rollout);
            let mut numbers = tried.map(|(number, _)| number);
            let digest = |number| Digest::of(policy(number).as_bytes()).to_string();
            let found = numbers.find(|number| digest(*number) == rollout.digest);
            (found.unwrap_or(u64::MAX), rollout.stage)
        });
        Kept {
            topology: number(&fleet.into_inner().document),
            policy: number(&in_force.unwrap().into_inner().document),
            rollout,
        }
    }

    /// Asks for something; the faults that it is refused for, if there is anybody to answer.
    async fn ask(&mut self, wish: Wish) -> Result<Vec<String>, Status> {
        let why = "tests".to_owned();
        let stage = |percent| RolloutStage {
            percent,
            hold: Some(prost_types::Duration {
                seconds: 3_600,
                nanos: 0,
            }),
        };
        match wish {
            Wish::Topology(number) => {
                let request = ApplyTopologyRequest {
                    document: topology(number),
                    why,
                    ..ApplyTopologyRequest::default()
                };
                let answered = self.topology.apply(request).await;
                answered.map(|answer| answer.into_inner().faults)
            }
            Wish::Policy(number) => {
                let request = ApplyPolicyRequest {
                    document: policy(number),
                    why,
                    force: true,
                    ..ApplyPolicyRequest::default()
                };
                let answered = self.policy.apply(request).await;
                answered.map(|answer| answer.into_inner().faults)
            }
            Wish::Start(number) => {
                let request = StartRolloutRequest {
                    document: policy(number),
                    stages: vec![stage(10.0), stage(50.0)],
                    why,
                    ..StartRolloutRequest::default()
                };
                let answered = self.rollout.start(request).await;
                answered.map(|answer| answer.into_inner().faults)
            }
            Wish::Order(order) => {
                let request = OrderRolloutRequest {
                    order: order.into(),
                    stage: 1,
                    why,
                    ..OrderRolloutRequest::default()
                };
                let answered = self.rollout.order(request).await;
                answered.map(|answer| answer.into_inner().faults)
            }
        }
    }
}

/// Asks for one thing after the other, each as soon as the last is so, until there is nobody to answer.
async fn rage(mut doors: Doors, asked: Arc<Mutex<Asked>>) {
    loop {
        let wish = {
            let mut asked = asked.lock().unwrap();
            asked.steps += 1;
            let wish = asked.done.wish(asked.steps, asked.steps);
            asked.wanted = asked.done.after(wish);
            wish
        };
        match doors.ask(wish).await {
            Ok(faults) => assert_eq!(faults, Vec::<String>::new()),
            Err(status) => {
                let refusals = [
                    Code::InvalidArgument,
                    Code::FailedPrecondition,
                    Code::Aborted,
                ];
                assert!(!refusals.contains(&status.code()), "{wish:?}: {status:?}");
                return;
            }
        }
        let mut asked = asked.lock().unwrap();
        asked.done = asked.wanted;
        asked.answered += 1;
    }
}

/// Whether something was being written.
fn is_half_written(files: &Files) -> bool {
    let Ok(entries) = fs::read_dir(files.state().join("revisions")) else {
        return false;
    };
    let mut paths = entries.map(|entry| entry.unwrap().path());
    paths.any(|path| path.extension().is_some_and(|it| it == "new"))
}

/// Kills a process again and again while it keeps what it is asked to. Its files are broken, so each start depends on what
/// was kept.
async fn survive(kills: u64) {
    let files = Files::new();
    files.setup().start().await.kill();
    for name in ["policy.yaml", "topology.yaml"] {
        files.write(name, "");
    }
    let asked = Arc::new(Mutex::new(Asked::default()));
    let (mut in_the_middle, mut unanswered, mut under_way) = (0, 0, 0);
    for kill in 0..kills {
        let server = files.setup().start().await;
        let mut doors = Doors::of(&server).await;
        let Asked { done, wanted, .. } = *asked.lock().unwrap();
        let kept = doors.kept([done, wanted]).await;
        assert!(
            kept == done || kept == wanted,
            "{kept:?} after {kill} kills, where {done:?} was so and {wanted:?} asked for"
        );
        let answer = server.client().await.decide(request("/a")).await;
        assert_eq!(answer.rule, "all");
        unanswered += u64::from(kept != done);
        under_way += u64::from(kept.rollout.is_some());
        asked.lock().unwrap().done = kept;
        let raging = tokio::spawn(rage(doors, Arc::clone(&asked)));
        // Spread over several rounds of compiling, keeping and publishing; a prime, so that no moment is left out.
        tokio::time::sleep(Duration::from_micros(kill * 7_919 % 80_000)).await;
        server.kill();
        raging.await.unwrap();
        in_the_middle += u64::from(is_half_written(&files));
    }
    let answered = asked.lock().unwrap().answered;
    println!(
        "{kills} kills, {under_way} with a rollout under way: {in_the_middle} in the middle of a persist, {unanswered} between that and the answer, {answered} answered"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_thirty_kills_while_it_keeps_lose_nothing_that_was_in_force() {
    survive(30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo test --release --test sidecar -- --ignored --nocapture kills"]
async fn five_hundred_kills_while_it_keeps_lose_nothing_that_was_in_force() {
    survive(500).await;
}
