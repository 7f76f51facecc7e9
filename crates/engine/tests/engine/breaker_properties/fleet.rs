//! Breakers of a small fleet: what decisions make of them, and the control loop that drives them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tradewind_engine::control::event::Event;
use tradewind_engine::control::{Control, Next};
use tradewind_engine::evaluate::{Reason, Verdict, evaluate};
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::health::breaker::{Cause, State};
use tradewind_engine::model::NodeIndex;
use tradewind_engine::policy::{self, Affinity, ClassNumber, Priority, SetNumber};
use tradewind_engine::query::Query;
use tradewind_engine::signal::observation::{
    AttemptResult, CacheResult, DecisionNumber, Dispatch, Named, Outcome, Reporter,
};
use tradewind_engine::signal::{Admission, NodeSignals, Signals};
use tradewind_engine::snapshot::{GeoState, LaneIndex, Parts, Snapshot};
use tradewind_engine::time::Moment;
use tradewind_engine::topology;

use super::config;

/// The first snapshot of one site with nodes of these capacities.
fn fleet(capacities: &[u16], signals: Signals) -> Snapshot {
    let mut text = String::from(
        "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n  - {id: fra, lat: 50, lon: 8}\n  nodes:\n",
    );
    for (at, capacity) in capacities.iter().enumerate() {
        writeln!(
            text,
            "  - {{id: n{at}, site: fra, address: \"192.0.2.{at}:80\", capacity: {capacity}}}"
        )
        .expect("written");
    }
    let topology = topology::compile("topology", &text)
        .topology
        .expect("a fleet");
    let text = "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools: [{name: all}]\n  rules:\n  - {name: all, owner: t, rollback: r, pools: [all]}\n";
    let policy = policy::compile("policy", text, &topology)
        .policy
        .expect("a policy");
    let parts = Parts {
        topology: Arc::new(topology),
        policy: Arc::new(policy),
        candidate: None,
        geo: Arc::new(Ranges::default()),
        geo_state: GeoState::NotConfigured,
        here: None,
        signals: Arc::new(signals),
    };
    Snapshot::build(1, parts, None)
}

fn with_signals(before: &Snapshot, signals: Arc<Signals>) -> Snapshot {
    let parts = Parts {
        signals,
        ..before.parts().clone()
    };
    Snapshot::build(before.generation() + 1, parts, Some(before))
}

fn ask(key: &[u8]) -> Query<'_> {
    Query {
        host: "h",
        path: "/",
        key: Some(key),
        ..Query::default()
    }
}

proptest! {
    #![proptest_config(config(12))]

    /// B2: while a node is half open it is named first for a slice of its own keys: as large as is said, the same at each
    /// asking and on every snapshot with the same signals, and for no other key.
    #[test]
    fn half_open_admits_a_slice_of_the_own_keys(slice in 0..=u16::MAX, salt in any::<u64>()) {
        let well = fleet(&[100, 100, 100], Signals::default());
        let mut nodes = vec![NodeSignals::default(); 3];
        if let Some(node) = nodes.get_mut(1) {
            node.admission = Admission::Probing { slice };
        }
        let signals = Signals { nodes, weights_version: 1, ..Signals::default() };
        let tried = with_signals(&well, Arc::new(signals.clone()));
        let again = fleet(&[100, 100, 100], signals);
        let (mut own, mut admitted) = (0_u32, 0_u32);
        for key in 0..6_000_u64 {
            let key = (key ^ salt).to_le_bytes();
            let first = |snapshot| {
                let evaluation = evaluate(snapshot, &ask(&key));
                (evaluation.picks.first().map(|pick| pick.node), evaluation.reason)
            };
            let (owner, _) = first(&well);
            let (now, reason) = first(&tried);
            prop_assert_eq!((now, reason), first(&again));
            let is_own = owner == Some(NodeIndex(1));
            own += u32::from(is_own);
            admitted += u32::from(now == Some(NodeIndex(1)));
            prop_assert_eq!(now == Some(NodeIndex(1)), reason == Reason::Probe);
            prop_assert!(is_own || now == owner, "a key of another node moved");
        }
        let (share, own) = (f64::from(slice) / 65_536.0, f64::from(own));
        let error = 4.5 * (own * share * (1.0 - share)).sqrt() + 1.0;
        prop_assert!((f64::from(admitted) - own * share).abs() <= error, "{admitted} of {own} for {share}");
    }
}

