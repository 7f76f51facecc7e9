//! The key's order: the nodes of some sites by their races, equal races by node id, without those that were tried.

use arrayvec::ArrayVec;

use super::{Reason, Request, Role, Tried};
use crate::hash::KeyHash;
use crate::model::NodeIndex;
use crate::rank::{self, Entry, Segment, Top};
use crate::snapshot::Roster;
use crate::topology::Topology;

/// The node put before the order, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) node: Option<NodeIndex>,
    pub(super) reason: Reason,
}

impl Lead {
    /// The order as it is.
    pub(super) const OWNER: Self = Self {
        node: None,
        reason: Reason::Owner,
    };

    pub(super) fn new(node: NodeIndex, reason: Reason) -> Self {
        Self {
            node: Some(node),
            reason,
        }
    }

    /// The role of the first in the list.
    pub(super) fn role(self) -> Role {
        match self.reason {
            Reason::HotCopy => Role::HotCopy,
            Reason::Probe => Role::Probe,
            _ if self.node.is_some() => Role::NextInOrder,
            _ => Role::Owner,
        }
    }
}

/// The key's order over some sites of a roster, without the nodes that were tried. The list stays where its caller made
/// it: it is too wide to be moved about.
pub(super) struct Order<'r> {
    topology: &'r Topology,
    roster: &'r Roster,
    tried: &'r Tried,
    top: &'r Top,
    pub(super) lead: Lead,
}

impl<'r> Order<'r> {
    pub(super) fn new(
        request: &'r Request<'_, '_>,
        roster: &'r Roster,
        mut segments: impl Iterator<Item = Segment> + Clone,
        key: KeyHash,
        top: &'r mut Top,
    ) -> Self {
        let topology = request.snapshot.topology();
        let mut ranked = 0_usize;
        for segment in segments.clone() {
            rank::rank(roster.columns(), segment, key, top);
            ranked += 1;
        }
        // Nodes of one site stand by their ids.
        if ranked > 1 && top.is_tied() {
            settle_ties((topology, roster), &mut segments, key, top);
        }
        Self {
            topology,
            roster,
            tried: &request.tried,
            top,
            lead: Lead::OWNER,
        }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        let lead = self.lead.node;
        let rest = self.ranked().filter(move |node| Some(*node) != lead);
        lead.into_iter().chain(rest)
    }

    /// The nodes by their race alone.
    pub(super) fn ranked(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        self.runners().map(|(node, _)| node)
    }

    fn runners(&self) -> impl Iterator<Item = (NodeIndex, f32)> + '_ {
        let ranked = self.top.iter().filter_map(|entry| {
            let node = self.roster.node_at(entry.position)?;
            Some((node, entry.race))
        });
        ranked.filter(|(node, _)| !self.tried.contains(node))
    }

    /// Whether a node with this race goes before the first that was not tried.
    pub(super) fn is_beaten_by(&self, (node, race): (NodeIndex, f32)) -> bool {
        self.runners().next().is_none_or(|(owner, best)| {
            let by_race = race.total_cmp(&best);
            let id = |node| &self.topology.node(node).id;
            by_race.then_with(|| id(node).cmp(id(owner))).is_lt()
        })
    }

    /// The first by its race, whether or not it was tried.
    pub(super) fn first(&self) -> Option<NodeIndex> {
        let first = self.top.first()?;
        self.roster.node_at(first.position)
    }
}

/// Ranks again, one node after the other, with equal races by node id. A [`Top`] puts equal races by position, and that
/// goes by site first; nodes of two sites tie for a key in some hundred thousand, so this may be slow.
#[cold]
#[inline(never)]
fn settle_ties(
    (topology, roster): (&Topology, &Roster),
    segments: &mut dyn Iterator<Item = Segment>,
    key: KeyHash,
    top: &mut Top,
) {
    let id = |entry: &Entry| {
        let node = roster.node_at(entry.position);
        node.map_or("", |node| &*topology.node(node).id)
    };
    let mut best = ArrayVec::<Entry, { Top::CAPACITY }>::new();
    for position in segments.flat_map(Segment::positions) {
        let race = rank::race_of(roster.columns(), position, key);
        let own = Entry { race, position };
        let goes_before = |other: &Entry| {
            let by_race = other.race.total_cmp(&race);
            by_race.then_with(|| id(other).cmp(id(&own))).is_lt()
        };
        let at = best.partition_point(goes_before);
        if at < top.capacity() {
            best.truncate(top.capacity() - 1);
            best.insert(at, own);
        }
    }
    top.hold(&best);
}
