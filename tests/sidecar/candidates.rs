//! Many bad policies among good ones, under load: whatever is asked of the policy and the rollout service, every answer
//! names a good revision, and none goes back to an older one.
//!
//! The long run is `cargo test --test sidecar -- --ignored --nocapture candidates`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use tradewind::engine::model::Digest;
use tradewind::sidecar::clock::timer_now;
use tradewind::sidecar::wire::proto::policy_service_client::PolicyServiceClient;
use tradewind::sidecar::wire::proto::rollout_service_client::RolloutServiceClient;
use tradewind::sidecar::wire::proto::{
    ApplyPolicyRequest, DecideResponse, OrderRolloutRequest, RolloutOrder, RolloutResponse,
    RolloutStage, RolloutStatus, StartRolloutRequest,
};

use crate::client::{Client, request};
use crate::fleet;
use crate::server::{Files, Server};

/// Connections that ask one request after another; one more asks sixteen at once.
const UNARY: usize = 3;

/// The good policy of a number: revision 1 has number 0, and each takes the place of the one before. All that one's answers
/// say of their policy is unlike what the next one's say.
fn good(number: u64) -> String {
    let text = fleet::policy(&format!("good-{number}"));
    text.replace("none,", &format!("none, key: {{query: [v{number}]}},"))
}

/// What connections have seen.
#[derive(Debug, Default)]
struct Seen {
    answers: u64,
    wrong: Vec<String>,
    /// Calls that got no answer in the half second that the server gives them: the machine may have had other work.
    late: u64,
}

/// One connection's view of the policies, which only goes forward.
struct Watcher {
    digests: Arc<Vec<String>>,
    revision: u64,
    seen: Seen,
}

impl Watcher {
    /// An answer is of the policy in force, or of the one that is tried beside it; its revision is none before.
    fn look(&mut self, answer: &DecideResponse) {
        let number = answer.rule.strip_prefix("good-");
        let number: Option<u64> = number.and_then(|number| number.parse().ok());
        let digest = number.and_then(|number| self.digests.get(usize::try_from(number).unwrap()));
        let is_good = digest == Some(&answer.policy_digest);
        let in_force = answer.policy_revision - 1;
        let is_of_now = number.is_some_and(|it| it == in_force || it == in_force + 1);
        if !is_good || !is_of_now || answer.policy_revision < self.revision {
            self.seen.wrong.push(format!("{answer:?}"));
        }
        self.revision = answer.policy_revision;
        self.seen.answers += 1;
    }
}

/// Asks until it is told to stop.
async fn ask(
    mut client: Client,
    in_batches: bool,
    digests: Arc<Vec<String>>,
    stop: Arc<AtomicBool>,
) -> Seen {
    let mut watcher = Watcher {
        digests,
        revision: 0,
        seen: Seen::default(),
    };
    let mut number = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let one = |at| request(&format!("/object/{}", (number + at) % 1_000));
        let answers = if in_batches {
            client.try_batch((0..16).map(one).collect()).await
        } else {
            client.try_decide(one(0)).await.map(|answer| vec![answer])
        };
        match answers {
            Ok(answers) => answers.iter().for_each(|answer| watcher.look(answer)),
            Err(status) if status.code() == Code::DeadlineExceeded => watcher.seen.late += 1,
            Err(status) => watcher.seen.wrong.push(format!("{status:?}")),
        }
    }
    watcher.seen
}

/// Who gives policies, bad and good, by both services.
struct Giver {
    policy: PolicyServiceClient<Channel>,
    rollout: RolloutServiceClient<Channel>,
    /// The number of the good policy in force.
    number: u64,
    refused: u64,
    bad: [String; 5],
}

impl Giver {
    async fn of(server: &Server) -> Self {
        let at = format!("http://{}", server.admin);
        Self {
            policy: PolicyServiceClient::connect(at.clone()).await.unwrap(),
            rollout: RolloutServiceClient::connect(at).await.unwrap(),
            number: 0,
            refused: 0,
            bad: fleet::bad_policies(),
        }
    }

    /// Another bad policy, unlike all before.
    fn bad(&mut self) -> String {
        let kind = usize::try_from(self.refused).unwrap() % self.bad.len();
        self.refused += 1;
        format!("{}\n# {}\n", self.bad[kind], self.refused)
    }

    /// Gives a bad one by a call, which changes nothing.
    async fn apply_bad(&mut self) {
        let document = self.bad();
        let refused = self.policy.apply(apply(document)).await;
        let refused = refused.unwrap().into_inner();
        let in_force = self.number + 1;
        assert_eq!(
            (refused.previous_revision, refused.revision),
            (in_force, in_force)
        );
        assert!(!refused.faults.is_empty(), "{refused:?}");
    }

    /// Gives a bad one to be rolled out, which changes nothing.
    async fn start_bad(&mut self) {
        let document = self.bad();
        let refused = self.rollout.start(start(document)).await;
        let refused = refused.unwrap().into_inner();
        assert!(!refused.faults.is_empty(), "{refused:?}");
        self.is_in_force(&refused.status.unwrap());
    }

