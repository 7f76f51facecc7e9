//! Measured ways between groups of clients and sites, as far as decisions see them.
//!
//! A round trip is the geographic estimate, plus what every site pays (the last mile, the way of measuring), plus what is
//! special about this way. Only the last of these may choose among sites, so a path here is the geographic estimate and
//! that; the last mile stands apart, for people.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::Evidence;
use crate::geo::group::Group;
use crate::model::SiteIndex;

/// Most pairs of a group and a site that are kept; the least recently used go first. In the writer's notes some 200 bytes
/// each, here 28.
pub const MAX_PAIRS: usize = 16_384;

/// Most paths that decisions read: a path that is special for a whole cell counts once for each network of it.
pub const MAX_MOVED: usize = 65_536;

/// A measured path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The site.
    pub site: SiteIndex,
    /// What decisions count: the network term in ms without the policy's weight and without the last mile. It stands still
    /// while the estimate trembles.
    pub network_ms: f32,
    /// The same as far as is known now.
    pub estimate_ms: f32,
    /// What it rests on.
    pub evidence: Evidence,
}

/// What every site pays alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastMile {
    /// In ms; below 0 where geographic estimates are too high.
    pub ms: f32,
    /// Round trips it was made from, as far as they still count.
    pub samples: u32,
}

/// What is known of a group's ways.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupPaths {
    /// What every site pays; `None` where nothing was measured from this group itself.
    pub last_mile: Option<LastMile>,
    /// Paths that decisions take for something else than the geographic estimate, by site.
    pub moved: Vec<Measured>,
    /// The others that something is known of, by site.
    pub others: Vec<Measured>,
}

impl GroupPaths {
    fn borrow(&mut self, lent: &[Measured]) {
        let is_known = |site: SiteIndex| {
            let mut own = self.moved.iter().chain(&self.others);
            own.any(|path| path.site == site)
        };
        let more = lent.iter().filter(|path| !is_known(path.site)).copied();
        let more: Vec<Measured> = more.collect();
        self.moved.extend(more);
        self.moved.sort_by_key(|path| path.site);
    }
}

/// The measured paths by group.
#[derive(Debug, Clone, Default)]
pub struct NetworkTable(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    groups: HashMap<Group, Range, FixedState>,
    /// The same in order.
    order: Vec<Group>,
    rows: Vec<Measured>,
}

/// Where a group's paths stand: first those that are moved.
#[derive(Debug, Clone, Copy)]
struct Range {
    at: u32,
    moved: u32,
    all: u32,
    last_mile: Option<LastMile>,
}

impl NetworkTable {
    /// A table of groups, in order.
    pub fn new(groups: impl IntoIterator<Item = (Group, GroupPaths)>) -> Self {
        let mut inner = Inner::default();
        let mut left = MAX_MOVED;
        for (group, paths) in groups {
            let moved = paths.moved.get(..left.min(paths.moved.len()));
            let moved = moved.unwrap_or_default();
            left -= moved.len();
            let from = inner.rows.len();
            inner.rows.extend(moved);
            inner.rows.extend(&paths.others);
            let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let range = Range {
                at: narrow(from),
                moved: narrow(moved.len()),
                all: narrow(inner.rows.len() - from),
                last_mile: paths.last_mile,
            };
            inner.order.push(group);
            inner.groups.insert(group, range);
        }
        Self(Arc::new(inner))
    }

    /// The same, where what is known of a whole cell holds for its networks too as far as they know nothing better.
    pub fn lending(groups: impl IntoIterator<Item = (Group, GroupPaths)>) -> Self {
        let mut whole: Option<(Group, Vec<Measured>)> = None;
        Self::new(groups.into_iter().map(|(group, mut paths)| {
            if group == group.whole_cell() {
                whole = Some((group, paths.moved.clone()));
            } else if let Some((_, lent)) = whole
                .as_ref()
                .filter(|(cell, _)| *cell == group.whole_cell())
            {
                paths.borrow(lent);
            }
            (group, paths)
        }))
    }

    /// Whether nothing was measured.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.rows.is_empty()
    }

    /// The groups, in order.
    pub fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        self.0.order.iter().copied()
    }

    /// The paths of a group, by site, that decisions take for something else than the geographic estimate.
    #[inline]
    pub fn of_group(&self, group: Option<Group>) -> &[Measured] {
        let found = group.and_then(|group| self.find(group));
        found.map_or(&[], |range| {
            let all = self.rows(range);
            all.get(..range.moved as usize).unwrap_or_default()
        })
    }

    /// What is known of the path from a group to a site, whether or not decisions see anything special in it.
    pub fn path(&self, group: Group, site: SiteIndex) -> Option<&Measured> {
        let own = self.0.groups.get(&group);
        let cell = self.0.groups.get(&group.whole_cell());
        let mut rows = [own, cell]
            .into_iter()
            .flatten()
            .flat_map(|range| self.rows(*range));
        rows.find(|path| path.site == site)
    }

    /// What is known of the paths of this very group.
    pub fn all_of(&self, group: Group) -> &[Measured] {
        let range = self.0.groups.get(&group);
        range.map_or(&[], |range| self.rows(*range))
    }

    /// What every site pays alike for a group.
    pub fn last_mile(&self, group: Group) -> Option<LastMile> {
        self.find(group)?.last_mile
    }

    fn find(&self, group: Group) -> Option<Range> {
        let groups = &self.0.groups;
        if groups.is_empty() {
            return None;
        }
        let own = groups.get(&group);
        own.or_else(|| groups.get(&group.whole_cell())).copied()
    }

    fn rows(&self, range: Range) -> &[Measured] {
        let from = range.at as usize;
        let rows = self.0.rows.get(from..from + range.all as usize);
        rows.unwrap_or_default()
    }
}
