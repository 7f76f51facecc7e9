//! F7: whatever a chair says, no more of a pool is ejected than the policy allows, and nothing that operators said changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::edition;
use crate::control::facts::{Facts as Concluded, NodeFacts};
use crate::control::{Control, Next};
use crate::fleet::facts::{Facts, NodeFact};
use crate::fleet::member::{Kind, Member, State};
use crate::fleet::{Epoch, Stamp};
use crate::geo::ranges::Ranges;
use crate::hash::NodeSeed;
use crate::model::{AdminState, NodeIndex};
use crate::publication;
use crate::signal::{Admission, Signals};
use crate::snapshot::{GeoState, Parts, Snapshot};
use crate::time::Moment;
use crate::topology::Topology;

fn admission() -> impl Strategy<Value = Admission> {
    prop_oneof![
        Just(Admission::Admitted),
        any::<u16>().prop_map(|slice| Admission::Probing { slice }),
        Just(Admission::Overloaded),
        Just(Admission::Unknown),
        Just(Admission::Unhealthy),
        Just(Admission::BreakerOpen),
        Just(Admission::BreakerOpen),
    ]
}

fn fact() -> impl Strategy<Value = NodeFact> {
    let place = proptest::option::of(0..12_u32);
    let rest = any::<(u64, u8, u8, u8, u8, u8, u8, u16)>();
    (admission(), place, rest).prop_map(|(verdict, place, rest)| NodeFact {
        verdict,
        place,
        term: rest.0,
        level: rest.1,
        usual: rest.2,
        ramp: rest.3,
        headroom: rest.4,
        spill: rest.5,
        full: rest.6,
        shed: rest.7,
    })
}

pub(super) struct Process {
    pub(super) control: Control,
    pub(super) snapshot: Snapshot,
}

impl Process {
    pub(super) fn new() -> Self {
        let (topology, policy) = edition();
        let mut control = Control::new(7);
        let parts = Parts {
            topology: Arc::new(topology),
            policy: Arc::new(policy),
            candidate: None,
            geo: Arc::new(Ranges::default()),
            geo_state: GeoState::NotConfigured,
            here: None,
            signals: Arc::default(),
        };
        let snapshot = publication::adopt(&mut control, Moment(0), parts, None);
        Self { control, snapshot }
    }

    pub(super) fn topology(&self) -> &Topology {
        self.snapshot.topology()
    }

    /// What decisions see when `member` is followed.
    fn follow(&mut self, now: Moment, member: &Member) -> (Arc<Concluded>, Option<Arc<Signals>>) {
        let own = self.control.assess(now, &self.snapshot);
        let facts = member.acts_on(now, &own, self.snapshot.topology());
        let next = Next::after(&self.snapshot);
        (own, self.control.settle(now, &facts, next))
    }
}

pub(super) fn said(sequence: u64, nodes: Vec<(NodeSeed, NodeFact)>) -> State {
    State {
        stamp: Stamp {
            epoch: Epoch(1),
            sequence,
        },
        at_ms: sequence,
        kind: Kind::Whole,
        nodes,
        well: Vec::new(),
        sites: BTreeMap::new(),
        hearings: Vec::new(),
    }
}

/// A bus that went away for longer than a minute took with it all that the fleet had found out: traffic went back to nodes
/// that fail, and levels jumped.
#[test]
fn who_is_alone_after_a_chair_goes_on_from_what_it_said() {
    let mut process = Process::new();
    let nodes = process.topology().nodes().iter();
    let seeds: Vec<NodeSeed> = nodes.map(|it| it.seed).collect();
    let failed = NodeFact {
        verdict: Admission::BreakerOpen,
        place: Some(0),
        term: 1,
        ..NodeFact::default()
    };
    let slow = NodeFact {
        level: 4,
        ..NodeFact::default()
    };
    let mut member = Member::default();
    let facts = vec![(seeds[0], failed), (seeds[1], slow)];
    member.hear(Moment(100), &said(1, facts));
    let (own, signals) = process.follow(Moment(100), &member);
    assert_eq!(own.nodes[0].verdict, Admission::Admitted, "it saw nothing");
    let before = signals.expect("something changed");
    let last = member.acts_on(Moment(100), &own, process.topology());
    let next = Next::after(&process.snapshot);
    process.control.go_on_from(Moment(60_100), &last, next);
    let (own, signals) = process.follow(Moment(60_100), &member);
    assert_eq!(own.nodes[0].verdict, Admission::BreakerOpen);
    assert_eq!(own.nodes[1].level, 4);
    let after = signals.unwrap_or_else(|| Arc::clone(&before));
    for at in [0, 1].map(NodeIndex) {
        assert_eq!(after.node(at), before.node(at), "nothing jumps");
    }
    // It is tried again like one that failed for this sidecar itself.
    let is_tried = (61..120).any(|second| {
        let (own, _) = process.follow(Moment(second * 1_000), &member);
        matches!(own.nodes[0].verdict, Admission::Probing { .. })
    });
    assert!(is_tried);
}

