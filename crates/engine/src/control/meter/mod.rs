//! The disruption meter: what publications did to 1,024 fixed requests, and what did it.
//!
//! A probe is a request that nobody sends: a key of its own, asked of a pool by a client at a place. Half of the clients
//! stand around the sites of the pools; the others are addresses that the geo files know, so that another geo file shows
//! too. Each publication that may change an answer decides all of them, as for anybody who asks, and compares who is
//! named first. So a choice of site counts as much as a race between nodes.
//!
//! Whatever moved a key counts, and each key that moved has one [`MoveCause`], found by comparing what its two nodes and
//! sites were worth before and after. One that moved though nothing of that had changed moved without need. A change of
//! policy or topology clears nothing: nodes are followed by name, and probes are chosen anew only after the change was
//! measured with those from before it.
//!
//! Cost: a decision for each probe, a millisecond or two of the writer's thread, for a publication that changes weights,
//! terms, spill or the world, and none for others (`cargo bench --bench control`, `publication us`). It is paid twenty times a
//! second at most: what is published faster is measured together.
//!
//! What it does not see: requests of rules that name other pools from now on or make keys in another way, pools without
//! affinity, which keep no key anywhere, and hot keys, which no probe is.

mod change;
mod probes;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::positions::Mapping;
use crate::geo::cell::Cell;
use crate::model::{NodeIndex, SiteIndex, names};
use crate::number::from_u64;
use crate::policy::{ClassNumber, Numbered, SetIndex};
use crate::snapshot::{LaneIndex, Parts, Snapshot};
use crate::time::Moment;
use change::Change;
use probes::Probe;

/// Requests looked at: enough that a tenth of the keys is known to within a hundredth of them, and few enough that deciding
/// all of them takes a millisecond.
pub const PROBE_KEYS: usize = 1_024;

/// The shortest time between two measurements, in ms: half a tick, so that each tick is measured though clocks tremble, and
/// whoever publishes a thousand times a second is measured twenty times.
const EVERY_MS: u64 = 50;

/// What moved a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MoveCause {
    /// Another policy.
    Policy,
    /// Another fleet, or a state that operators set.
    Topology,
    /// Clients are known to be elsewhere.
    Geo,
    /// A node may be named for more or for less: breakers, probes, load, readmission.
    Admission,
    /// A node's condition, or its slow start.
    Weights,
    /// What a site is expected to cost its clients.
    SiteTerms,
    /// Round trips that were measured.
    Paths,
    /// Sites or paths that are tried, or not any more.
    Trials,
    /// A node or site gives away more or less.
    Spill,
}

names! { MoveCause {
    Policy = "policy",
    Topology = "topology",
    Geo = "geo",
    Admission = "admission",
    Weights = "weights",
    SiteTerms = "site_terms",
    Paths = "paths",
    Trials = "trials",
    Spill = "spill",
} }

/// The probes, and who answers them.
#[derive(Debug, Default)]
pub struct Meter {
    probes: Vec<Probe>,
    owners: Vec<Owner>,
    totals: Disruption,
    last: Disruption,
    /// What the owners were found in, and where its positions are now.
    base: Option<Base>,
    mapping: Mapping,
    measured_at: Moment,
    is_behind: bool,
}

/// What a snapshot was made of, and what its sets and classes are called.
#[derive(Debug)]
struct Base {
    parts: Parts,
    numbered: Arc<Numbered>,
}

impl Base {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            parts: snapshot.parts().clone(),
            numbered: Arc::clone(snapshot.lane(LaneIndex::First).numbered()),
        }
    }

    /// The content class that a probe's pool is taken for.
    fn class_of(&self, probe: &Probe) -> ClassNumber {
        let class = probe.class_in(self.parts.policy.routing());
        self.numbered.class(class)
    }
}

/// Who answers a probe.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Owner {
    /// The node named first, and its site.
    named: Option<(NodeIndex, SiteIndex)>,
    /// Where the client is taken to be.
    cell: Option<Cell>,
}

