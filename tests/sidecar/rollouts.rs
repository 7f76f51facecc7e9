//! Rollouts on a running sidecar: real requests, real outcomes, and guards that take a bad policy back by themselves.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use tonic::Code;
use tonic::transport::Channel;
use tradewind::sidecar::wire::proto::feedback_service_client::FeedbackServiceClient;
use tradewind::sidecar::wire::proto::policy_service_client::PolicyServiceClient;
use tradewind::sidecar::wire::proto::rollout_service_client::RolloutServiceClient;
use tradewind::sidecar::wire::proto::{
    ApplyPolicyRequest, AttemptResult, DecideResponse, ListRevisionsRequest, OrderRolloutRequest,
    Outcome, PlanPolicyRequest, ReportRequest, RolloutOrder, RolloutResponse, RolloutStage,
    RolloutStatus, StartRolloutRequest, WatchRolloutRequest,
};

use crate::client::{Client, requests};
use crate::fleet;
use crate::server::{Files, Server};

/// A policy as the usual one, with a section more and perhaps another key for every object.
fn policy(rule: &str, section: &str, key: &str) -> String {
    let text = fleet::policy(rule);
    let text = text.replace("spec:\n", &format!("spec:\n  rollout: {{{section}}}\n"));
    text.replace("rollback: none,", &format!("rollback: none, {key}"))
}

/// Guards that look at the last few seconds.
const QUICK: &str = "start_jitter: 0ms, stages: [{percent: 20, hold: 1s}, {percent: 50, hold: 1s}], guards: \
                     [{metric: error_percent, worse_by: 1, min_samples: 50, window: 10s}]";

/// Another place for every object.
const OTHER_KEY: &str = "key: {host: false},";

struct Door {
    server: Server,
    rollout: RolloutServiceClient<Channel>,
    policy: PolicyServiceClient<Channel>,
    feedback: FeedbackServiceClient<Channel>,
    client: Client,
}

impl Door {
    async fn open(files: &Files) -> Self {
        let server = files.setup().start().await;
        let at = format!("http://{}", server.admin);
        let client = server.client().await;
        Self {
            rollout: RolloutServiceClient::connect(at.clone()).await.unwrap(),
            policy: PolicyServiceClient::connect(at).await.unwrap(),
            feedback: FeedbackServiceClient::new(client.channel.clone()),
            client,
            server,
        }
    }

    async fn start(&mut self, document: String) -> RolloutResponse {
        let answered = self.rollout.start(wanted(document)).await;
        answered.unwrap().into_inner()
    }

    async fn order(&mut self, order: RolloutOrder) -> Result<RolloutResponse, Code> {
        let request = OrderRolloutRequest {
            order: order.into(),
            stage: 0,
            who: "ada".to_owned(),
            why: "tests".to_owned(),
        };
        let answered = self.rollout.order(request).await;
        answered
            .map(tonic::Response::into_inner)
            .map_err(|status| status.code())
    }

    async fn status(&mut self) -> RolloutStatus {
        let watch = self.rollout.watch(WatchRolloutRequest {}).await;
        let mut watch = watch.unwrap().into_inner();
        watch.message().await.unwrap().unwrap()
    }

    /// Asks for some objects and tells how it went: what the policy of `bad` decided fails every second time.
    async fn ask_and_tell(&mut self, count: usize, bad: Option<&str>) -> Vec<DecideResponse> {
        let answers = self.client.decide_all(&requests(count)).await;
        let outcomes = answers.iter().enumerate().map(|(at, answer)| {
            let is_bad = bad.is_some_and(|bad| answer.policy_digest == bad) && at % 2 == 0;
            let result = if is_bad {
                AttemptResult::Error
            } else {
                AttemptResult::Ok
            };
            Outcome {
                decision_id: answer.decision_id.clone(),
                node: answer.candidates[0].node.clone(),
                attempt: 1,
                result: result.into(),
                status: if is_bad { 503 } else { 200 },
                ..Outcome::default()
            }
        });
        let request = ReportRequest {
            outcomes: outcomes.collect(),
            ..ReportRequest::default()
        };
        let told = self.feedback.report(tokio_stream::once(request)).await;
        told.unwrap();
        answers
    }
}

fn wanted(document: String) -> StartRolloutRequest {
    StartRolloutRequest {
        document,
        who: "ada".to_owned(),
        why: "tests".to_owned(),
        ..StartRolloutRequest::default()
    }
}

/// A digest as answers have it.
fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}

/// The digests of the policies that decided.
fn digests(answers: &[DecideResponse]) -> BTreeSet<&str> {
    answers.iter().map(|it| it.policy_digest.as_str()).collect()
}

