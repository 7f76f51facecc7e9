//! Which nodes are named, in which order: the owner, and who stands in when it fails.
//!
//! The list alternates between the key's order at the chosen site (the object may be there already) and other sites (a
//! site can fail as a whole), then goes down the tiers. Up to three entries belong to the chosen tier before later
//! tiers get one each; longer lists give the rest to the chosen tier too. Where two failure domains (sites) exist, a
//! list of two or more has both. While nodes in reach are neither tried nor listed, the list is as long as wanted
//! ([`widen`](super::widen)).

use arrayvec::ArrayVec;

use super::lead::{self, Lead};
use super::order::Order;
use super::sites::{MAX_SCORED_SITES, ScoredSite, Scorer};
use super::widen::{Picks, Room, Source};
use super::{Evaluation, MatchedBy, Pick, Reason, Request, Role, Rung, Stage, Verdict, later};
use crate::engine::hash;
use crate::engine::model::{NodeIndex, SiteIndex};
use crate::engine::policy::Affinity;
use crate::engine::rank::Top;

/// Entries of the chosen tier that come before any later tier.
const FIRST_TIER_ENTRIES: usize = 3;

impl Request<'_, '_> {
    /// What a site is expected to cost the client, by its score: nobody knows where nobody knows the client's place.
    #[inline]
    pub(super) fn expected_ms(&self, total_ms: f32) -> Option<f32> {
        self.located.spot.map(|_| total_ms)
    }

    /// An empty list with room for `wanted` nodes that were not tried: those that were may all be among the best.
    #[inline]
    pub(super) fn room_for(&self, wanted: usize) -> Top {
        Top::new(wanted + self.tried.len())
    }
}

/// Scores, ranks and lists for a request whose stage is known.
pub(super) fn list(request: &Request<'_, '_>, stage: Stage<'_>, matched: MatchedBy) -> Evaluation {
    let key = request
        .keys
        .for_affinity(stage.plan_tier.affinity, &request.located);
    let scorer = Scorer::new(request, stage.table, stage.roster);
    let reach = Reach::new(request, &scorer);
    let (inside, _) = reach.split();
    let detour_ms = request.plan.max_detour_ms.unwrap_or(f32::INFINITY);
    let source = Source {
        scorer,
        key,
        max_ms: best_ms(inside) + detour_ms,
    };
    let later = later::tiers(request, &stage);
    let (mut picks, owner_was_tried, lead) =
        chosen_tier(request, (&stage, &source, later.len()), &reach);
    if let Some(probe) = earlier_probe(request, &stage) {
        // A node may be of both tiers.
        picks.retain(|pick| pick.node != probe.node);
        picks.truncate(request.wanted - 1);
        picks.insert(0, probe);
    }
    let mut reason = reason(&stage, picks.first(), (owner_was_tried, lead));
    if reach.site_spilled && reason == Reason::Owner {
        reason = Reason::SiteSpilled;
    }
    let chosen = picks.len();
    let ends = later::append(request, &later, &mut picks);
    if picks.len() < request.wanted {
        later::lengthen(
            request,
            (&source, inside, chosen),
            (&later, &ends),
            &mut picks,
        );
    }
    let refused = picks.is_empty();
    Evaluation {
        verdict: if refused {
            Verdict::Refuse
        } else {
            Verdict::Route
        },
        reason: if refused { Reason::NoNode } else { reason },
        rung: if refused { Rung::Refuse } else { stage.rung },
        matched,
        located: request.located,
        key,
        tier: u8::try_from(stage.tier).unwrap_or(u8::MAX),
        scope: u8::try_from(reach.scope).unwrap_or(u8::MAX),
        sites: reach.sites,
        picks,
        expected_gb: request.expected_gb,
    }
}

/// How many of the sites, best first, share the key.
fn scope_of(request: &Request<'_, '_>, sites: &[ScoredSite]) -> usize {
    let best_ms = best_ms(sites);
    let spread_ms = request.plan.spread_ms;
    match (request.client, &request.located.spot) {
        (None, _) => {
            let near = |site: &&ScoredSite| site.total_ms <= best_ms + spread_ms;
            sites.iter().take_while(near).count()
        }
        // Its race, not its score, puts the first of sites that share a client before the others: these are near it where
        // they score about the same.
        (Some(_), Some(_)) if spread_ms > 0.0 => {
            let near = |site: &&ScoredSite| (site.total_ms - best_ms).abs() <= spread_ms;
            sites.iter().take_while(near).count()
        }
        _ => sites.len().min(1),
    }
}

/// The best sites of the chosen tier.
struct Reach {
    /// Best first; but one that gives the client away stands behind those that it is given to.
    sites: ArrayVec<ScoredSite, MAX_SCORED_SITES>,
    /// How many of them, from the first on, share the key.
    scope: usize,
    /// Whether the best site gives the client away.
    site_spilled: bool,
}