/// What publications did, as shares of the probes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Disruption {
    /// Keys whose node changed.
    pub moved: f64,
    /// The least that had to: those whose site changed, and at each site as many as its nodes' weights ask for.
    pub minimum: f64,
    /// Keys that moved though nothing had changed that they depend on.
    pub excess: f64,
    /// Keys that moved by cause, in the order of [`MoveCause::ALL`].
    pub by_cause: [f64; MoveCause::ALL.len()],
}

impl Disruption {
    /// Each cause with the share it moved.
    pub fn causes(&self) -> impl Iterator<Item = (MoveCause, f64)> + '_ {
        let causes = MoveCause::ALL.iter().copied();
        causes.zip(self.by_cause)
    }

    /// Adds what another publication did.
    pub fn add(&mut self, other: &Self) {
        self.moved += other.moved;
        self.minimum += other.minimum;
        self.excess += other.excess;
        for (sum, more) in self.by_cause.iter_mut().zip(other.by_cause) {
            *sum += more;
        }
    }
}

impl Meter {
    /// What the last publication did.
    pub fn last(&self) -> Disruption {
        self.last
    }

    /// What all publications together did.
    pub fn totals(&self) -> Disruption {
        self.totals
    }

    /// Positions are others from now on.
    pub(super) fn carry(&mut self, mapping: &Mapping) {
        self.mapping = self.mapping.then(mapping);
    }

    /// Whether something was published too soon after the last measurement, and is still to be measured.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Looks at a snapshot that is published, or was and has not been measured yet. Whether it was measured now: if the
    /// last time is too short ago, it is later, together with what is published until then.
    pub(super) fn observe(&mut self, now: Moment, snapshot: &Snapshot) -> bool {
        let Some(base) = &self.base else {
            self.begin(snapshot);
            return false;
        };
        let after = Base::of(snapshot);
        let change = Change {
            before: base,
            after: &after,
            mapping: &self.mapping,
        };
        if change.is_none() {
            self.is_behind = false;
            self.last = Disruption::default();
            return false;
        }
        if now.since(self.measured_at) < EVERY_MS {
            self.is_behind = true;
            self.last = Disruption::default();
            return false;
        }
        let owners: Vec<Owner> = self.owners_in(snapshot);
        self.last = self.compare(&owners, &change);
        self.totals.add(&self.last);
        let is_of_world = change.is_of_world();
        self.owners = owners;
        (self.measured_at, self.is_behind) = (now, false);
        if is_of_world {
            self.begin(snapshot);
        } else {
            self.base = Some(after);
        }
        true
    }

    /// Chooses probes for a world, and asks who answers them if they are others.
    fn begin(&mut self, snapshot: &Snapshot) {
        self.base = Some(Base::of(snapshot));
        self.mapping = Mapping::identity(snapshot.topology(), snapshot.numbers());
        let probes = probes::of(snapshot);
        if probes != self.probes {
            self.probes = probes;
            self.owners = self.owners_in(snapshot);
        }
    }

    fn owners_in(&self, snapshot: &Snapshot) -> Vec<Owner> {
        let probes = self.probes.iter().zip(0_u64..);
        probes
            .map(|(probe, number)| probe.owner_in(snapshot, number))
            .collect()
    }