#[tokio::test]
async fn a_policy_that_raises_errors_is_taken_back_at_its_first_stage() {
    let files = Files::new();
    files.write("policy.yaml", policy("all", QUICK, ""));
    let mut door = Door::open(&files).await;
    let answer = door.start(policy("all", QUICK, OTHER_KEY)).await;
    assert_eq!(answer.faults, Vec::<String>::new());
    let status = answer.status.unwrap().rollout.unwrap();
    assert_eq!((status.percent, status.cohort.as_str()), (20.0, "key"));
    let candidate = short(&status.digest);
    let mut seen = BTreeSet::new();
    let mut rounds = 0;
    loop {
        let answers = door.ask_and_tell(400, Some(&candidate)).await;
        let of_candidate = answers.iter().filter(|it| it.policy_digest == candidate);
        seen.extend(of_candidate.map(|it| it.candidates[0].node.clone()));
        if door.status().await.rollout.is_none() {
            break;
        }
        rounds += 1;
        assert!(rounds < 200, "{:?}", door.status().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!seen.is_empty(), "some were tried");
    let status = door.status().await;
    let last = status.last.unwrap();
    assert_eq!((last.fate.as_str(), status.revision), ("rolled_back", 1));
    assert!(last.why.starts_with("error_percent is "), "{}", last.why);
    let answers = door.ask_and_tell(400, None).await;
    assert!(!digests(&answers).contains(candidate.as_str()));
    let audit = fs::read_to_string(files.state().join("audit.log")).unwrap();
    assert!(audit.contains("\"rolled_back\"") && audit.contains("error_percent is"));
    let of_log = door.server.log();
    assert!(of_log.contains("a rollout was taken back"), "{of_log}");
}

#[tokio::test]
async fn a_good_policy_goes_through_its_stages_and_those_tried_on_stay_so() {
    let files = Files::new();
    files.write("policy.yaml", policy("all", QUICK, ""));
    let mut door = Door::open(&files).await;
    let answer = door.start(policy("all", QUICK, OTHER_KEY)).await;
    let candidate = short(&answer.status.unwrap().rollout.unwrap().digest);
    let mut moved = BTreeSet::new();
    let mut rounds = 0;
    loop {
        let answers = door.ask_and_tell(400, None).await;
        let now = answers.iter().zip(0_u32..);
        let now = now.filter(|(answer, _)| answer.policy_digest == candidate);
        let now: BTreeSet<u32> = now.map(|(_, object)| object).collect();
        assert!(moved.is_subset(&now), "an object went back");
        moved = now;
        if door.status().await.rollout.is_none() {
            break;
        }
        rounds += 1;
        assert!(rounds < 200, "{:?}", door.status().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = door.status().await;
    assert_eq!(status.last.unwrap().fate, "completed");
    assert_eq!(status.revision, 2);
    let answers = door.ask_and_tell(100, None).await;
    assert_eq!(digests(&answers), BTreeSet::from([candidate.as_str()]));
    let all = door.policy.list_revisions(ListRevisionsRequest {}).await;
    let newest = all.unwrap().into_inner().revisions.remove(0);
    assert_eq!(
        (newest.origin.as_str(), newest.who.as_str()),
        ("rollout", "ada")
    );
}

#[tokio::test]
async fn too_little_traffic_holds_a_rollout_where_it_is_over_a_restart_too() {
    let files = Files::new();
    files.write("policy.yaml", policy("all", QUICK, ""));
    let mut door = Door::open(&files).await;
    door.start(policy("all", QUICK, OTHER_KEY)).await;
    door.order(RolloutOrder::Promote).await.unwrap();
    door.ask_and_tell(20, None).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let before = door.status().await.rollout.unwrap();
    assert_eq!((before.stage, before.phase.as_str()), (2, "running"));
    let guard = &before.guards[0];
    assert_eq!(guard.verdict, "inconclusive");
    assert_eq!((guard.limit, guard.worse_by), (None, Some(1.0)));
    assert_eq!((guard.window_ms, guard.min_samples), (10_000, 50));
    assert_eq!(before.stage_percents, [20.0, 50.0]);
    let page = door.server.get("/debug/rollouts").json();
    let series = &page["rollout"]["guards"][0]["series"];
    assert_eq!(series["step_ms"], 5_000, "{page}");
    let points = ["candidate", "control", "worst"].map(|name| series[name].as_array().unwrap());
    assert!(!points[0].is_empty(), "{series}");
    assert!(
        points.iter().all(|it| it.len() == points[0].len()),
        "{series}"
    );
    door.server.kill();
    let mut door = Door::open(&files).await;
    let after = door.status().await.rollout.unwrap();
    assert_eq!((after.stage, after.percent), (2, 50.0));
    assert!(
        after.stage_since_unix_ms > before.stage_since_unix_ms,
        "its time is for looking"
    );
    // Pausing, going back and taking back.
    door.order(RolloutOrder::Pause).await.unwrap();
    let twice = door.order(RolloutOrder::Pause).await;
    assert_eq!(twice.unwrap_err(), Code::FailedPrecondition);
    assert_eq!(door.status().await.rollout.unwrap().phase, "paused");
    let gone = door.order(RolloutOrder::Abort).await.unwrap();
    let status = gone.status.unwrap();
    assert!(status.rollout.is_none() && status.last.unwrap().fate == "aborted");
    let none = door.order(RolloutOrder::Abort).await;
    assert_eq!(none.unwrap_err(), Code::FailedPrecondition);
    door.server.kill();
    let mut door = Door::open(&files).await;
    assert!(
        door.status().await.rollout.is_none(),
        "it does not come back"
    );
}

#[tokio::test]
async fn a_policy_that_does_not_do_what_it_says_is_taken_back() {
    let files = Files::new();
    files.write("policy.yaml", policy("all", QUICK, ""));
    let mut door = Door::open(&files).await;
    let claim = format!("{OTHER_KEY} expect: [{{stays_within: {{sites: [par]}}}}],");
    let answer = door.start(policy("all", QUICK, &claim)).await;
    assert_eq!(answer.faults, Vec::<String>::new());
    let mut rounds = 0;
    while door.status().await.rollout.is_some() {
        door.ask_and_tell(400, None).await;
        rounds += 1;
        assert!(rounds < 200, "{:?}", door.status().await);
    }
    let last = door.status().await.last.unwrap();
    assert_eq!(last.fate, "rolled_back");
    assert!(last.why.starts_with("rule `all` expects: "), "{}", last.why);
}

#[tokio::test]
async fn a_shadow_says_what_would_be_answered_otherwise_and_answers_nothing() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    let shadow = StartRolloutRequest {
        shadow: true,
        ..wanted(policy("all", "max_hold: 1h", OTHER_KEY))
    };
    let answer = door.rollout.start(shadow).await.unwrap().into_inner();
    let digest = answer.status.unwrap().rollout.unwrap().digest;
    let answers = door.ask_and_tell(1_600, None).await;
    assert!(!digests(&answers).contains(&*short(&digest)));
    let mut rounds = 0;
    let shadow = loop {
        let rollout = door.status().await.rollout.unwrap();
        if let Some(shadow) = rollout.shadow.filter(|it| it.requests >= 90) {
            break shadow;
        }
        rounds += 1;
        assert!(rounds < 200, "nothing is compared");
        tokio::time::sleep(Duration::from_millis(20)).await;
        // What is to be compared is dropped in a throng.
        door.ask_and_tell(100, None).await;
    };
    let differ: u64 = shadow.disagreements.iter().map(|it| it.requests).sum();
    assert!(differ > shadow.requests / 2, "{shadow:?}");
    assert!(shadow.disagreements.iter().all(|it| it.rule == "all"));
    assert!(shadow.took_ms > 0.0);
}

#[tokio::test]
async fn what_cannot_be_rolled_out_is_refused_with_its_reason() {
    let files = Files::new();
    let mut door = Door::open(&files).await;
    let bad = door.start("rules: [".to_owned()).await;
    assert!(!bad.faults.is_empty() && bad.status.unwrap().rollout.is_none());
    let same = door.rollout.start(wanted(fleet::policy("all"))).await;
    let same = same.unwrap_err();
    assert_eq!(same.code(), Code::FailedPrecondition);
    assert!(same.message().contains("apply it"), "{same:?}");
    let stage = |percent| RolloutStage {
        percent,
        hold: None,
    };
    let nonsense = StartRolloutRequest {
        stages: vec![stage(50.0), stage(5.0), stage(500.0)],
        cohort: "luck".to_owned(),
        why: String::new(),
        ..wanted(String::new())
    };
    let said = door.rollout.start(nonsense).await.unwrap_err();
    assert_eq!(said.code(), Code::InvalidArgument);
    for part in [
        "why is empty",
        "document is empty",
        "cohort is `luck`",
        "stage 2 has no more",
        "stage 3 has 500 %",
    ] {
        assert!(said.message().contains(part), "{part}: {said:?}");
    }
}

#[tokio::test]
async fn a_gate_stops_an_apply_unless_it_is_forced() {
    let files = Files::new();
    let gated =
        fleet::policy("all").replace("spec:\n", "spec:\n  plan: {max_moved_keys_percent: 5}\n");
    files.write("policy.yaml", &gated);
    let mut door = Door::open(&files).await;
    door.ask_and_tell(400, None).await;
    let document = gated.replace("rollback: none,", &format!("rollback: none, {OTHER_KEY}"));
    let plan = PlanPolicyRequest {
        document: document.clone(),
    };
    let planned = door.policy.plan(plan).await.unwrap().into_inner();
    assert_eq!(planned.breaches[0].gate, "max_moved_keys_percent");
    assert!(planned.lines[0].contains("recent decisions"), "{planned:?}");
    let mut apply = ApplyPolicyRequest {
        document,
        why: "tests".to_owned(),
        ..ApplyPolicyRequest::default()
    };
    let stopped = door.policy.apply(apply.clone()).await.unwrap().into_inner();
    assert_eq!((stopped.revision, stopped.breaches.len()), (1, 1));
    let audit = || fs::read_to_string(files.state().join("audit.log")).unwrap();
    let is_recorded = || audit().contains("\"stopped\"") && audit().contains("moved_keys");
    door.server.until("the audit log has it", is_recorded).await;
    apply.force = true;
    let forced = door.policy.apply(apply).await.unwrap().into_inner();
    assert_eq!(forced.revision, 2);
    let all = door.policy.list_revisions(ListRevisionsRequest {}).await;
    let why = all.unwrap().into_inner().revisions.remove(0).why;
    assert_eq!(why, "tests (forced past max_moved_keys_percent)");
}
