//! Everything a decision reads, in one immutable value.
//!
//! One writer builds the next snapshot and swaps it in; a decision holds one and never sees half of two. What is
//! costly and has not changed (distances) is taken over from the snapshot before.

use std::sync::Arc;

use super::geo::Location;
use super::geo::distance::UnitVector;
use super::geo::place::Country;
use super::geo::ranges::Ranges;
use super::hash::{KeyHash, NodeSeed};
use super::model::ClassIndex;
use super::model::{AdminState, NodeIndex, SiteIndex};
use super::nearest::Nearest;
use super::policy::{NodeSet, Policy, SetIndex};
use super::rank::{self, Columns, LANES, Segment};
use super::signal::{Admission, Readmission, Signals};
use super::topology::{Node, Topology};

/// What a snapshot is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The fleet.
    pub topology: Arc<Topology>,
    /// The policy, compiled against that fleet.
    pub policy: Arc<Policy>,
    /// Where clients are.
    pub geo: Arc<Ranges>,
    /// Whether the geo tables can be relied on.
    pub geo_state: GeoState,
    /// Where clients are taken to be whom nobody can place: near the sidecar that they reached, if it knows where it is.
    pub here: Option<Location>,
    /// How the fleet behaves.
    pub signals: Arc<Signals>,
}

/// Whether the geo tables can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeoState {
    /// All files were read.
    Good,
    /// No file was configured: only callers and the policy locate clients.
    NotConfigured,
    /// A file was missing or refused; what was read before (perhaps nothing) serves on.
    Degraded,
}

/// Everything a decision reads.
#[derive(Debug)]
pub struct Snapshot {
    generation: u64,
    parts: Parts,
    tables: Vec<RankTable>,
}

/// The nodes of one set, ready to be ranked, and its sites, ready to be scored.
#[derive(Debug, Clone)]
pub struct RankTable {
    set: SetIndex,
    rows: Arc<[SiteRow]>,
    nearest: Arc<Nearest>,
    least_price: f32,
    standing: Arc<Standing>,
    readmission: Readmission,
    ready: Arc<Roster>,
    /// All nodes not in maintenance, whatever is known of them; made only when too little of the set is well.
    everyone: Arc<Roster>,
}

/// What scoring a site needs, side by side.
#[derive(Debug, Clone, Copy)]
pub struct SiteRow {
    /// The site.
    pub site: SiteIndex,
    /// Where it stands.
    pub point: UnitVector,
    /// USD per gigabyte.
    pub price_usd_per_gb: f32,
    /// Its country, where the topology says so.
    pub country: Option<Country>,
}

/// For each content class the terms of each site that do not depend on the client, in ms.
#[derive(Debug, Default)]
struct Standing {
    /// By class, then site.
    sums_ms: Vec<f32>,
    /// The smallest sum of each class.
    least_ms: Vec<f32>,
}

/// The nodes that may be named, by site.
#[derive(Debug, Default)]
pub struct Roster {
    columns: Columns,
    /// The node at each position of `columns`; padding repeats the last.
    nodes: Vec<NodeIndex>,
    /// One for each of the set's sites; empty where no node is admitted.
    segments: Vec<Segment>,
    /// The same for nodes that are tried with a slice of their keys; no entry at all while there is none.
    probing: Vec<Segment>,
    /// Nodes that may be named for all of their keys.
    admitted: usize,
    /// The set's sites, to be ranked by the weights of those nodes; only for clients who are shared out among sites.
    sites: Columns,
}

impl Snapshot {
    /// Builds the snapshot of `parts`, taking over from `before` what has not changed.
    pub fn build(generation: u64, parts: Parts, before: Option<&Self>) -> Self {
        let tables = parts
            .policy
            .node_sets()
            .iter()
            .zip(0_u16..)
            .map(|(set, at)| RankTable::new((SetIndex::new(at), set), &parts, before))
            .collect();
        Self {
            generation,
            parts,
            tables,
        }
    }

    /// Counts up by one with every snapshot of a process.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What it is made of.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The fleet.
    pub fn topology(&self) -> &Topology {
        &self.parts.topology
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.parts.policy
    }