impl Reach {
    fn new(request: &Request<'_, '_>, scorer: &Scorer<'_>) -> Self {
        let mut count = if request.plan.spread_ms > 0.0 {
            MAX_SCORED_SITES
        } else {
            1 + request.wanted.div_ceil(2) + request.tried.len()
        };
        loop {
            let reach = Self::of(request, scorer.best(count));
            let sharing = reach.scope + usize::from(reach.site_spilled);
            if count >= MAX_SCORED_SITES || sharing < count {
                return reach;
            }
            // Many sites alike. Which of them share a key must not depend on how long a list is asked for.
            count = MAX_SCORED_SITES;
        }
    }

    fn of(request: &Request<'_, '_>, mut sites: ArrayVec<ScoredSite, MAX_SCORED_SITES>) -> Self {
        let site_spilled = is_given_away(request, &sites);
        let usable = sites.get(usize::from(site_spilled)..).unwrap_or_default();
        let scope = scope_of(request, usable);
        if site_spilled && let Some(better) = sites.get_mut(..=scope) {
            // The site that gives the client away is not of the scope; it is the first to stand in.
            better.rotate_left(1);
        }
        Self {
            sites,
            scope,
            site_spilled,
        }
    }

    /// The sites that share the key, and the others.
    fn split(&self) -> (&[ScoredSite], &[ScoredSite]) {
        self.sites.split_at(self.scope)
    }
}

fn best_ms(sites: &[ScoredSite]) -> f32 {
    sites.first().map_or(0.0, |site| site.total_ms)
}

/// Whether the client's group is of the share that the best site gives to the next, for it has too much load.
fn is_given_away(request: &Request<'_, '_>, sites: &[ScoredSite]) -> bool {
    let signals = request.snapshot.signals();
    let cell = (request.located.spot).map_or([0; 4], |spot| spot.cell.id().to_le_bytes());
    let slice = |id: &[u8]| match request.client {
        // Clients of a vague place have no cell in common that says anything of them: a group is a network.
        Some(client) => client.then(id),
        None => hash::key(&[&cell, id]),
    };
    let spills = |site: &ScoredSite| {
        let spill = signals.site(site.site).spill;
        let id = || request.snapshot.topology().site(site.site).id.as_bytes();
        spill > 0 && slice(id()).0 & 0xff < u64::from(spill)
    };
    let [best, next, ..] = sites else {
        return false;
    };
    spills(best) && !spills(next)
}

/// The chosen tier's share of the list; whether the key's owner was left out because it was tried; and why another node
/// is put before it, if one is.
fn chosen_tier(
    request: &Request<'_, '_>,
    (stage, source, later_tiers): (&Stage<'_>, &Source<'_>, usize),
    reach: &Reach,
) -> (Picks, bool, Lead) {
    let (inside, outside) = reach.split();
    let (roster, key) = (stage.roster, source.key);
    let segment = |site: &ScoredSite| roster.segment(site.position);
    let width = lead::width(request, stage, (key, inside.first()));
    // Two at least: the owner of a key that spills is followed by the node that it spills to.
    let mut top = request.room_for(request.wanted.max(width).max(2));
    let mut order = Order::new(
        request,
        roster,
        inside.iter().filter_map(segment),
        key,
        &mut top,
    );
    order.lead = lead::lead(request, stage, (key, width), &order);
    let mut probed = None;
    // Keys that are hot are not tried: a slice of keys must be a slice of requests.
    let is_hot = width > 1 && stage.plan_tier.affinity != Affinity::None;
    if roster.has_probing()
        && !is_hot
        && let Some((lead, site)) =
            lead::probe(request, stage, key, (&source.scorer, inside), &order)
    {
        order.lead = lead;
        probed = Some(site);
    }
    let in_scope = |node: NodeIndex, role: Role| {
        let home = request.snapshot.topology().site_of(node);
        let mut sites = inside.iter().chain(&probed);
        let own = sites.find(|site| site.site == home);
        Pick {
            node,
            expected_ms: request
                .expected_ms(own.map_or_else(|| best_ms(inside), |site| site.total_ms)),
            role,
        }
    };
    let roles = std::iter::once(order.lead.role()).chain(std::iter::repeat(Role::NextInOrder));
    let in_reach = |site: &&ScoredSite| site.total_ms <= source.max_ms;
    let others = outside.iter().filter(in_reach).filter_map(|site| {
        let mut top = request.room_for(1);
        let order = Order::new(request, roster, segment(site).into_iter(), key, &mut top);
        order.nodes().next().map(|node| Pick {
            node,
            expected_ms: request.expected_ms(site.total_ms),
            role: Role::NextSite,
        })
    });
    let supply = Supply {
        in_order: order
            .nodes()
            .zip(roles)
            .map(|(node, role)| in_scope(node, role)),
        others,
        elsewhere: |first: SiteIndex| {
            let rest = inside.iter().filter(|site| site.site != first);
            let mut top = request.room_for(1);
            let order = Order::new(request, roster, rest.filter_map(segment), key, &mut top);
            let node = order.nodes().next()?;
            Some(in_scope(node, Role::NextInOrder))
        },
        beyond: |but: Option<SiteIndex>, picks: &mut Picks| {
            let is_known =
                |site| Some(site) == but || inside.iter().any(|known| known.site == site);
            let others = (is_known, Role::NextSite);
            source.fill_from_others(request, others, Room::for_one(picks), picks);
        },
    };
    let picks = interleave(request, supply, later_tiers);
    (picks, order.owner_was_tried(), order.lead)
}

