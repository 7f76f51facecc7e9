//! The tiers behind the chosen one, one entry each; and who gets the places that are left free after that.

use arrayvec::ArrayVec;

use super::order::Order;
use super::parent::{self, Scope};
use super::scorer::{ScoredSite, Scorer};
use super::widen::{Picks, Room, Source};
use super::{Pick, Request, Role, Stage};
use crate::policy::PlanTier;
use crate::query::MAX_CANDIDATES;

/// The tiers behind the chosen one that have ready nodes.
pub(super) fn tiers(
    request: &Request<'_, '_>,
    stage: &Stage<'_>,
) -> ArrayVec<PlanTier, MAX_CANDIDATES> {
    let behind = request.plan.tiers.iter().skip(stage.tier + 1);
    behind
        .filter(|tier| !request.lane.table(tier.set).ready().is_empty())
        .copied()
        .take(MAX_CANDIDATES)
        .collect()
}

/// Adds the key's owner in each later tier, and gives how long the list was after each.
pub(super) fn append(
    request: &Request<'_, '_>,
    tiers: &[PlanTier],
    picks: &mut Picks,
) -> ArrayVec<usize, MAX_CANDIDATES> {
    let mut ends = ArrayVec::new();
    for tier in tiers {
        if picks.len() >= request.wanted {
            break;
        }
        let tier = LaterTier::new(request, *tier, picks);
        if let Some(pick) = tier.first(request, picks) {
            picks.push(pick);
        } else {
            tier.fill(request, Room::for_one(picks), picks);
        }
        ends.push(picks.len());
    }
    ends
}

/// Gives places that are left free to more nodes of the chosen tier, then to more of the later ones, each behind what is
/// listed of it already. The other way round while this sidecar seems cut off: then what is known speaks for no tier.
#[cold]
#[inline(never)]
pub(super) fn lengthen(
    request: &Request<'_, '_>,
    (chosen, scope, end): (&Source<'_>, &[ScoredSite], usize),
    (later, ends): (&[PlanTier], &[usize]),
    picks: &mut Picks,
) {
    let long = request.wanted;
    let is_known = |site| scope.iter().any(|known| known.site == site);
    let lengthen_chosen = |picks: &mut Picks| {
        let room = Room { at: end, long };
        let room = chosen.fill(request, (scope, Role::NextInOrder), room, picks);
        chosen.fill_from_others(request, (is_known, Role::NextSite), room, picks);
    };
    if request.snapshot.signals().isolated {
        lengthen_later(request, (later, ends), 0, picks);
        lengthen_chosen(picks);
    } else {
        let before = picks.len();
        lengthen_chosen(picks);
        let added = picks.len() - before;
        lengthen_later(request, (later, ends), added, picks);
    }
}

/// The part of the later tiers; `added` were listed before all that is of them.
fn lengthen_later(
    request: &Request<'_, '_>,
    (later, ends): (&[PlanTier], &[usize]),
    mut added: usize,
    picks: &mut Picks,
) {
    let long = request.wanted;
    for (tier, end) in later.iter().zip(ends) {
        if picks.len() >= long {
            return;
        }
        let before = picks.len();
        let room = Room {
            at: end + added,
            long,
        };
        LaterTier::new(request, *tier, picks).fill(request, room, picks);
        added += picks.len() - before;
    }
}

/// A tier behind the chosen one.
struct LaterTier<'s> {
    source: Source<'s>,
    /// The sites that share the key.
    scope: Scope,
    role: Role,
}

impl<'s> LaterTier<'s> {
    /// The sites that share the key are the parents of the first node's site where it has any there, so that all its
    /// children ask the same parent node; else the one that is best for the client.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the second caller is cold")]
    fn new(request: &'s Request<'_, '_>, tier: PlanTier, picks: &Picks) -> Self {
        let topology = request.snapshot.topology();
        let table = request.lane.table(tier.set);
        let scorer = Scorer::new(request, table, table.ready());
        let first = picks.first().map(|pick| topology.site_of(pick.node));
        let mut scope =
            first.map_or_else(Scope::new, |site| parent::parents(request, site, &scorer));
        if scope.is_empty() {
            scope.extend(scorer.best(1));
        }
        let is_origin = request.lane.routing().node_set(tier.set).is_origin();
        Self {
            source: Source {
                scorer,
                key: request.keys.for_affinity(tier.affinity, &request.located),
                max_ms: f32::INFINITY,
            },
            scope,
            role: if is_origin {
                Role::Origin
            } else {
                Role::NextTier
            },
        }
    }

    /// The first in the key's order at the sites that share it, without those that are listed.
    fn first(&self, request: &Request<'_, '_>, picks: &Picks) -> Option<Pick> {
        let roster = self.source.scorer.roster;
        let segments = self
            .scope
            .iter()
            .filter_map(|site| roster.segment(site.position));
        let mut top = request.room_for(1 + picks.len());
        let order = Order::new(request, roster, segments, self.source.key, &mut top);
        let node = order
            .ranked()
            .find(|node| picks.iter().all(|pick| pick.node != *node))?;
        let home = request.snapshot.topology().site_of(node);
        let site = self.scope.iter().find(|site| site.site == home)?;
        Some(Pick {
            node,
            expected_ms: request.expected_ms(site.total_ms),
            role: self.role,
        })
    }

    /// Lists nodes in the key's order at the sites that share it, then at the others.
    #[cold]
    #[inline(never)]
    fn fill(&self, request: &Request<'_, '_>, room: Room, picks: &mut Picks) {
        let (scope, role) = (self.scope.as_slice(), self.role);
        let room = self.source.fill(request, (scope, role), room, picks);
        if picks.len() < room.long {
            let is_known = |site| scope.iter().any(|known| known.site == site);
            let others = (is_known, role);
            self.source.fill_from_others(request, others, room, picks);
        }
    }
}