/// A fleet under the control loop.
struct Run {
    control: Control,
    snapshot: Snapshot,
    now: Moment,
    number: u64,
}

impl Run {
    fn new(capacities: &[u16]) -> Self {
        let mut control = Control::new(7);
        let first = fleet(capacities, Signals::default());
        let next = Next {
            topology: first.topology(),
            policy: first.policy(),
            candidate: None,
            generation: 1,
        };
        let signals = control.adopt(Moment(1_000_000), next);
        Self {
            control,
            snapshot: fleet(capacities, (*signals).clone()),
            now: Moment(1_000_000),
            number: 0,
        }
    }

    /// A decision for a node on the present snapshot.
    fn dispatch(&mut self, node: NodeIndex) -> u64 {
        self.dispatch_for(node, self.number + 1)
    }

    /// The same for a key that may have been asked for before.
    fn dispatch_for(&mut self, node: NodeIndex, key: u64) -> u64 {
        self.number += 1;
        let evaluation = evaluate(&self.snapshot, &ask(&key.to_le_bytes()));
        let topology = self.snapshot.topology();
        let site = topology.site_of(node);
        let others = topology.indexed_nodes().map(|(other, _)| other);
        let others = others.filter(|other| *other != node);
        let dispatch = Dispatch {
            number: DecisionNumber(self.number),
            generation: self.snapshot.generation(),
            lane: LaneIndex::First,
            key: evaluation.key,
            set: SetNumber(0),
            site,
            node,
            group: None,
            class: ClassNumber(0),
            priority: Priority::Normal,
            hot: false,
            named: Named::new(std::iter::once(node).chain(others)),
            is_reusable: false,
            is_trial: false,
        };
        self.control.dispatched(&dispatch, Affinity::Key);
        self.number
    }

    fn outcome(&mut self, number: u64, node: NodeIndex, success: bool) {
        self.timed(number, node, (success, 1_000));
    }

    /// An outcome that took so many microseconds.
    fn timed(&mut self, number: u64, node: NodeIndex, (success, first_byte_us): (bool, u32)) {
        let outcome = Outcome {
            decision: Some(DecisionNumber(number)),
            attempt: 0,
            reporter: Reporter(0),
            node,
            result: if success {
                AttemptResult::Ok
            } else {
                AttemptResult::Timeout
            },
            status: if success { 200 } else { 0 },
            first_byte_us,
            cache: CacheResult::Hit,
            bytes: 1_000,
            client_round_trip_us: 0,
            key: None,
        };
        self.control
            .outcome(self.now, &outcome, Next::after(&self.snapshot));
    }

    fn tick(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        if let Some(signals) = self.control.tick(self.now, &self.snapshot) {
            self.snapshot = with_signals(&self.snapshot, signals);
        }
    }

    /// Breakers and testimony of all nodes, and what they are admitted for.
    fn image(&self) -> String {
        let mut image = String::new();
        let operation = self.snapshot.policy().operation();
        for (node, _) in self.snapshot.topology().indexed_nodes() {
            let report = self
                .control
                .node_report(self.now, node, operation)
                .expect("a node");
            write!(
                image,
                "{:?} {:?} {:?};",
                report.notes.breaker, report.notes.testimony, report.signals.admission
            )
            .expect("written");
        }
        image
    }

