//! One way of routing in a snapshot: a routing and its tables.
//!
//! Most snapshots have one lane. Where a change of policy is tried on a part of the requests, or in the shadow of all of
//! them, there is a second: the same fleet and the same signals, and another routing beside the first. What both have in
//! common is there once: a set that both use has one number, so one row on the ladder and its hot keys in common, and its
//! rosters and distances in memory once.

use std::sync::Arc;

use super::basis::Basis;
use super::table::{RankTable, Reuse};
use super::{Parts, Snapshot};
use crate::model::{ClassIndex, SiteIndex};
use crate::policy::{ClassNumber, Numbered, Numbers, Routing, SetIndex, SetNumber};
use crate::signal::Standing;

/// A routing and its tables.
#[derive(Debug)]
pub struct Lane {
    basis: Basis,
    tables: Vec<RankTable>,
}

/// What a lane is made from beside its routing.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) parts: &'a Parts,
    pub(super) numbers: &'a Arc<Numbers>,
    /// The snapshot before, whose tables are taken over where they would be the same.
    pub(super) before: Option<&'a Snapshot>,
    /// The lane that is made already, whose tables are shared where they would be the same.
    pub(super) beside: Option<&'a Lane>,
}

impl Lane {
    pub(super) fn new(routing: &Arc<Routing>, ground: Ground<'_>) -> Self {
        let Ground { parts, before, .. } = ground;
        let same_world = |before: &&Snapshot| {
            Arc::ptr_eq(&before.parts.topology, &parts.topology)
                && Arc::ptr_eq(&before.numbers, ground.numbers)
        };
        let known = before.filter(same_world).and_then(|before| {
            let mut lanes = before.lanes();
            let lane = lanes.find(|lane| lane.basis.is_of(routing))?;
            Some((before.signals(), lane))
        });
        let numbered = known.map_or_else(
            || Arc::new(ground.numbers.of_known(&parts.topology, routing)),
            |(_, lane)| Arc::clone(lane.numbered()),
        );
        let basis = Basis::new(routing, numbered, parts.policy.routing());
        let same_weights = known.filter(|(_, known)| known.basis.weighs_as(&basis));
        let positions = (0_u16..).take(routing.node_sets().len()).map(SetIndex::new);
        let tables = positions.map(|set| {
            let known = same_weights.and_then(|(signals, lane)| {
                let table = lane.tables.get(set.get())?;
                Some((signals, table))
            });
            let number = basis.numbered().set(set);
            let reuse = Reuse {
                known,
                beside: ground.beside.and_then(|lane| lane.find(number)),
                before,
            };
            RankTable::new(set, &basis, reuse, parts)
        });
        Self {
            tables: tables.collect(),
            basis,
        }
    }

    /// How requests are routed in it.
    #[inline]
    pub fn routing(&self) -> &Routing {
        self.basis.routing()
    }

    /// The table of a set; indices come from this lane's routing only.
    #[expect(
        clippy::indexing_slicing,
        reason = "tables are made one for each set of the same routing"
    )]
    #[inline]
    pub fn table(&self, set: SetIndex) -> &RankTable {
        &self.tables[set.get()]
    }

    /// All tables, by set.
    pub fn tables(&self) -> &[RankTable] {
        &self.tables
    }

    /// What its sets and classes are called in signals.
    pub fn numbered(&self) -> &Arc<Numbered> {
        self.basis.numbered()
    }

    /// What a class is called in signals.
    #[inline]
    pub fn class(&self, class: ClassIndex) -> ClassNumber {
        self.basis.numbered().class(class)
    }

    /// The table of the set with a number, if this lane has it.
    pub fn find(&self, set: SetNumber) -> Option<&RankTable> {
        self.tables.iter().find(|table| table.number() == set)
    }

    /// What is known of a site for a class, as this lane weighs it; `None` while nothing is.
    pub fn known_of(&self, parts: &Parts, class: ClassIndex, site: SiteIndex) -> Option<Standing> {
        self.basis.known_of(parts, class, site)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.tables.iter().map(RankTable::memory_bytes).sum()
    }
}
