//! What positions and numbers stand for, apart from the edition of fleet and policy that gave them out.
//!
//! Nodes and sites are positions in tables, and every new topology numbers them anew. Sets of nodes and content classes
//! have [`Numbers`] that outlive editions, as long as anybody asks for them. What is known of all these must not be lost or
//! mixed up by an edit: a comment in the policy file, a rule that moves or a new one for another host change nothing of
//! what was learned. So all are mapped by what they mean, once for each adoption, and all notes go by the one [`Mapping`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{NodeIndex, SiteIndex};
use crate::policy::{ClassNumber, Numbers, SetNumber};
use crate::signal::observation::Dispatch;
use crate::topology::Topology;

/// What the positions and numbers of one edition of fleet and policy stand for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Positions {
    nodes: Vec<Box<str>>,
    sites: Vec<Box<str>>,
    numbers: Arc<Numbers>,
}

impl Positions {
    /// What the positions of this fleet and these numbers stand for.
    pub(super) fn new(topology: &Topology, numbers: Arc<Numbers>) -> Self {
        Self {
            nodes: ids(topology.nodes().iter().map(|node| &node.id)),
            sites: ids(topology.sites().iter().map(|site| &site.id)),
            numbers,
        }
    }

    /// Whether nothing was ever adopted.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What sets and classes are called in it.
    pub(super) fn numbers(&self) -> &Arc<Numbers> {
        &self.numbers
    }

    /// Where the positions and numbers of this edition are in the next.
    pub(super) fn mapping_to(&self, next: &Self) -> Mapping {
        let numbers = self.numbers.moves_to(&next.numbers);
        Mapping {
            nodes: Moves::new(by_name(&self.nodes, &next.nodes), next.nodes.len()),
            sites: Moves::new(by_name(&self.sites, &next.sites), next.sites.len()),
            classes: Moves::new(numbers.classes, next.numbers.classes()),
            sets: Moves::new(numbers.sets, next.numbers.sets()),
        }
    }
}

/// Where positions of one edition are in the next. What is gone has no place there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    nodes: Moves,
    sites: Moves,
    sets: Moves,
    classes: Moves,
}

impl Mapping {
    /// Every position of this fleet, and every number, stays where it is.
    pub fn identity(topology: &Topology, numbers: &Numbers) -> Self {
        Self {
            nodes: Moves::identity(topology.nodes().len()),
            sites: Moves::identity(topology.sites().len()),
            sets: Moves::identity(numbers.sets()),
            classes: Moves::identity(numbers.classes()),
        }
    }

    /// What this and then another mapping come to.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        Self {
            nodes: self.nodes.then(&next.nodes),
            sites: self.sites.then(&next.sites),
            sets: self.sets.then(&next.sets),
            classes: self.classes.then(&next.classes),
        }
    }

    /// Whether every position stands for what it stood for, and nothing is new.
    pub fn is_identity(&self) -> bool {
        let Self {
            nodes,
            sites,
            sets,
            classes,
        } = self;
        [nodes, sites, sets, classes]
            .iter()
            .all(|moves| moves.is_identity())
    }

    /// Whether nodes and sites are where they were, and there are no others.
    pub(super) fn is_same_fleet(&self) -> bool {
        self.nodes.is_identity() && self.sites.is_identity()
    }

    /// Where a node is now.
    pub fn node(&self, node: NodeIndex) -> Option<NodeIndex> {
        let to = self.nodes.to(node.get())?;
        u32::try_from(to).ok().map(NodeIndex)
    }

    /// Where a site is now.
    pub fn site(&self, site: SiteIndex) -> Option<SiteIndex> {
        let to = self.sites.to(site.get())?;
        u16::try_from(to).ok().map(SiteIndex)
    }

    /// Where a set is now.
    pub fn set(&self, set: SetNumber) -> Option<SetNumber> {
        let to = self.sets.to(set.get())?;
        u16::try_from(to).ok().map(SetNumber)
    }

    /// Where a class is now: requests of one that is gone belong to none from now on.
    pub fn class(&self, class: ClassNumber) -> ClassNumber {
        let to = self.classes.to(class.get()).unwrap_or(0);
        ClassNumber(u8::try_from(to).unwrap_or(0))
    }

    /// Where a node was; `None` for one that is new.
    pub(super) fn node_before(&self, node: NodeIndex) -> Option<NodeIndex> {
        let from = self.nodes.from(node.get())?;
        u32::try_from(from).ok().map(NodeIndex)
    }

    /// Where a site was.
    pub(super) fn site_before(&self, site: SiteIndex) -> Option<SiteIndex> {
        let from = self.sites.from(site.get())?;
        u16::try_from(from).ok().map(SiteIndex)
    }

    /// Where a set was: the first of those that became it.
    pub(super) fn set_before(&self, set: SetNumber) -> Option<SetNumber> {
        let from = self.sets.from(set.get())?;
        u16::try_from(from).ok().map(SetNumber)
    }

    /// A decision as the next edition numbers it; `None` when its node is gone. Where the set that it was ranked among is,
    /// its outcome still says something of the node.
    pub fn dispatch(&self, dispatch: &Dispatch) -> Option<Dispatch> {
        Some(Dispatch {
            set: self.set(dispatch.set).unwrap_or(SetNumber::NONE),
            site: self.site(dispatch.site)?,
            node: self.node(dispatch.node)?,
            class: self.class(dispatch.class),
            named: dispatch.named.renamed(|node| self.node(node)),
            ..*dispatch
        })
    }

    /// What was kept by node, as it is kept by the next edition's; those that are new get something `fresh`.
    pub(super) fn by_node<T>(&self, kept: Vec<T>, fresh: impl FnMut(usize) -> T) -> Vec<T> {
        self.nodes.carry(kept, fresh)
    }

    /// The same by site.
    pub(super) fn by_site<T>(&self, kept: Vec<T>, fresh: impl FnMut(usize) -> T) -> Vec<T> {
        self.sites.carry(kept, fresh)
    }

    /// The same by set.
    pub(super) fn by_set<T: Default>(&self, kept: Vec<T>) -> Vec<T> {
        self.sets.carry(kept, |_| T::default())
    }

    /// The same by class.
    pub(super) fn by_class<T>(&self, kept: Vec<T>, fresh: impl FnMut(usize) -> T) -> Vec<T> {
        self.classes.carry(kept, fresh)
    }

    /// The same for a table by class, then site. Classes and sites that are new get something `fresh`, by both.
    pub(super) fn by_class_and_site<T>(
        &self,
        kept: Vec<T>,
        mut fresh: impl FnMut(usize, usize) -> T,
    ) -> Vec<T> {
        let row = self.sites.to.len();
        let mut kept = kept.into_iter();
        let rows = (0..self.classes.to.len()).map(|_| kept.by_ref().take(row).collect::<Vec<T>>());
        let rows: Vec<Vec<T>> = rows.collect();
        let rows = self.classes.carry(rows, |_| Vec::new());
        let rows = rows.into_iter().enumerate();
        rows.flat_map(|(class, row)| {
            let sites = self.sites.carry(row, |site| fresh(class, site));
            sites.into_iter()
        })
        .collect()
    }
}