    /// Where clients are.
    pub fn geo(&self) -> &Ranges {
        &self.parts.geo
    }

    /// Whether the geo tables can be relied on.
    pub fn geo_state(&self) -> GeoState {
        self.parts.geo_state
    }

    /// Where clients are taken to be whom nobody can place.
    pub fn here(&self) -> Option<Location> {
        self.parts.here
    }

    /// How the fleet behaves.
    pub fn signals(&self) -> &Signals {
        &self.parts.signals
    }

    /// The table of a set; indices come from this snapshot's policy only.
    #[expect(
        clippy::indexing_slicing,
        reason = "tables are made one for each set of the same policy"
    )]
    pub fn table(&self, set: SetIndex) -> &RankTable {
        &self.tables[set.get()]
    }

    /// Heap memory of the tables in bytes, without topology, policy and geo.
    pub fn memory_bytes(&self) -> usize {
        self.tables.iter().map(RankTable::memory_bytes).sum()
    }
}

impl RankTable {
    /// The table of a set; parts that would be the same as before are taken over.
    fn new((index, set): (SetIndex, &NodeSet), parts: &Parts, before: Option<&Snapshot>) -> Self {
        let Parts {
            topology,
            policy,
            geo,
            signals,
            ..
        } = parts;
        let known = before
            .filter(|snapshot| {
                Arc::ptr_eq(&snapshot.parts.policy, policy)
                    && Arc::ptr_eq(&snapshot.parts.topology, topology)
            })
            .and_then(|snapshot| Some((snapshot.signals(), snapshot.tables.get(index.get())?)));
        let rows = known.map_or_else(|| rows(set, topology), |(_, table)| Arc::clone(&table.rows));
        let standing = known
            .filter(|(known, _)| known.terms_version == signals.terms_version)
            .map_or_else(
                || Arc::new(Standing::new(&rows, parts)),
                |(_, table)| Arc::clone(&table.standing),
            );
        let readmission = signals.readmission(index);
        let (ready, everyone) = known
            .filter(|(known, table)| {
                known.weights_version == signals.weights_version && table.readmission == readmission
            })
            .map_or_else(
                || Roster::pair(set, parts, readmission),
                |(_, table)| (Arc::clone(&table.ready), Arc::clone(&table.everyone)),
            );
        let same_places =
            known.filter(|_| before.is_some_and(|snapshot| Arc::ptr_eq(&snapshot.parts.geo, geo)));
        Self {
            set: index,
            nearest: same_places.map_or_else(
                || nearest(set.points(topology), geo, before),
                |(_, table)| Arc::clone(&table.nearest),
            ),
            least_price: rows
                .iter()
                .map(|row| row.price_usd_per_gb)
                .fold(f32::INFINITY, f32::min),
            rows,
            standing,
            readmission,
            ready,
            everyone,
        }
    }

    /// Which set it is the table of.
    pub fn set(&self) -> SetIndex {
        self.set
    }

    /// The sites, in the set's order.
    pub fn sites(&self) -> &[SiteRow] {
        &self.rows
    }

    /// The sites nearest to a cell, as positions in [`RankTable::sites`].
    pub fn nearest_row(&self, cell: usize) -> &[u16] {
        self.nearest.row(cell)
    }

    /// The terms of the site at `position` for a class that do not depend on the client, summed, in ms.
    #[inline]
    pub fn standing_ms(&self, class: ClassIndex, position: u16) -> f32 {
        let at = class.get() * self.rows.len() + usize::from(position);
        self.standing.sums_ms.get(at).copied().unwrap_or(0.0)
    }

    /// The smallest such sum of any site, in ms.
    pub fn least_standing_ms(&self, class: ClassIndex) -> f32 {
        let least = self.standing.least_ms.get(class.get());
        least.copied().unwrap_or(f32::NEG_INFINITY)
    }

    /// The lowest price of any site, USD per gigabyte.
    pub fn least_price(&self) -> f32 {
        self.least_price
    }

