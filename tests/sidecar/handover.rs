//! What the writer finds on a worker's handover: services called in this process, without a door.

use std::collections::VecDeque;
use std::sync::Arc;

use tonic::Request;
use tradewind::engine::hash::KeyHash;
use tradewind::engine::number::narrow;
use tradewind::engine::policy::Affinity;
use tradewind::engine::signal::observation::{
    AttemptResult, CacheResult, DecisionNumber, LoadReport, Outcome, Reporter, Standing,
};
use tradewind::sidecar::intake::decider::Decider;
use tradewind::sidecar::intake::feedback::Feedback;
use tradewind::sidecar::intake::handover::{Dispatched, Handover, Report, Reported};
use tradewind::sidecar::intake::recent::RecentDecisions;
use tradewind::sidecar::intake::reporters::{Quota, Reporters};
use tradewind::sidecar::settings::{Args, Settings};
use tradewind::sidecar::state::State;
use tradewind::sidecar::wire::proto::server::decision_service_server::DecisionService;
use tradewind::sidecar::wire::proto::server::feedback_service_server::FeedbackService;
use tradewind::sidecar::wire::proto::{self, DecideRequest, DecideResponse, ReportRequest};
use tradewind::sidecar::wire::received::Received;
use tradewind::sidecar::wire::report::Context;
use tradewind::sidecar::writer::Writer;

use crate::client::request;

/// Worker 3 of process 0x0a0b, serving the embedded example.
struct Worker {
    state: Arc<State>,
    handover: Arc<Handover>,
    decider: Decider,
    feedback: Feedback,
}

const INSTANCE: u16 = 0x0a0b;

impl Worker {
    fn new() -> Self {
        let state = Arc::new(State::default());
        let settings = Settings::new(Args::default()).unwrap();
        let (mut writer, _mailbox) = Writer::new(&settings, Arc::clone(&state));
        writer.load();
        let handover = Arc::new(Handover::default());
        let (recent, _samples) = RecentDecisions::new(1);
        let for_decider = (Arc::clone(&state), Arc::clone(&handover));
        let for_feedback = (Arc::clone(&state), Arc::clone(&handover));
        let reporters = Arc::new(Reporters::new(Quota::default(), Vec::new()));
        Self {
            state,
            handover,
            decider: Decider::new(
                for_decider.0,
                Arc::default(),
                Arc::clone(&recent),
                for_decider.1,
                (INSTANCE, 3),
            ),
            feedback: Feedback::new(
                for_feedback.0,
                reporters,
                (for_feedback.1, Arc::default()),
                recent,
                INSTANCE,
            ),
        }
    }

    async fn decide(&self, request: DecideRequest) -> DecideResponse {
        let answer = self.decider.decide(Request::new(request)).await.unwrap();
        prost::Message::decode(answer.into_inner().as_bytes()).unwrap()
    }

    async fn tell(&self, outcome: proto::Outcome) {
        let batch = ReportRequest {
            outcomes: vec![outcome],
            reporter: "tests".to_owned(),
        };
        let told = Request::new(Received {
            message: Ok(batch),
            beyond: 0,
        });
        let answer = self.feedback.report_unary(told).await.unwrap();
        assert_eq!(answer.into_inner().accepted, 1);
    }

    fn dispatches(&self) -> Vec<Dispatched> {
        let mut taken = VecDeque::new();
        self.handover.drain_dispatches(&mut taken);
        taken.into()
    }

    fn reports(&self) -> Vec<Reported> {
        let mut taken = VecDeque::new();
        self.handover
            .drain_reports(&mut taken, &mut VecDeque::new());
        taken.into()
    }
}