    fn is_in_force(&self, status: &RolloutStatus) {
        assert_eq!(status.revision, self.number + 1);
        assert!(status.rollout.is_none(), "{status:?}");
    }

    /// Gives a good one by a call.
    async fn apply_good(&mut self) {
        self.number += 1;
        let applied = self.policy.apply(apply(good(self.number))).await;
        let applied = applied.unwrap().into_inner();
        assert_eq!(applied.faults, Vec::<String>::new());
        assert_eq!(applied.revision, self.number + 1);
    }

    /// Rolls a good one out, on half of the requests and then on all. What is given meanwhile and bad does not disturb it.
    async fn roll_out_good(&mut self) {
        let next = self.number + 1;
        let started = status(self.rollout.start(start(good(next))).await);
        assert_eq!(started.revision, next, "the one before is in force");
        self.apply_bad().await;
        let other = self.bad();
        let busy = self.rollout.start(start(other)).await.unwrap_err();
        assert_eq!(busy.code(), Code::FailedPrecondition);
        let order = OrderRolloutRequest {
            order: RolloutOrder::Promote.into(),
            why: "tests".to_owned(),
            ..OrderRolloutRequest::default()
        };
        let promoted = status(self.rollout.order(order).await);
        self.number = next;
        self.is_in_force(&promoted);
        assert_eq!(promoted.last.unwrap().fate, "completed");
    }

    /// So many good ones, with so many bad ones before each.
    async fn storm(&mut self, good: u64, bad: u64) {
        for number in 0..good {
            let is_rolled_out = number % 4 == 3;
            // A rollout is given two bad ones more, on its way.
            for number in if is_rolled_out { 2..bad } else { 0..bad } {
                if number % 2 == 0 {
                    self.apply_bad().await;
                } else {
                    self.start_bad().await;
                }
            }
            if is_rolled_out {
                self.roll_out_good().await;
            } else {
                self.apply_good().await;
            }
        }
    }
}

fn apply(document: String) -> ApplyPolicyRequest {
    ApplyPolicyRequest {
        document,
        why: "tests".to_owned(),
        force: true,
        ..ApplyPolicyRequest::default()
    }
}

fn start(document: String) -> StartRolloutRequest {
    StartRolloutRequest {
        document,
        stages: vec![RolloutStage {
            percent: 50.0,
            hold: None,
        }],
        why: "tests".to_owned(),
        ..StartRolloutRequest::default()
    }
}

#[track_caller]
fn status(answered: Result<Response<RolloutResponse>, Status>) -> RolloutStatus {
    let answer = answered.unwrap().into_inner();
    assert_eq!(answer.faults, Vec::<String>::new());
    answer.status.unwrap()
}

/// Gives `10 * goods` bad policies among so many good ones, and then bad and good in turns, while connections ask.
async fn give_and_ask(goods: u64, turns: u64) {
    let files = Files::new();
    files.write("policy.yaml", good(0));
    // Each good one is on disk before it is served, and this is not about how quick a disk is.
    let memory = tempfile::tempdir_in("/dev/shm").ok();
    let state = memory.as_ref().map(|dir| dir.path().to_path_buf());
    let setup = files
        .setup()
        .with("state-dir", state.unwrap_or_else(|| files.state()))
        .with("decisions-kept", "100");
    let server = setup.start().await;
    let digests = (0..=goods + turns).map(|number| Digest::of(good(number).as_bytes()).short());
    let digests = Arc::new(digests.collect::<Vec<_>>());
    let stop = Arc::new(AtomicBool::new(false));
    let mut connections = JoinSet::new();
    for at in 0..=UNARY {
        let client = server.client().await;
        let (digests, stop) = (Arc::clone(&digests), Arc::clone(&stop));
        connections.spawn(ask(client, at == UNARY, digests, stop));
    }
    let began = timer_now();
    let mut giver = Giver::of(&server).await;
    giver.storm(goods, 10).await;
    assert_eq!(giver.refused, 10 * goods);
    giver.storm(turns, 1).await;
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (mut answers, mut late) = (0, 0);
    while let Some(seen) = connections.join_next().await {
        let seen = seen.unwrap();
        assert!(seen.wrong.is_empty(), "{:?}", seen.wrong.first());
        answers += seen.answers;
        late += seen.late;
    }
    assert!(late * 1_000 <= answers, "{late} late of {answers}");
    assert_eq!(
        server.revision(),
        goods + turns + 1,
        "one for each good one"
    );
    println!(
        "{} good policies and {} bad ones in {:.1} s, {answers} answers meanwhile, each of a good one; {late} came too late",
        giver.number,
        giver.refused,
        took.as_secs_f64()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_five_hundred_bad_candidates_among_fifty_good_ones_decide_nothing() {
    give_and_ask(50, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo test --test sidecar -- --ignored --nocapture candidates"]
async fn f15_ten_thousand_bad_candidates_among_a_thousand_good_ones_decide_nothing() {
    give_and_ask(1_000, 1_000).await;
}