    fn compare(&self, owners: &[Owner], change: &Change<'_>) -> Disruption {
        let mut counted = Disruption::default();
        // How many keys stayed at each site, to see how many of them had to change their node.
        let mut stayed: BTreeMap<(SetIndex, SiteIndex), u32> = BTreeMap::new();
        let all = from_u64(self.probes.len() as u64).max(1.0);
        let pairs = self.owners.iter().zip(owners);
        for ((was, is), probe) in pairs.zip(&self.probes) {
            let site = was.named.and_then(|(_, site)| change.mapping.site(site));
            let set = probe.set_in(change.after.parts.policy.routing());
            if let (Some((_, now)), Some(set)) = (is.named, set)
                && Some(now) == site
            {
                *stayed.entry((set, now)).or_default() += 1;
            } else if was.named.is_some() || is.named.is_some() {
                counted.minimum += 1.0 / all;
            }
            let node = was.named.and_then(|(node, _)| change.mapping.node(node));
            let is_same = node == is.named.map(|(node, _)| node);
            if is_same && (node.is_some() || was.named.is_none()) {
                continue;
            }
            counted.moved += 1.0 / all;
            let sum = change
                .cause(probe, was, is)
                .and_then(|cause| counted.by_cause.get_mut(cause as usize));
            *sum.unwrap_or(&mut counted.excess) += 1.0 / all;
        }
        for ((set, site), count) in stayed {
            counted.minimum += f64::from(count) / all * change.distance(set, site);
        }
        // What weights ask for is an expectation: of so many probes some fewer may have had to move.
        counted.minimum = counted.minimum.min(counted.moved);
        counted
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::control::positions::Positions;
    use crate::geo::ranges::Ranges;
    use crate::model::AdminState;
    use crate::policy;
    use crate::score::Terms;
    use crate::signal::{Admission, NodeSignals, Signals, SiteSignals, Standing};
    use crate::snapshot::{GeoState, Parts};
    use crate::topology::{self, Topology};

    const FLEET: &str = "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n  - {id: fra, lat: 50.1, lon: 8.7}\n  \
                         - {id: par, lat: 48.9, lon: 2.4}\n  nodes:\n  - {id: fra-1, site: fra, address: \"192.0.2.1:80\"}\n  \
                         - {id: fra-2, site: fra, address: \"192.0.2.2:80\"}\n  - {id: fra-3, site: fra, address: \"192.0.2.3:80\"}\n  \
                         - {id: par-1, site: par, address: \"192.0.2.4:80\"}\n  - {id: par-2, site: par, address: \"192.0.2.5:80\"}\n";

    fn parts(score: &str) -> Parts {
        let topology = topology::compile("topology", FLEET).topology.unwrap();
        parts_of(Arc::new(topology), score)
    }

    fn parts_of(topology: Arc<Topology>, score: &str) -> Parts {
        let text = format!(
            "apiVersion: tradewind/v1\nkind: Policy\nspec:\n{score}  pools: [{{name: edge, select: {{tier: edge}}}}]\n  \
             rules: [{{name: all, owner: a, rollback: x, pools: [edge]}}]\n"
        );
        let policy = policy::compile("policy", &text, &topology).policy.unwrap();
        Parts {
            topology,
            policy: Arc::new(policy),
            candidate: None,
            geo: Arc::new(Ranges::default()),
            geo_state: GeoState::NotConfigured,
            here: None,
            signals: Arc::new(known()),
        }
    }

    fn known() -> Signals {
        Signals {
            nodes: vec![NodeSignals::default(); 5],
            sites: vec![SiteSignals::default(); 2],
            standing: vec![Standing::default(); 2],
            ..Signals::default()
        }
    }

    /// What is measured when the second follows the first.
    fn measured(first: &Parts, second: Parts) -> Disruption {
        let before = Snapshot::build(1, first.clone(), None);
        let after = Snapshot::build(2, second, Some(&before));
        let edition = |snapshot: &Snapshot| {
            Positions::new(snapshot.topology(), Arc::clone(snapshot.numbers()))
        };
        let mut meter = Meter::default();
        meter.observe(Moment(0), &before);
        meter.carry(&edition(&before).mapping_to(&edition(&after)));
        meter.observe(Moment(20), &after);
        assert_eq!(meter.last(), Disruption::default(), "too soon");
        meter.observe(Moment(100), &after);
        assert!(!meter.is_behind());
        meter.last()
    }

    #[track_caller]
    fn assert_moved_by(cause: MoveCause, found: &Disruption) {
        let by = found.by_cause[cause as usize];
        assert!(found.moved > 0.01, "{cause:?}: {found:?}");
        assert!((by - found.moved).abs() < 1e-9, "{cause:?}: {found:?}");
        assert!(found.excess <= 0.0, "{cause:?}: {found:?}");
    }

    #[test]
    fn what_moved_keys_is_named() {
        let first = parts("");
        let with = |change: fn(&mut Signals)| {
            let mut signals = known();
            change(&mut signals);
            (signals.weights_version, signals.terms_version) = (1, 1);
            Parts {
                signals: Arc::new(signals),
                ..first.clone()
            }
        };
        let unwell = with(|signals| signals.nodes[0].admission = Admission::Unhealthy);
        let found = measured(&first, unwell);
        assert_moved_by(MoveCause::Admission, &found);
        let third = found.moved / 0.5;
        assert!(
            (0.25..0.42).contains(&third),
            "a third of half of the clients: {found:?}"
        );
        let light = with(|signals| signals.nodes[0].weight_factor = 0.25);
        let found = measured(&first, light);
        assert_moved_by(MoveCause::Weights, &found);
        assert!(
            (found.moved - found.minimum).abs() < 0.02,
            "no more than had to: {found:?}"
        );
        let spilling = with(|signals| signals.nodes[0].spill = 128);
        assert_moved_by(MoveCause::Spill, &measured(&first, spilling));
        let giving = with(|signals| signals.sites[0].spill = 128);
        assert_moved_by(MoveCause::Spill, &measured(&first, giving));
        let dear = with(|signals| {
            signals.standing[0].terms = Terms {
                miss: 8.0,
                ..Terms::default()
            };
        });
        assert_moved_by(MoveCause::SiteTerms, &measured(&first, dear));
        let bias = "  score: {bias: [{site: fra, ms: 8}]}\n";
        let biased = parts_of(Arc::clone(&first.topology), bias);
        let signals = Arc::new(Signals {
            standing: Vec::new(),
            ..known()
        });
        let biased = Parts { signals, ..biased };
        assert_moved_by(MoveCause::Policy, &measured(&first, biased));
        let states = [(Box::from("fra-2"), AdminState::Drain)].into();
        let drained = Parts {
            topology: Arc::new(first.topology.with_states(&states)),
            ..first.clone()
        };
        assert_moved_by(MoveCause::Topology, &measured(&first, drained));
    }

    /// Which of several recovering nodes is tried with a key is for all of them to say: one that is out again leaves keys to
    /// another that nothing has changed at. That was taken for a move without need.
    #[test]
    fn a_node_that_is_tried_no_more_moves_keys_between_others() {
        let first = parts("");
        let with = |states: [Admission; 3]| {
            let mut signals = known();
            for (node, admission) in signals.nodes.iter_mut().zip(states) {
                node.admission = admission;
            }
            signals.weights_version = 1;
            signals
        };
        let slice = 1 << 14;
        let (tried, out) = (Admission::Probing { slice }, Admission::BreakerOpen);
        for third in [Admission::Admitted, out] {
            let before = Parts {
                signals: Arc::new(with([tried, tried, third])),
                ..first.clone()
            };
            let mut after = with([out, tried, third]);
            after.weights_version = 2;
            let after = Parts {
                signals: Arc::new(after),
                ..first.clone()
            };
            assert_moved_by(MoveCause::Admission, &measured(&before, after));
        }
    }

    #[test]
    fn what_moves_nothing_is_measured_too() {
        let first = parts("");
        let again = measured(&first, parts(""));
        assert_eq!(again, Disruption::default(), "compiled anew");
        let text = FLEET.replace("fra-1", "fra-9");
        let renamed = topology::compile("topology", &text).topology.unwrap();
        let found = measured(&first, parts_of(Arc::new(renamed), ""));
        assert_moved_by(MoveCause::Topology, &found);
    }
}
