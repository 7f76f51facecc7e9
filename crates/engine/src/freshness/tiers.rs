//! Which node may do which purge: parents first, and whoever does not come along is fenced off.
//!
//! A cache that drops what was purged before its parent has asks the parent again and gets the old back. So a node may do the
//! purge `s` only once every node that it may ask has done all purges up to `s`: their *floors*. A node that is stuck for five
//! seconds is *fenced*, if it may be: nobody is sent to it any more for what was purged since its floor
//! (`purge_behind`), and so nobody waits for it either, as long as its own parents are done. It comes back once it has done all
//! that it may. A node that may not be fenced is waited for.

use crate::time::Moment;

/// Without progress for so long, a node is fenced, in ms.
pub const FENCE_MS: u64 = 5_000;

/// A node that is told to drop what was purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its site, as a position in the list of sites.
    pub site: usize,
    /// It has done all purges up to this one.
    pub floor: u64,
    /// Whether nobody is sent to it for what it has not done.
    pub may_be_fenced: bool,
    is_fenced: bool,
    /// Since when it could do something and did not.
    stuck_since: Option<Moment>,
}

impl Member {
    /// A node that has done all purges up to `floor`.
    pub fn new(site: usize, floor: u64, may_be_fenced: bool) -> Self {
        Self {
            site,
            floor,
            may_be_fenced,
            is_fenced: false,
            stuck_since: None,
        }
    }

    /// Whether nobody waits for it.
    pub fn is_fenced(&self) -> bool {
        self.is_fenced
    }

    /// Since when it could do something and did not.
    pub fn stuck_since(&self) -> Option<Moment> {
        self.stuck_since
    }
}

/// All nodes that are told, by site, and the sites that each site asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tiers {
    members: Vec<Member>,
    /// The parents of each site; all have members, and no site is its own ancestor.
    parents: Vec<Vec<usize>>,
    /// Up to which purge the nodes of each site may go.
    allowed: Vec<u64>,
}

impl Tiers {
    /// These nodes, at sites with these parents.
    pub fn new(members: Vec<Member>, parents: Vec<Vec<usize>>) -> Self {
        let mut tiers = Self {
            members,
            allowed: vec![0; parents.len()],
            parents,
        };
        tiers.look();
        tiers
    }

    /// The nodes.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Up to which purge a node may go, of those up to `head`.
    pub fn allowed(&self, node: usize, head: u64) -> u64 {
        let site = self.members.get(node).map_or(usize::MAX, |it| it.site);
        self.allowed
            .get(site)
            .map_or(0, |allowed| head.min(*allowed))
    }

    /// A node of a parent that this one waits for before it may do more, if it does.
    pub fn waits_for(&self, node: usize, head: u64) -> Option<usize> {
        let member = self.members.get(node)?;
        if self.allowed(node, head) >= head {
            return None;
        }
        self.first_behind(member.site, head)
    }

    /// The node behind `head` among the ancestors of a site that the others wait for.
    fn first_behind(&self, site: usize, head: u64) -> Option<usize> {
        let parents = self.parents.get(site)?;
        let above = parents.iter().find_map(|parent| {
            let is_held = self
                .allowed
                .get(*parent)
                .is_some_and(|allowed| *allowed < head);
            is_held.then(|| self.first_behind(*parent, head)).flatten()
        });
        above.or_else(|| {
            self.members
                .iter()
                .position(|it| parents.contains(&it.site) && !it.is_fenced && it.floor < head)
        })
    }

    /// A node has done all purges up to this one.
    pub fn done(&mut self, node: usize, sequence: u64) {
        if let Some(member) = self.members.get_mut(node)
            && member.floor < sequence
        {
            member.floor = sequence;
            member.stuck_since = None;
            self.look();
        }
    }

    /// Lets time pass; the purges there are go up to `head`.
    pub fn tick(&mut self, now: Moment, head: u64) {
        for at in 0..self.members.len() {
            let target = self.allowed(at, head);
            let Some(member) = self.members.get_mut(at) else {
                return;
            };
            if member.floor >= target {
                // Whoever did more while it was away was allowed to, so this is not below what they did.
                (member.is_fenced, member.stuck_since) = (false, None);
                continue;
            }
            let since = *member.stuck_since.get_or_insert(now);
            if member.may_be_fenced && now.since(since) >= FENCE_MS {
                member.is_fenced = true;
            }
        }
        self.look();
    }

    /// Looks how far the nodes of each site may go: no further than their parents have come, or may where those are fenced.
    fn look(&mut self) {
        let mut floors = vec![u64::MAX; self.parents.len()];
        for member in self.members.iter().filter(|it| !it.is_fenced) {
            if let Some(floor) = floors.get_mut(member.site) {
                *floor = member.floor.min(*floor);
            }
        }
        let mut known: Vec<Option<u64>> = vec![None; self.parents.len()];
        for site in 0..self.parents.len() {
            self.look_at(site, &floors, &mut known);
        }
        self.allowed = known.into_iter().map(|it| it.unwrap_or(0)).collect();
    }

    fn look_at(&self, site: usize, floors: &[u64], known: &mut Vec<Option<u64>>) -> u64 {
        if let Some(Some(allowed)) = known.get(site) {
            return *allowed;
        }
        let mut allowed = u64::MAX;
        for parent in self.parents.get(site).into_iter().flatten() {
            let floor = floors.get(*parent).copied().unwrap_or(0);
            allowed = allowed.min(floor).min(self.look_at(*parent, floors, known));
        }
        if let Some(known) = known.get_mut(site) {
            *known = Some(allowed);
        }
        allowed
    }
}