proptest! {
    #[test]
    fn no_chair_takes_more_than_a_third_of_a_pool(
        all in proptest::collection::vec(proptest::collection::vec(fact(), 10), 1..6),
    ) {
        let mut process = Process::new();
        let states: Vec<AdminState> = process.topology().nodes().iter().map(|it| it.state).collect();
        let mut member = Member::default();
        for (sequence, facts) in (1..).zip(all) {
            let now = Moment(sequence * 500);
            let seeds = process.topology().nodes().iter().map(|node| node.seed);
            let unknown = (NodeSeed(1), facts[0]);
            let nodes = seeds.zip(facts).chain([unknown]).collect();
            member.hear(now, &said(sequence, nodes));
            let (_, signals) = process.follow(now, &member);
            let Some(signals) = signals else { continue };
            let topology = process.topology();
            let routing = process.snapshot.policy().routing();
            for pool in routing.pools() {
                let ready = routing.node_set(pool.set()).members().iter().copied();
                let ready = ready.filter(|node| topology.node(*node).state == AdminState::Ready);
                let weight = |node: &NodeIndex| f64::from(topology.node(*node).capacity);
                let all: f64 = ready.clone().map(|node| weight(&node)).sum();
                let is_out = |node: &NodeIndex| signals.node(*node).admission != Admission::Admitted;
                let out: Vec<NodeIndex> = ready.filter(is_out).collect();
                let lost: f64 = out.iter().map(weight).sum();
                prop_assert!(lost <= 0.34 * all + 1e-6 || out.len() == 1, "{lost} of {all}: {out:?}");
            }
            for node in &signals.nodes {
                prop_assert!(node.weight_factor > 0.0 && node.weight_factor <= 1.0);
                prop_assert!(node.headroom.is_finite() && node.headroom > 0.0);
            }
            let now: Vec<AdminState> = process.topology().nodes().iter().map(|it| it.state).collect();
            prop_assert_eq!(&now, &states);
        }
    }
}

/// A member whose own breaker is open keeps it while the fleet finds the node well, and goes behind those whom the fleet has
/// left.
#[test]
fn the_stricter_of_the_fleets_word_and_ones_own_breaker_counts() {
    let mut process = Process::new();
    let mut member = Member::default();
    let seed = |at: u32| process.topology().node(NodeIndex(at)).seed;
    let left = NodeFact {
        verdict: Admission::BreakerOpen,
        place: Some(3),
        ..NodeFact::default()
    };
    let nodes = vec![(seed(0), left)];
    member.hear(Moment(100), &said(1, nodes));
    let topology = process.topology();
    let by_own = |verdict, place| NodeFacts {
        verdict,
        place,
        ..NodeFacts::default()
    };
    let own = Concluded {
        nodes: vec![
            NodeFacts::default(),
            by_own(Admission::BreakerOpen, Some(0)),
            by_own(Admission::Unhealthy, None),
        ],
        ..Concluded::default()
    };
    let at = |now| {
        let acted_on = member
            .acts_on(Moment(now), &own, topology)
            .nodes
            .into_iter();
        acted_on
            .map(|facts| (facts.verdict, facts.place))
            .collect::<Vec<_>>()
    };
    let open = Admission::BreakerOpen;
    let followed = [
        (open, Some(3)),
        (open, Some(4)),
        (Admission::Unhealthy, None),
    ];
    assert_eq!(
        at(200),
        followed,
        "its own probes count, which nobody compares"
    );
    assert_eq!(at(5_000), followed, "and while the chair is silent");
    let alone = [
        (Admission::Admitted, None),
        (open, Some(0)),
        (Admission::Unhealthy, None),
    ];
    assert_eq!(at(90_000), alone);
    let signals = process.follow(Moment(200), &member).1.expect("changed");
    assert_eq!(signals.node(NodeIndex(0)).admission, Admission::BreakerOpen);
}

/// A process that follows what it concluded itself acts as one that has no fleet, but for headrooms, which are told in
/// sixteenths of an octave.
#[test]
fn facts_of_ones_own_come_back_as_they_were() {
    let mut process = Process::new();
    let own = process.control.assess(Moment(100), &process.snapshot);
    let facts = Facts::of(&own, process.topology());
    assert_eq!(facts.nodes, BTreeMap::new(), "all are plainly well");
    let mut member = Member::default();
    let nodes = facts.nodes.into_iter().collect();
    member.hear(Moment(100), &said(1, nodes));
    let acted_on = member.acts_on(Moment(100), &own, process.topology());
    assert_eq!(acted_on.nodes, own.nodes);
    assert_eq!(acted_on.sites, own.sites);
}