/// A recovering node of an earlier tier, if the key is of the slice it is tried with: else nobody would notice that the
/// tier is back.
fn earlier_probe(request: &Request<'_, '_>, stage: &Stage<'_>) -> Option<Pick> {
    request.plan.tiers.iter().take(stage.tier).find_map(|tier| {
        let table = request.snapshot.table(tier.set);
        if !table.ready().has_probing() {
            return None;
        }
        let scorer = Scorer::new(request, table, table.ready());
        let key = request.keys.for_affinity(tier.affinity, &request.located);
        let (node, site) = lead::probe_tier(request, (table, &scorer), key)?;
        Some(Pick {
            node,
            expected_ms: request.expected_ms(site.total_ms),
            role: Role::Probe,
        })
    })
}

/// What the chosen tier's share of a list is made from.
struct Supply<I, O, E, B> {
    /// The key's order over the scope.
    in_order: I,
    /// The key's first node at each site outside the scope.
    others: O,
    /// The key's first node in the scope at another site than the one given: `in_order` may end before it comes to one.
    elsewhere: E,
    /// Lists one more node from outside the scope, but not of the site given, whether or not its site was looked at.
    beyond: B,
}

/// Fills the chosen tier's share of the list: owner, next in order, next site, and so on in turn.
fn interleave(
    request: &Request<'_, '_>,
    supply: Supply<
        impl Iterator<Item = Pick>,
        impl Iterator<Item = Pick>,
        impl Fn(SiteIndex) -> Option<Pick>,
        impl Fn(Option<SiteIndex>, &mut Picks),
    >,
    later_tiers: usize,
) -> Picks {
    let topology = request.snapshot.topology();
    let site_of = |pick: &Pick| topology.site_of(pick.node);
    let wanted = request.wanted;
    let (mut in_order, mut others) = (supply.in_order.peekable(), supply.others);
    let mut picks: Picks = in_order.next().into_iter().collect();
    let first_site = picks.first().map(site_of);
    let second_shares_site = in_order
        .peek()
        .is_none_or(|second| Some(site_of(second)) == first_site);
    // A list of two has room for one more domain only: the next site comes before the next in order.
    if wanted == 2 && second_shares_site {
        picks.extend(
            first_site
                .and_then(&supply.elsewhere)
                .or_else(|| others.next()),
        );
    }
    let share = wanted - later_tiers.min(wanted.saturating_sub(FIRST_TIER_ENTRIES));
    while picks.len() < share {
        let before = picks.len();
        picks.extend(in_order.next());
        if picks.len() < share {
            picks.extend(others.next());
        }
        if picks.len() == before {
            break;
        }
    }
    if picks.is_empty() {
        // Every node of the sites above was tried.
        (supply.beyond)(None, &mut picks);
    }
    // One site only: the last place goes to another one of the scope, else to any other, else to a later tier, so that
    // its failure is survived.
    let first_site = picks.first().map(site_of);
    let one_site = picks.iter().all(|pick| Some(site_of(pick)) == first_site);
    if one_site && picks.len() >= 2 {
        let last = picks.pop();
        let others_from = picks.len();
        picks.extend(first_site.and_then(&supply.elsewhere));
        if picks.len() == others_from && !request.tried.is_empty() {
            // Those of all sites that were looked at may have been tried.
            (supply.beyond)(first_site, &mut picks);
        }
        if picks.len() == others_from && (later_tiers == 0 || others_from + 1 < wanted) {
            picks.extend(last);
        }
    }
    picks
}

fn reason(
    stage: &Stage<'_>,
    first: Option<&Pick>,
    (owner_was_tried, lead): (bool, Lead),
) -> Reason {
    let role = first.map(|pick| pick.role);
    match (stage.rung, role) {
        (_, Some(Role::Probe)) => Reason::Probe,
        (Rung::NextTier, _) => Reason::NextTier,
        (Rung::Panic, _) => Reason::Panic,
        (Rung::Origin, _) => Reason::Origin,
        (Rung::Unknown | Rung::Overloaded | Rung::HalfOpen, _) => Reason::Readmitted,
        (_, Some(Role::HotCopy)) => Reason::HotCopy,
        (_, Some(Role::NextInOrder)) if lead.node.is_some() => lead.reason,
        (_, Some(Role::Owner)) if owner_was_tried => Reason::OwnerTried,
        (_, Some(Role::Owner)) => Reason::Owner,
        _ => Reason::SiteTried,
    }
}
