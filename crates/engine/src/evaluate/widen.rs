//! More nodes of a tier for a list that has places free: first at the sites that share the key, then site by site.
//!
//! The usual pass looks at a few sites and takes one node at each that does not share the key, which fills most lists of
//! three. Longer lists, small sites and nodes that were tried leave places free, and then this second pass looks on for as
//! long as there is a site in reach. It costs nothing where it is not needed.

use arrayvec::ArrayVec;

use super::order::Order;
use super::scorer::{MAX_SCORED_SITES, ScoredSite, Scorer};
use super::{Pick, Request, Role};
use crate::hash::KeyHash;
use crate::model::SiteIndex;
use crate::query::MAX_CANDIDATES;

/// The list that is being made.
pub(super) type Picks = ArrayVec<Pick, MAX_CANDIDATES>;

/// A tier that nodes are looked for in.
pub(super) struct Source<'s> {
    pub(super) scorer: Scorer<'s>,
    /// What its nodes are ranked by.
    pub(super) key: KeyHash,
    /// Sites that are expected to cost more than this are out of reach, in ms.
    pub(super) max_ms: f32,
}

/// Free places in a list.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// Where the next node goes; those listed behind move on.
    pub(super) at: usize,
    /// How long the list may become.
    pub(super) long: usize,
}

impl Room {
    /// One place at the end of a list.
    pub(super) fn for_one(picks: &Picks) -> Self {
        Self {
            at: picks.len(),
            long: picks.len() + 1,
        }
    }
}

impl Source<'_> {
    /// Lists nodes of these sites in the key's order. Gives the room that is left.
    #[cold]
    #[inline(never)]
    pub(super) fn fill(
        &self,
        request: &Request<'_, '_>,
        (sites, role): (&[ScoredSite], Role),
        mut room: Room,
        picks: &mut Picks,
    ) -> Room {
        let roster = self.scorer.roster;
        let segments = sites
            .iter()
            .filter_map(|site| roster.segment(site.position));
        // Those that are listed or tried may all be before those that are looked for.
        let mut top = request.room_for(request.wanted);
        let order = Order::new(request, roster, segments, self.key, &mut top);
        for node in order.ranked() {
            if picks.len() >= room.long {
                break;
            }
            let home = request.snapshot.topology().site_of(node);
            let own = sites.iter().find(|site| site.site == home);
            let is_new = picks.iter().all(|pick| pick.node != node);
            if let Some(site) = own.filter(|_| is_new) {
                let pick = Pick {
                    node,
                    expected_ms: request.expected_ms(site.total_ms),
                    role,
                };
                picks.insert(room.at, pick);
                room.at += 1;
            }
        }
        room
    }

    /// Lists nodes of all sites in reach that are not `known`, best site first, and at each in the key's order.
    #[cold]
    #[inline(never)]
    pub(super) fn fill_from_others(
        &self,
        request: &Request<'_, '_>,
        (is_known, role): (impl Fn(SiteIndex) -> bool, Role),
        mut room: Room,
        picks: &mut Picks,
    ) {
        let is_new = |site: &&ScoredSite| !is_known(site.site);
        let mut last = None;
        while picks.len() < room.long {
            let sites = self.scorer.best_behind(last, self.max_ms);
            for site in sites.iter().filter(is_new) {
                if picks.len() >= room.long {
                    return;
                }
                let alone = std::slice::from_ref(site);
                room = self.fill(request, (alone, role), room, picks);
            }
            if sites.len() < MAX_SCORED_SITES {
                return;
            }
            last = sites.last().copied();
        }
    }
}
