//! The disruption meter: what each publication did to 4,096 fixed keys.
//!
//! A key moved without need when it left a node that did not lose weight for one that did not gain any. Weighted
//! rendezvous moves none such; the meter shows it on the running fleet, and shows how much the rest came to.

use crate::engine::hash::{self, KeyHash};
use crate::engine::model::NodeIndex;
use crate::engine::number::from_u64;
use crate::engine::policy::SetIndex;
use crate::engine::rank::{self, Top};
use crate::engine::snapshot::Snapshot;

/// Keys looked at.
pub const PROBE_KEYS: usize = 4_096;

/// Most pairs of a pool and a site that keys are spread over.
const MAX_PLACES: usize = 1_024;

/// The owner of every probe key, and the weights they were ranked with.
#[derive(Debug, Default)]
pub struct Meter {
    places: Vec<(SetIndex, u16)>,
    owners: Vec<Option<NodeIndex>>,
    weights: Vec<f32>,
    totals: Disruption,
    last: Disruption,
}

/// What publications did, as shares of the probe keys.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Disruption {
    /// Keys whose owner changed.
    pub moved: f64,
    /// The least that had to, for the weights that changed.
    pub minimum: f64,
    /// Keys that moved though neither their old owner lost weight nor their new one gained any.
    pub excess: f64,
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

    /// Looks at a snapshot that is about to be published.
    pub fn observe(&mut self, snapshot: &Snapshot) {
        let places = places(snapshot);
        let owners: Vec<Option<NodeIndex>> = (0_u64..)
            .take(PROBE_KEYS)
            .map(|probe| owner(snapshot, &places, probe))
            .collect();
        let weights = weights(snapshot);
        if self.places == places && self.weights.len() == weights.len() {
            self.last = self.compare(&owners, &weights, snapshot);
            self.totals.moved += self.last.moved;
            self.totals.minimum += self.last.minimum;
            self.totals.excess += self.last.excess;
        }
        (self.places, self.owners, self.weights) = (places, owners, weights);
    }

    /// Nothing that ranks has changed since the last look.
    pub fn unchanged(&mut self) {
        self.last = Disruption::default();
    }

    /// Forgets the owners: positions have other meanings now.
    pub fn clear(&mut self) {
        self.places.clear();
        self.last = Disruption::default();
    }

    fn compare(
        &self,
        owners: &[Option<NodeIndex>],
        weights: &[f32],
        snapshot: &Snapshot,
    ) -> Disruption {
        let weight = |of: &[f32], node: Option<NodeIndex>| {
            node.and_then(|node| of.get(node.get()).copied())
                .unwrap_or(0.0)
        };
        let (mut moved, mut excess) = (0_u64, 0_u64);
        for (before, after) in self.owners.iter().zip(owners) {
            if before != after {
                moved += 1;
                let lost = weight(weights, *before) < weight(&self.weights, *before);
                let gained = weight(weights, *after) > weight(&self.weights, *after);
                excess += u64::from(!lost && !gained);
            }
        }
        let keys = from_u64(PROBE_KEYS as u64);
        Disruption {
            moved: from_u64(moved) / keys,
            minimum: self.minimum(weights, snapshot),
            excess: from_u64(excess) / keys,
        }
    }

    /// The distance between the shares before and after (half of the sum of differences), the mean over places.
    fn minimum(&self, weights: &[f32], snapshot: &Snapshot) -> f64 {
        let policy = snapshot.policy();
        let mut sum = 0.0;
        for (set, position) in &self.places {
            let set = policy.node_set(*set);
            let members = set
                .sites()
                .get(usize::from(*position))
                .map_or(&[] as &[NodeIndex], |site| set.members_of(site));
            let of = |weights: &[f32], node: NodeIndex| {
                f64::from(weights.get(node.get()).copied().unwrap_or(0.0))
            };
            let all = |weights: &[f32]| members.iter().map(|node| of(weights, *node)).sum::<f64>();
            let (before, after) = (all(&self.weights), all(weights));
            if before <= 0.0 || after <= 0.0 {
                sum += if before > 0.0 || after > 0.0 {
                    1.0
                } else {
                    0.0
                };
                continue;
            }
            let differences = members
                .iter()
                .map(|node| (of(&self.weights, *node) / before - of(weights, *node) / after).abs());
            sum += differences.sum::<f64>() / 2.0;
        }
        sum / from_u64(self.places.len() as u64).max(1.0)
    }
}

/// The sites of every pool.
fn places(snapshot: &Snapshot) -> Vec<(SetIndex, u16)> {
    let mut sets: Vec<SetIndex> = snapshot
        .policy()
        .pools()
        .iter()
        .filter_map(|pool| pool.plan.tiers.first().map(|tier| tier.set))
        .collect();
    sets.sort_unstable();
    sets.dedup();
    let sites = sets.into_iter().flat_map(|set| {
        let count = snapshot.policy().node_set(set).sites().len();
        (0_u16..).take(count).map(move |position| (set, position))
    });
    sites.take(MAX_PLACES).collect()
}

fn owner(snapshot: &Snapshot, places: &[(SetIndex, u16)], probe: u64) -> Option<NodeIndex> {
    let at = usize::try_from(probe).ok()?.checked_rem(places.len())?;
    let (set, position) = places.get(at)?;
    let roster = snapshot.table(*set).ready();
    let segment = roster.segment(*position)?;
    let mut top = Top::new(1);
    rank::rank(roster.columns(), segment, key(probe), &mut top);
    roster.node_at(top.first()?.position)
}

/// The probe keys: the same in every build.
fn key(probe: u64) -> KeyHash {
    hash::key(&[b"tradewind/probe", &probe.to_le_bytes()])
}

/// What every node weighs in a race; 0 for those that are not in it.
fn weights(snapshot: &Snapshot) -> Vec<f32> {
    let topology = snapshot.topology();
    let signals = snapshot.signals();
    topology
        .indexed_nodes()
        .map(|(index, node)| {
            let known = signals.node(index);
            let races = node.state == crate::engine::model::AdminState::Ready
                && known.admission == crate::engine::signal::Admission::Admitted;
            if races {
                f32::from(node.capacity) * known.weight_factor
            } else {
                0.0
            }
        })
        .collect()
}