    /// The nodes that may be named, as far as they are readmitted.
    pub fn ready(&self) -> &Roster {
        &self.ready
    }

    /// All nodes not in maintenance; empty unless too little of the set is well.
    pub fn everyone(&self) -> &Roster {
        &self.everyone
    }

    /// How far nodes are readmitted, because too little of the set is well.
    pub fn readmission(&self) -> Readmission {
        self.readmission
    }

    /// Whether enough of the set is well to be used before later tiers.
    pub fn is_sufficient(&self) -> bool {
        self.readmission < Readmission::Insufficient && !self.ready.is_empty()
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(&*self.rows)
            + self.nearest.memory_bytes()
            + size_of_val(self.standing.sums_ms.as_slice())
            + self.ready.memory_bytes()
            + self.everyone.memory_bytes()
    }
}

fn rows(set: &NodeSet, topology: &Topology) -> Arc<[SiteRow]> {
    let row = |entry: &super::policy::SetSite| {
        let site = topology.site(entry.site);
        SiteRow {
            site: entry.site,
            point: site.point,
            price_usd_per_gb: site.price_usd_per_gb,
            country: site.country,
        }
    };
    set.sites().iter().map(row).collect()
}

impl Standing {
    fn new(rows: &[SiteRow], parts: &Parts) -> Self {
        let (signals, model) = (&parts.signals, parts.policy.score());
        let sites = parts.topology.sites().len();
        let classes = (0_u8..)
            .map(ClassIndex)
            .take(parts.policy.classes().len() + 1);
        let mut standing = Self::default();
        for class in classes {
            let sum = |row: &SiteRow| {
                let known = signals.standing(class, row.site, sites);
                let terms = known.map_or_else(
                    || model.standing_terms(row.site, &model.prior()),
                    |known| known.terms,
                );
                terms.standing_ms()
            };
            let from = standing.sums_ms.len();
            standing.sums_ms.extend(rows.iter().map(sum));
            let sums = standing.sums_ms.get(from..).unwrap_or_default();
            let least = sums.iter().copied().fold(f32::INFINITY, f32::min);
            standing.least_ms.push(least);
        }
        standing
    }
}

/// The rows for these sites: the ones made before when neither sites nor cells have changed.
fn nearest(points: Vec<UnitVector>, geo: &Arc<Ranges>, before: Option<&Snapshot>) -> Arc<Nearest> {
    let known = before
        .filter(|snapshot| Arc::ptr_eq(&snapshot.parts.geo, geo))
        .and_then(|snapshot| {
            snapshot
                .tables
                .iter()
                .find(|table| table.nearest.is_for(&points))
                .map(|table| Arc::clone(&table.nearest))
        });
    known.unwrap_or_else(|| Arc::new(Nearest::new(points, geo.cell_vectors())))
}

/// What a node counts for in a race.
fn weight(index: NodeIndex, parts: &Parts) -> f32 {
    f32::from(parts.topology.node(index).capacity) * parts.signals.node(index).weight_factor
}

/// A node's place in a roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready,
    Probing,
    Out,
}

impl Roster {
    /// The nodes that may be named as far as they are readmitted; and everyone, where that is not enough.
    fn pair(set: &NodeSet, parts: &Parts, readmission: Readmission) -> (Arc<Self>, Arc<Self>) {
        let signals = &parts.signals;
        let ready = Self::new(set, parts, |index, node| {
            if node.state != AdminState::Ready {
                return Place::Out;
            }
            let admitted_by = match signals.node(index).admission {
                Admission::Admitted => return Place::Ready,
                Admission::Probing { .. } => return Place::Probing,
                Admission::Unknown => Readmission::Unknown,
                Admission::Overloaded => Readmission::Overloaded,
                Admission::BreakerOpen if readmission == Readmission::HalfOpen => {
                    return Place::Probing;
                }
                Admission::BreakerOpen | Admission::Unhealthy => return Place::Out,
            };
            if readmission >= admitted_by {
                Place::Ready
            } else {
                Place::Out
            }
        });
        let everyone = if readmission == Readmission::Insufficient || ready.is_empty() {
            Self::new(set, parts, |_, node| {
                if node.state == AdminState::Maintenance {
                    Place::Out
                } else {
                    Place::Ready
                }
            })
        } else {
            Self::default()
        };
        (Arc::new(ready), Arc::new(everyone))
    }

