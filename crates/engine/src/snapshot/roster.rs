//! The nodes of a set that may be named, by site.

use std::sync::Arc;

use super::Parts;
use crate::hash::{KeyHash, NodeSeed};
use crate::model::{AdminState, NodeIndex};
use crate::policy::NodeSet;
use crate::rank::{self, Columns, LANES, Segment};
use crate::signal::{Admission, Readmission};
use crate::topology::Node;

/// Which nodes of a set may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RosterKind {
    /// Those that are admitted, as far as they are readmitted.
    Ready,
    /// All that are not in maintenance.
    Everyone,
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
    /// By site, whether a node that operators let take traffic may not be named for all of its keys, or counts for less
    /// than its capacity; no entry at all while there is none.
    disturbed: Vec<bool>,
    /// Whether a site with such nodes has none that may be named for all of its keys.
    has_silent_site: bool,
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
    pub(super) fn pair(
        set: &NodeSet,
        parts: &Parts,
        readmission: Readmission,
    ) -> (Arc<Self>, Arc<Self>) {
        let signals = &parts.signals;
        let mut ready = Self::new(set, parts, |index, node| {
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
        ready.compare(set, parts);
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

    /// All nodes that operators let take traffic, at their full weight.
    pub(super) fn undisturbed(set: &NodeSet, parts: &Parts) -> Self {
        let parts = Parts {
            signals: Arc::default(),
            ..parts.clone()
        };
        Self::new(set, &parts, |_, node| {
            if node.state == AdminState::Ready {
                Place::Ready
            } else {
                Place::Out
            }
        })
    }

    /// Notes where this differs from an undisturbed fleet.
    fn compare(&mut self, set: &NodeSet, parts: &Parts) {
        let (topology, signals) = (&parts.topology, &parts.signals);
        let mut disturbed = Vec::with_capacity(set.sites().len());
        for (site, segment) in set.sites().iter().zip(&self.segments) {
            let members = set.members_of(site).iter();
            let ready = members.filter(|node| topology.node(**node).state == AdminState::Ready);
            let counts_in_full = |node: &NodeIndex| signals.node(*node).weight_factor >= 1.0;
            let (all, in_full) = ready.fold((0_usize, true), |(all, in_full), node| {
                (all + 1, in_full && counts_in_full(node))
            });
            let named = segment.len() as usize;
            disturbed.push(named < all || !in_full);
            self.has_silent_site |= named == 0 && all > 0;
        }
        if disturbed.contains(&true) {
            self.disturbed = disturbed;
        }
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

    /// Whether every node that operators let take traffic may be named for all of its keys, at its full weight.
    #[inline]
    pub fn is_undisturbed(&self) -> bool {
        self.disturbed.is_empty()
    }

    /// The same of the nodes of the set's site at `position`.
    pub fn is_undisturbed_at(&self, position: u16) -> bool {
        let disturbed = self.disturbed.get(usize::from(position));
        !disturbed.copied().unwrap_or_default()
    }

    /// Whether a site whose nodes operators let take traffic has none that may be named for all of its keys.
    #[inline]
    pub fn has_silent_site(&self) -> bool {
        self.has_silent_site
    }

    /// Whether no node may be named for all of its keys.
    pub fn is_empty(&self) -> bool {
        self.admitted == 0
    }

    pub(super) fn memory_bytes(&self) -> usize {
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