    /// B5 and P2, after a tick.
    fn check(&self) -> Result<(), TestCaseError> {
        let topology = self.snapshot.topology();
        let signals = self.snapshot.signals();
        let (mut all, mut ejected, mut count) = (0.0, 0.0, 0);
        for (index, node) in topology.indexed_nodes() {
            let known = signals.node(index);
            all += f64::from(node.capacity);
            if known.admission != Admission::Admitted {
                ejected += f64::from(node.capacity);
                count += 1;
            }
            prop_assert!(
                known.weight_factor > 0.0 && known.weight_factor <= 1.0,
                "{known:?}"
            );
            prop_assert!(known.headroom.is_finite() && known.headroom > 0.0);
        }
        prop_assert!(
            ejected <= all * 0.34 + 1e-6 || count == 1,
            "{ejected} of {all}, {count} nodes"
        );
        prop_assert!(count < topology.nodes().len(), "the last one stays");
        for key in 0..8_u64 {
            let evaluation = evaluate(&self.snapshot, &ask(&key.to_le_bytes()));
            prop_assert_eq!(evaluation.verdict, Verdict::Route);
            let nodes: BTreeSet<NodeIndex> =
                evaluation.picks.iter().map(|pick| pick.node).collect();
            prop_assert!(!nodes.is_empty() && nodes.len() == evaluation.picks.len());
            prop_assert!(
                evaluation
                    .picks
                    .iter()
                    .all(|pick| pick.expected_ms.is_none_or(f32::is_finite))
            );
            prop_assert!(
                evaluation
                    .sites
                    .iter()
                    .all(|site| site.total_ms.is_finite())
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(config(48))]

    /// B1, B5 and P2 through the control loop, with every node failing as it likes, by a new likelihood each second.
    #[test]
    fn the_loop_keeps_the_cap_and_always_answers(
        capacities in prop::collection::vec(prop_oneof![Just(100_u16), 1..=1_000_u16], 1..=8),
        moods in prop::collection::vec(prop::collection::vec(0..=2_u8, 8), 20..60),
        mut noise in any::<u64>(),
    ) {
        let mut run = Run::new(&capacities);
        let mut states = vec![0_u8; capacities.len()];
        for mood in moods {
            for _ in 0..10 {
                for (node, mood) in (0_u32..).map(NodeIndex).zip(mood.iter().take(capacities.len())) {
                    noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    let number = run.dispatch(node);
                    // Well, failing every other time, or failing; some outcomes are lost.
                    let success = match mood { 0 => true, 1 => noise >> 63 == 0, _ => false };
                    if noise >> 60 & 3 != 0 {
                        run.outcome(number, node, success);
                    }
                }
                run.tick(100 + (noise >> 50 & 1) * 1_500);
                run.check()?;
                for event in run.control.take_events() {
                    let Event::Breaker { node, to, .. } = event else { continue };
                    let state = states.get_mut(node.get()).expect("a node");
                    prop_assert!(matches!((*state, to.number()), (0, 2) | (2, 1) | (1, 0 | 2)), "{state} to {to:?}");
                    *state = to.number();
                }
            }
        }
    }

    /// B3: outcomes of decisions made before the breaker last changed its state change neither it, nor what is said of
    /// the node, nor what it is admitted for.
    #[test]
    fn late_reports_change_nothing(
        nodes in 2..=6_usize,
        late in prop::collection::vec(any::<bool>(), 1..60),
        until in 0..3_u8,
    ) {
        let mut run = Run::new(&vec![100; nodes]);
        let node = NodeIndex(1);
        run.tick(100);
        let old: Vec<u64> = late.iter().map(|_| run.dispatch(node)).collect();
        for _ in 0..5 {
            let number = run.dispatch(node);
            run.outcome(number, node, false);
        }
        // Open; half open; closed again.
        run.tick(100);
        if until >= 1 {
            run.tick(12_500);
            run.tick(100);
        }
        if until >= 2 {
            for _ in 0..3 {
                let number = run.dispatch(node);
                run.outcome(number, node, true);
            }
            run.tick(100);
        }
        let operation = run.snapshot.policy().operation();
        let state = run.control.node_report(run.now, node, operation).expect("a node").notes.breaker.state();
        prop_assert_eq!(state.name(), ["open", "half_open", "closed"].get(usize::from(until)).copied().unwrap_or_default());
        let before = run.image();
        for (number, success) in old.into_iter().zip(late) {
            run.outcome(number, node, success);
        }
        prop_assert_eq!(&before, &run.image());
        run.tick(100);
        prop_assert_eq!(before, run.image());
    }
}

/// B3 for slowness: answers of decisions made before a breaker closed do not open it again, however slow and many.
#[test]
fn late_slow_answers_change_nothing() {
    let mut run = Run::new(&[100; 3]);
    let node = NodeIndex(1);
    for _ in 0..30 {
        for _ in 0..20 {
            let number = run.dispatch(node);
            run.outcome(number, node, true);
        }
        run.tick(1_000);
    }
    let old: Vec<u64> = (0..400).map(|_| run.dispatch(node)).collect();
    for _ in 0..5 {
        let number = run.dispatch(node);
        run.outcome(number, node, false);
    }
    run.tick(100);
    run.tick(12_500);
    for _ in 0..3 {
        let number = run.dispatch(node);
        run.outcome(number, node, true);
    }
    run.tick(100);
    for late in old.chunks(10) {
        for number in late {
            run.timed(*number, node, (true, 100_000));
        }
        run.tick(1_000);
        let operation = run.snapshot.policy().operation();
        let report = run.control.node_report(run.now, node, operation);
        let breaker = report.expect("a node").notes.breaker;
        assert_eq!(
            (breaker.state(), breaker.cause()),
            (State::Closed, Cause::Recovered)
        );
    }
}

/// One URL, asked for one at a time: five failures at a node are enough when the next of the list serves it, and none are
/// when no node does and others of their keys go well.
#[test]
fn one_url_opens_a_breaker_only_where_another_node_serves_it() {
    for is_served_elsewhere in [true, false] {
        let mut run = Run::new(&[100; 3]);
        let (first, second) = (NodeIndex(1), NodeIndex(2));
        for request in 1..=50 {
            let number = run.dispatch_for(first, 7);
            run.outcome(number, first, false);
            run.outcome(number, second, is_served_elsewhere);
            if !is_served_elsewhere {
                for node in [first, second] {
                    let number = run.dispatch(node);
                    run.outcome(number, node, true);
                }
            }
            run.tick(1_000);
            let operation = run.snapshot.policy().operation();
            let report = run.control.node_report(run.now, first, operation);
            let state = report.expect("a node").notes.breaker.state();
            let opens = is_served_elsewhere && request >= 5;
            assert_eq!(
                state != State::Closed,
                opens,
                "request {request}: {state:?}"
            );
            if opens {
                break;
            }
        }
    }
}

/// Failures of which nobody knows what was asked count once a second; refused connections each.
#[test]
fn failures_without_a_decision_count_once_a_second() {
    let states = |result, status, seconds: u64| {
        let mut run = Run::new(&[100; 3]);
        let node = NodeIndex(1);
        for at in 0..=10 * seconds {
            // What is told without a decision is believed of as many requests as were sent.
            run.dispatch(node);
            let outcome = Outcome {
                decision: None,
                attempt: 0,
                reporter: Reporter(0),
                node,
                result,
                status,
                first_byte_us: 0,
                cache: CacheResult::Unknown,
                bytes: 0,
                client_round_trip_us: 0,
                key: None,
            };
            let next = Next::after(&run.snapshot);
            run.control.outcome(run.now, &outcome, next);
            if at < 10 * seconds {
                run.tick(100);
            }
        }
        let operation = run.snapshot.policy().operation();
        let report = run.control.node_report(run.now, node, operation);
        report.expect("a node").notes.breaker.state().name()
    };
    assert_eq!(states(AttemptResult::Error, 500, 3), "closed");
    assert_eq!(states(AttemptResult::Timeout, 0, 4), "open");
    assert_eq!(states(AttemptResult::Error, 0, 1), "open");
}
