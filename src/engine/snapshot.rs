//! Everything a decision reads, in one immutable value.
//!
//! One writer builds the next snapshot and swaps it in; a decision holds one and never sees half of two. What is
//! costly and has not changed (distances) is taken over from the snapshot before.

use std::sync::Arc;

use super::geo::distance::UnitVector;
use super::geo::ranges::Ranges;
use super::model::{AdminState, NodeIndex, SiteIndex};
use super::nearest::Nearest;
use super::policy::{NodeSet, Policy, SetIndex};
use super::rank::{Columns, LANES, Segment};
use super::topology::Topology;

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
#[derive(Debug)]
pub struct RankTable {
    sites: Vec<SiteRow>,
    nearest: Arc<Nearest>,
    least_standing_ms: f32,
    least_price: f32,
    ready: Roster,
    /// Ready and draining nodes; made only when no node is ready.
    readmitted: Roster,
}

/// What scoring a site needs, side by side.
#[derive(Debug, Clone, Copy)]
pub struct SiteRow {
    /// The site.
    pub site: SiteIndex,
    /// Where it stands.
    pub point: UnitVector,
    /// The terms that depend on neither client nor object, in ms.
    pub standing_ms: f32,
    /// USD per gigabyte.
    pub price_usd_per_gb: f32,
}

/// The nodes that may be named, by site.
#[derive(Debug, Default)]
pub struct Roster {
    columns: Columns,
    /// The node at each position of `columns`; padding repeats the last.
    nodes: Vec<NodeIndex>,
    /// One for each of the set's sites; empty where no node is admitted.
    segments: Vec<Segment>,
}

impl Snapshot {
    /// Builds the snapshot of `parts`, taking over from `before` what has not changed.
    pub fn build(generation: u64, parts: Parts, before: Option<&Self>) -> Self {
        let tables = parts
            .policy
            .node_sets()
            .iter()
            .map(|set| RankTable::new(set, &parts, before))
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
    fn new(set: &NodeSet, parts: &Parts, before: Option<&Snapshot>) -> Self {
        let Parts {
            topology,
            policy,
            geo,
            ..
        } = parts;
        let sites: Vec<SiteRow> = set
            .sites()
            .iter()
            .map(|entry| {
                let site = topology.site(entry.site);
                SiteRow {
                    site: entry.site,
                    point: site.point,
                    standing_ms: policy.score().standing_terms(entry.site).standing_ms(),
                    price_usd_per_gb: site.price_usd_per_gb,
                }
            })
            .collect();
        let ready = Roster::new(set, topology, AdminState::Ready);
        let readmitted = if ready.is_empty() {
            Roster::new(set, topology, AdminState::Drain)
        } else {
            Roster::default()
        };
        Self {
            nearest: nearest(set.points(topology), geo, before),
            least_standing_ms: sites
                .iter()
                .map(|row| row.standing_ms)
                .fold(f32::INFINITY, f32::min),
            least_price: sites
                .iter()
                .map(|row| row.price_usd_per_gb)
                .fold(f32::INFINITY, f32::min),
            sites,
            ready,
            readmitted,
        }
    }

    /// The sites, in the set's order.
    pub fn sites(&self) -> &[SiteRow] {
        &self.sites
    }

    /// The sites nearest to a cell, as positions in [`RankTable::sites`].
    pub fn nearest_row(&self, cell: usize) -> &[u16] {
        self.nearest.row(cell)
    }

    /// The smallest sum of standing terms of any site, in ms.
    pub fn least_standing_ms(&self) -> f32 {
        self.least_standing_ms
    }

    /// The lowest price of any site, USD per gigabyte.
    pub fn least_price(&self) -> f32 {
        self.least_price
    }

    /// The nodes that may be named in ordinary times.
    pub fn ready(&self) -> &Roster {
        &self.ready
    }

    /// The nodes that may be named when none is ready.
    pub fn readmitted(&self) -> &Roster {
        &self.readmitted
    }

    fn memory_bytes(&self) -> usize {
        let roster = |roster: &Roster| {
            size_of_val(roster.nodes.as_slice()) * 4 + size_of_val(roster.segments.as_slice())
        };
        size_of_val(self.sites.as_slice())
            + self.nearest.memory_bytes()
            + roster(&self.ready)
            + roster(&self.readmitted)
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

impl Roster {
    fn new(set: &NodeSet, topology: &Topology, worst: AdminState) -> Self {
        let mut roster = Self::default();
        for site in set.sites() {
            let admitted = || {
                set.members_of(site)
                    .iter()
                    .copied()
                    .filter(|node| topology.node(*node).state <= worst)
            };
            let weighted = admitted().map(|index| {
                let node = topology.node(index);
                (node.seed, f32::from(node.capacity))
            });
            roster.segments.push(roster.columns.push_segment(weighted));
            roster.nodes.extend(admitted());
            if let Some(last) = roster.nodes.last().copied() {
                roster
                    .nodes
                    .resize(roster.nodes.len().next_multiple_of(LANES), last);
            }
        }
        roster
    }

    /// Whether no node may be named.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The columns to rank over.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The node at a position of the columns.
    pub fn node_at(&self, position: u32) -> Option<NodeIndex> {
        self.nodes.get(position as usize).copied()
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
}