#[tokio::test]
async fn a_decision_is_handed_over_as_it_was_answered() {
    let worker = Worker::new();
    worker.decide(request("/first")).await;
    let answer = worker.decide(request("/video/1.mp4")).await;
    let tagged = answer.decision_id.strip_prefix("0a0b030000000001");
    assert_eq!(tagged.map(str::len), Some(8), "{}", answer.decision_id);
    let [_, told] = worker.dispatches()[..] else {
        panic!("two were made")
    };
    let published = worker.state.published.load_full().unwrap();
    let (policy, topology) = (published.snapshot.policy(), published.snapshot.topology());
    let Dispatched {
        fleet,
        dispatch,
        affinity,
    } = told;
    assert_eq!((fleet, affinity), (published.revision, Affinity::Key));
    assert_eq!(dispatch.number, DecisionNumber(0x0300_0000_0001));
    assert_eq!(dispatch.generation, answer.snapshot_generation);
    let first = &answer.candidates[0];
    assert_eq!(*topology.node(dispatch.node).id, *first.node);
    assert_eq!(*topology.site(dispatch.site).id, *first.site);
    assert!(policy.routing().node_sets().len() > dispatch.set.get() && !dispatch.hot);
    let named = dispatch
        .named
        .iter()
        .map(|node| topology.node(node).id.to_string());
    let answered = answer
        .candidates
        .iter()
        .map(|candidate| candidate.node.clone());
    assert_eq!(named.collect::<Vec<_>>(), answered.collect::<Vec<_>>());
}

#[tokio::test]
async fn what_names_no_node_or_is_only_tried_is_not_handed_over() {
    let worker = Worker::new();
    let tried = DecideRequest {
        dry_run: true,
        ..request("/a")
    };
    worker.decide(tried).await;
    let refused = DecideRequest {
        pool: "no such pool".to_owned(),
        ..request("/a")
    };
    let answer = worker.decide(refused).await;
    assert_eq!(answer.reason, "unknown_pool");
    assert_eq!(worker.dispatches(), []);
}

#[tokio::test]
async fn an_outcome_is_handed_over_in_the_engines_terms() {
    let worker = Worker::new();
    let answer = worker.decide(request("/a")).await;
    let node = answer.candidates[0].node.clone();
    let lasting = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let mut message = proto::Outcome {
        decision_id: answer.decision_id,
        node: node.clone(),
        attempt: 1,
        result: proto::AttemptResult::Timeout.into(),
        status: 504,
        time_to_first_byte: lasting(1, 1),
        total: lasting(2, 0),
        bytes: 7,
        cache_status: proto::CacheStatus::Stale.into(),
        client_round_trip: lasting(600, 0),
        key: 9,
        decided: None,
    };
    worker.tell(message.clone()).await;
    let published = worker.state.published.load_full().unwrap();
    let mut expected = Outcome {
        decision: Some(DecisionNumber(0x0300_0000_0000)),
        attempt: 1,
        reporter: Reporter(1),
        node: published.snapshot.routing().find_node(&node).unwrap(),
        result: AttemptResult::Timeout,
        status: 504,
        first_byte_us: 1_000_001,
        cache: CacheResult::Stale,
        bytes: 7,
        client_round_trip_us: 600_000_000,
        key: Some(KeyHash(9)),
    };
    // The same number in another process is another decision.
    message.decision_id.replace_range(..4, "0a0c");
    worker.tell(message).await;
    let reported = |outcome| Reported {
        fleet: published.revision,
        from: (Reporter(1), Standing::Other),
        report: Report::Outcome(outcome),
    };
    let ours = reported(expected);
    expected.decision = None;
    assert_eq!(worker.reports(), [ours, reported(expected)]);
}

#[tokio::test]
async fn what_a_node_does_not_tell_is_not_known() {
    let worker = Worker::new();
    let published = worker.state.published.load_full().unwrap();
    let policy = published.snapshot.policy();
    let node = worker.decide(request("/a")).await.candidates[0]
        .node
        .clone();
    let read = |message: proto::LoadReport| {
        let message = proto::LoadReport {
            node: node.clone(),
            ..message
        };
        let context = Context {
            policy,
            addresses: published.nodes.addresses(),
            receipts: (INSTANCE, worker.state.receipts.key()),
            reporter: Reporter(1),
        };
        context.load(&message).unwrap().1
    };
    assert_eq!(read(proto::LoadReport::default()), LoadReport::default());
    let told = read(proto::LoadReport {
        cpu_utilization: 0.25,
        application_utilization: 1.5,
        rps_fractional: 10.0,
        hit_ratio: Some(0.0),
        ..proto::LoadReport::default()
    });
    let expected = LoadReport {
        utilisation: Some(1.5),
        requests_per_second: Some(10.0),
        errors_per_second: Some(0.0),
        hit_ratio: Some(0.0),
        in_flight: None,
    };
    assert_eq!(told, expected);
    let errors = read(proto::LoadReport {
        eps: 0.5,
        ..proto::LoadReport::default()
    });
    assert_eq!(errors.errors_per_second, Some(narrow(0.5)));
}