    fn new(set: &NodeSet, parts: &Parts, place: impl Fn(NodeIndex, &Node) -> Place) -> Self {
        let topology = &parts.topology;
        let mut roster = Self::default();
        let mut weights = Vec::with_capacity(set.sites().len());
        for site in set.sites() {
            let members = set.members_of(site);
            let is_ready = |index, node: &Node| place(index, node) == Place::Ready;
            let segment = roster.push(members, parts, is_ready);
            roster.segments.push(segment);
            roster.admitted += segment.len() as usize;
            let ready = members.iter().copied();
            let ready = ready.filter(|index| is_ready(*index, topology.node(*index)));
            let weight: f32 = ready.map(|index| weight(index, parts)).sum();
            // A site without a node is never chosen; it has a place in the table all the same.
            weights.push((NodeSeed::of_id(&topology.site(site.site).id), weight));
        }
        roster.sites.push_segment(weights);
        let is_probing = |index: &NodeIndex| place(*index, topology.node(*index)) == Place::Probing;
        if set.members().iter().any(is_probing) {
            for site in set.sites() {
                let members = set.members_of(site);
                let segment = roster.push(members, parts, |index, _| is_probing(&index));
                roster.probing.push(segment);
            }
        }
        roster
    }

    /// Appends those of `members` that `is_in` as a segment.
    fn push(
        &mut self,
        members: &[NodeIndex],
        parts: &Parts,
        is_in: impl Fn(NodeIndex, &Node) -> bool,
    ) -> Segment {
        let topology = &parts.topology;
        let admitted = || {
            let nodes = members.iter().copied();
            nodes.filter(|node| is_in(*node, topology.node(*node)))
        };
        let weighted = admitted().map(|index| (topology.node(index).seed, weight(index, parts)));
        let segment = self.columns.push_segment(weighted);
        self.nodes.extend(admitted());
        if let Some(last) = self.nodes.last().copied() {
            self.nodes
                .resize(self.nodes.len().next_multiple_of(LANES), last);
        }
        segment
    }

    /// Whether no node may be named for all of its keys.
    pub fn is_empty(&self) -> bool {
        self.admitted == 0
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(self.nodes.as_slice()) * 4 + size_of_val(self.segments.as_slice())
    }

    /// The columns to rank over.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The node at a position of the columns.
    pub fn node_at(&self, position: u32) -> Option<NodeIndex> {
        self.nodes.get(position as usize).copied()
    }

    /// The race of the set's site at `position` for a client, by the weights of its nodes: the smallest wins, and each wins
    /// in proportion to its weight.
    pub fn site_race(&self, position: u16, client: KeyHash) -> f32 {
        rank::race_of(&self.sites, u32::from(position), client)
    }

    /// The position of a node in a segment, whose nodes stand in table order.
    pub fn position_of(&self, segment: Segment, node: NodeIndex) -> Option<u32> {
        let first = segment.start() as usize;
        let nodes = self.nodes.get(first..first + segment.len() as usize)?;
        let at = nodes.binary_search(&node).ok()?;
        u32::try_from(first + at).ok()
    }

    /// The segment of the set's site at `position`; empty where no node is admitted.
    pub fn segment(&self, position: u16) -> Option<Segment> {
        self.segments
            .get(usize::from(position))
            .copied()
            .filter(|segment| !segment.is_empty())
    }
    /// The nodes of the set's site at `position` that are tried with a slice of their keys, if there are any.
    #[inline]
    pub fn probing(&self, position: u16) -> Option<Segment> {
        if self.probing.is_empty() {
            return None;
        }
        self.probing
            .get(usize::from(position))
            .copied()
            .filter(|segment| !segment.is_empty())
    }

    /// Whether some nodes are tried with a slice of their keys.
    pub fn has_probing(&self) -> bool {
        !self.probing.is_empty()
    }
}