/// Where each position of a table is in the next, and how long that is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Moves {
    to: Vec<Option<usize>>,
    /// The other way round.
    from: Vec<Option<usize>>,
    is_identity: bool,
}

impl Moves {
    fn new(to: Vec<Option<usize>>, len: usize) -> Self {
        let is_identity = to.len() == len && to.iter().enumerate().all(|(at, to)| *to == Some(at));
        let mut from = vec![None; len];
        for (at, to) in to.iter().enumerate().rev() {
            if let Some(place) = to.and_then(|to| from.get_mut(to)) {
                *place = Some(at);
            }
        }
        Self {
            to,
            from,
            is_identity,
        }
    }

    fn identity(len: usize) -> Self {
        Self::new((0..len).map(Some).collect(), len)
    }

    fn is_identity(&self) -> bool {
        self.is_identity
    }

    fn then(&self, next: &Self) -> Self {
        let to = self.to.iter().map(|to| next.to((*to)?));
        Self::new(to.collect(), next.from.len())
    }

    fn to(&self, position: usize) -> Option<usize> {
        self.to.get(position).copied().flatten()
    }

    fn from(&self, position: usize) -> Option<usize> {
        self.from.get(position).copied().flatten()
    }

    /// Each kept value at its new position. Of several that come to one position the first is kept.
    fn carry<T>(&self, kept: Vec<T>, mut fresh: impl FnMut(usize) -> T) -> Vec<T> {
        if self.is_identity && kept.len() == self.from.len() {
            return kept;
        }
        let mut kept: Vec<Option<T>> = kept.into_iter().map(Some).collect();
        let from = self.from.iter().enumerate();
        from.map(|(at, from)| {
            let known = from.and_then(|from| kept.get_mut(from)?.take());
            known.unwrap_or_else(|| fresh(at))
        })
        .collect()
    }
}

fn ids<'t>(ids: impl Iterator<Item = &'t Box<str>>) -> Vec<Box<str>> {
    ids.cloned().collect()
}

fn by_name(before: &[Box<str>], after: &[Box<str>]) -> Vec<Option<usize>> {
    let positions: BTreeMap<&str, usize> = after.iter().map(AsRef::as_ref).zip(0..).collect();
    let names = before.iter();
    names.map(|name| positions.get(&**name).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(to: &[Option<usize>], len: usize) -> Moves {
        Moves::new(to.to_vec(), len)
    }

    #[test]
    fn what_is_kept_stands_at_its_new_place_and_what_is_gone_is_dropped() {
        let moved = moves(&[Some(2), None, Some(0)], 4);
        let after = moved.carry(vec!["a", "b", "c"], |_| "new");
        assert_eq!(after, ["c", "new", "a", "new"]);
        let merged = moves(&[Some(0), Some(0)], 1);
        assert_eq!(merged.carry(vec![1, 2], |_| 0), [1], "the first is kept");
        let same = moves(&[Some(0), Some(1)], 2);
        assert_eq!(
            same.carry(vec![7], |_| 0),
            [7, 0],
            "what is too short is filled"
        );
    }

    #[test]
    fn two_changes_are_one_after_the_other() {
        let first = moves(&[Some(1), Some(0), None], 2);
        let second = moves(&[Some(2), None], 3);
        assert_eq!(first.then(&second), moves(&[None, Some(2), None], 3));
        assert!(first.then(&moves(&[Some(1), Some(0)], 2)).to(0) == Some(0));
    }

    #[test]
    fn a_table_by_class_and_site_is_carried_in_both() {
        let mapping = Mapping {
            classes: moves(&[Some(0), Some(2)], 3),
            sites: moves(&[Some(1), None], 2),
            ..Mapping::default()
        };
        let after = mapping.by_class_and_site(vec![1, 2, 3, 4], |class, site| {
            i32::try_from(100 + 10 * class + site).unwrap()
        });
        assert_eq!(after, [100, 1, 110, 111, 120, 3]);
        let none = mapping.by_class_and_site(Vec::new(), |_, _| 0);
        assert_eq!(none, [0; 6]);
    }
}
