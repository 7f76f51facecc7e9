//! Other ways of choosing a node, for comparison in the same run.

use tradewind_engine::evaluate::Evaluation;
use tradewind_engine::hash::{self, KeyHash};
use tradewind_engine::model::NodeIndex;
use tradewind_engine::number::from_u64;
use tradewind_engine::rank::{self, Top};
use tradewind_engine::snapshot::Snapshot;
use tradewind_engine::topology::Topology;

/// Who chooses the first node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Chooser {
    /// This engine, with all it knows.
    Tradewind,
    /// Weighted rendezvous hashing and nothing else.
    Plain,
    /// Rendezvous order, passing over nodes whose present load is above this multiple of the mean.
    BoundedLoad(f64),
    /// A ring of 160 points a node, going round past nodes whose load is above this multiple of the mean (Mirrokni,
    /// Thorup, Zadimoghaddam 2016).
    BoundedRing(f64),
}

/// Points of a node of mean weight on the ring.
const POINTS: u32 = 160;

/// Horizon of the present load, in microseconds.
const HORIZON_US: f64 = 1e6;

/// A rival's state.
#[derive(Debug)]
pub(super) struct Rival {
    chooser: Chooser,
    ring: Vec<(u64, NodeIndex)>,
    capacities: Vec<f64>,
    loads: Vec<f64>,
    all: f64,
    at_us: u64,
}

impl Rival {
    pub(super) fn new(chooser: Chooser, topology: &Topology) -> Self {
        let capacities: Vec<f64> = topology
            .nodes()
            .iter()
            .map(|node| f64::from(node.capacity))
            .collect();
        let mean = capacities.iter().sum::<f64>() / from_u64(capacities.len() as u64);
        let mut ring: Vec<(u64, NodeIndex)> = Vec::new();
        for (index, node) in topology.indexed_nodes() {
            let points = f64::from(POINTS) * f64::from(node.capacity) / mean;
            for point in 0..tradewind_engine::number::to_u64(points.max(1.0)) {
                ring.push((
                    hash::key(&[node.id.as_bytes(), &point.to_le_bytes()]).0,
                    index,
                ));
            }
        }
        ring.sort_unstable();
        Self {
            chooser,
            ring,
            loads: vec![0.0; capacities.len()],
            capacities,
            all: 0.0,
            at_us: 0,
        }
    }

    /// The node a rival would take; `None` when this engine chooses.
    pub(super) fn choose(
        &mut self,
        snapshot: &Snapshot,
        evaluation: &Evaluation,
        now_us: u64,
    ) -> Option<NodeIndex> {
        if self.chooser == Chooser::Tradewind {
            return None;
        }
        self.fade(now_us);
        let node = match self.chooser {
            Chooser::Tradewind => return None,
            Chooser::Plain => order(snapshot, evaluation, 1).first().copied()?,
            Chooser::BoundedLoad(bound) => {
                let order = order(snapshot, evaluation, Top::CAPACITY);
                let free = order.iter().find(|node| self.has_room(**node, bound));
                *free.or(order.first())?
            }
            Chooser::BoundedRing(bound) => self.around(evaluation.key, bound)?,
        };
        if let Some(load) = self.loads.get_mut(node.get()) {
            *load += 1.0;
        }
        self.all += 1.0;
        Some(node)
    }

    fn fade(&mut self, now_us: u64) {
        // Every millisecond is often enough, and spares work.
        let passed = now_us.saturating_sub(self.at_us);
        if passed >= 1_000 {
            let keep = libm::exp(-from_u64(passed) / HORIZON_US);
            self.loads.iter_mut().for_each(|load| *load *= keep);
            self.all *= keep;
            self.at_us = now_us;
        }
    }

    fn has_room(&self, node: NodeIndex, bound: f64) -> bool {
        let capacity: f64 = self.capacities.iter().sum();
        let own = self.capacities.get(node.get()).copied().unwrap_or(0.0);
        let most = (self.all + 1.0) * own / capacity * bound;
        self.loads.get(node.get()).is_some_and(|load| *load < most)
    }

    fn around(&self, key: KeyHash, bound: f64) -> Option<NodeIndex> {
        let start = self.ring.partition_point(|(point, _)| *point < key.0);
        let (before, after) = self.ring.split_at_checked(start)?;
        let mut round = after.iter().chain(before).map(|(_, node)| *node);
        let first = round.next()?;
        if self.has_room(first, bound) {
            return Some(first);
        }
        round
            .find(|node| self.has_room(*node, bound))
            .or(Some(first))
    }
}

/// The key's order at its best site.
fn order(snapshot: &Snapshot, evaluation: &Evaluation, count: usize) -> Vec<NodeIndex> {
    let decision = tradewind_engine::decision::Decision::new(snapshot, evaluation);
    let Some((tier, site)) = decision.tier().zip(evaluation.sites.first()) else {
        return Vec::new();
    };
    let roster = snapshot.table(tier.set).ready();
    let Some(segment) = roster.segment(site.position) else {
        return Vec::new();
    };
    let mut top = Top::new(count);
    rank::rank(roster.columns(), segment, evaluation.key, &mut top);
    top.iter()
        .filter_map(|entry| roster.node_at(entry.position))
        .collect()
}
