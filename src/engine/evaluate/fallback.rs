//! Which nodes are named, in which order: the owner, and who stands in when it fails.
//!
//! The list alternates between the key's order at the chosen site (the object may be there already) and other sites (a
//! site can fail as a whole), then goes down the tiers. Up to three entries belong to the chosen tier before later
//! tiers get one each; longer lists give the rest to the chosen tier too. Where two failure domains (sites) exist, a
//! list of two or more has both. While a node in reach was not tried, something is named.

use arrayvec::ArrayVec;

use super::lead::{self, Lead};
use super::sites::{MAX_SCORED_SITES, ScoredSite, Scorer, way_to};
use super::{Evaluation, MatchedBy, Pick, Reason, Request, Role, Rung, Stage, Tried, Verdict};
use crate::engine::hash::{self, KeyHash};
use crate::engine::model::{NodeIndex, SiteIndex};
use crate::engine::policy::{Affinity, PlanTier};
use crate::engine::query::MAX_CANDIDATES;
use crate::engine::rank::{self, Segment, Top};
use crate::engine::snapshot::{RankTable, Roster};

/// Entries of the chosen tier that come before any later tier.
const FIRST_TIER_ENTRIES: usize = 3;

/// The key's order over some sites of a roster, without the nodes that were tried. The list stays where its caller made
/// it: it is too wide to be moved about.
pub(super) struct Order<'r> {
    roster: &'r Roster,
    tried: &'r Tried,
    top: &'r Top,
    lead: Lead,
}

impl<'r> Order<'r> {
    fn new(
        top: &'r mut Top,
        (roster, tried): (&'r Roster, &'r Tried),
        segments: impl Iterator<Item = Segment>,
        key: KeyHash,
    ) -> Self {
        for segment in segments {
            rank::rank(roster.columns(), segment, key, top);
        }
        Self {
            roster,
            tried,
            top,
            lead: Lead::OWNER,
        }
    }

    fn nodes(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        let lead = self.lead.node;
        let rest = self.ranked().filter(move |node| Some(*node) != lead);
        lead.into_iter().chain(rest)
    }

    /// The nodes by their race alone.
    pub(super) fn ranked(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        let ranked = self
            .top
            .iter()
            .filter_map(|entry| self.roster.node_at(entry.position));
        ranked.filter(|node| !self.tried.contains(node))
    }

    /// The race of the first that was not tried; infinite without one.
    pub(super) fn owner_race(&self) -> f32 {
        let untried = |position| {
            let node = self.roster.node_at(position);
            node.is_some_and(|node| !self.tried.contains(&node))
        };
        let owner = self.top.iter().find(|entry| untried(entry.position));
        owner.map_or(f32::INFINITY, |entry| entry.race)
    }

    /// Whether the first of the order was left out because it was tried.
    fn owner_was_tried(&self) -> bool {
        let owner = self
            .top
            .first()
            .and_then(|entry| self.roster.node_at(entry.position));
        owner.is_some_and(|node| self.tried.contains(&node))
    }
}

impl Request<'_, '_> {
    /// What a site is expected to cost the client, by its score: nobody knows where nobody knows the client's place.
    #[inline]
    pub(super) fn expected_ms(&self, total_ms: f32) -> Option<f32> {
        self.located.spot.map(|_| total_ms)
    }

    /// An empty list with room for `wanted` nodes that were not tried: those that were may all be among the best.
    #[inline]
    fn room_for(&self, wanted: usize) -> Top {
        Top::new(wanted + self.tried.len())
    }
}

/// Scores, ranks and lists for a request whose stage is known.
pub(super) fn list(request: &Request<'_, '_>, stage: Stage<'_>, matched: MatchedBy) -> Evaluation {
    let plan = request.plan;
    let key = request
        .keys
        .for_affinity(stage.plan_tier.affinity, &request.located);
    let scorer = scorer(request, stage.table, stage.roster);
    let spread_is_on = plan.spread_ms > 0.0;
    let sites_wanted = if spread_is_on {
        MAX_SCORED_SITES
    } else {
        1 + request.wanted.div_ceil(2) + request.tried.len()
    };
    let mut sites = scorer.best(sites_wanted);
    let site_spilled = is_given_away(request, &sites);
    let usable = sites.get(usize::from(site_spilled)..).unwrap_or_default();
    let scope = scope_of(request, usable);
    if site_spilled && let Some(better) = sites.get_mut(..=scope) {
        // The site that gives the client away is not of the scope; it is the first to stand in.
        better.rotate_left(1);
    }
    let later = later_tiers(request, &stage);
    let (mut picks, owner_was_tried, lead) = chosen_tier(
        request,
        (&stage, &scorer, later.len()),
        key,
        sites.split_at(scope),
    );
    if let Some(probe) = earlier_probe(request, &stage) {
        // A node may be of both tiers.
        picks.retain(|pick| pick.node != probe.node);
        picks.truncate(request.wanted - 1);
        picks.insert(0, probe);
    }
    let mut reason = reason(&stage, picks.first(), (owner_was_tried, lead));
    if site_spilled && reason == Reason::Owner {
        reason = Reason::SiteSpilled;
    }
    append_later_tiers(request, &later, &mut picks);
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
        scope: u8::try_from(scope).unwrap_or(u8::MAX),
        sites,
        picks,
        expected_gb: request.expected_gb,
    }
}

/// How many of the sites, best first, share the key.
fn scope_of(request: &Request<'_, '_>, sites: &[ScoredSite]) -> usize {
    let best_ms = sites.first().map_or(0.0, |site| site.total_ms);
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

/// The chosen tier's share of the list, from the sites inside and outside the scope; whether the key's owner was left
/// out because it was tried; and why another node is put before it, if one is.
fn chosen_tier(
    request: &Request<'_, '_>,
    (stage, scorer, later_tiers): (&Stage<'_>, &Scorer<'_>, usize),
    key: KeyHash,
    (inside, outside): (&[ScoredSite], &[ScoredSite]),
) -> (ArrayVec<Pick, MAX_CANDIDATES>, bool, Lead) {
    let ranked = (stage.roster, &request.tried);
    let segment = |site: &ScoredSite| stage.roster.segment(site.position);
    let best_ms = inside.first().map_or(0.0, |site| site.total_ms);
    let in_reach = |site: &ScoredSite| {
        let detour = request.plan.max_detour_ms;
        detour.is_none_or(|detour| site.total_ms <= best_ms + detour)
    };
    let width = lead::width(request, stage, (key, inside.first()));
    // Two at least: the owner of a key that spills is followed by the node that it spills to.
    let mut top = request.room_for(request.wanted.max(width).max(2));
    let mut order = Order::new(&mut top, ranked, inside.iter().filter_map(segment), key);
    order.lead = lead::lead(request, stage, (key, width), &order);
    let mut probed = None;
    // Keys that are hot are not tried: a slice of keys must be a slice of requests.
    let is_hot = width > 1 && stage.plan_tier.affinity != Affinity::None;
    if stage.roster.has_probing()
        && !is_hot
        && let Some((lead, site)) = lead::probe(request, stage, key, (scorer, inside), &order)
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
            expected_ms: request.expected_ms(own.map_or(best_ms, |site| site.total_ms)),
            role,
        }
    };
    let roles = std::iter::once(order.lead.role()).chain(std::iter::repeat(Role::NextInOrder));
    let others = outside
        .iter()
        .filter(|site| in_reach(site))
        .filter_map(|site| {
            let mut top = request.room_for(1);
            let order = Order::new(&mut top, ranked, segment(site).into_iter(), key);
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
            let order = Order::new(&mut top, ranked, rest.filter_map(segment), key);
            let node = order.nodes().next()?;
            Some(in_scope(node, Role::NextInOrder))
        },
    };
    let mut picks = interleave(request, supply, later_tiers);
    if picks.is_empty() {
        // Every node of the sites above was tried: whoever is first at any other site in reach.
        let found = anywhere(request, (stage.table, stage.roster), (key, &[]), in_reach);
        picks.extend(found.map(|(node, total_ms)| Pick {
            node,
            expected_ms: request.expected_ms(total_ms),
            role: Role::NextSite,
        }));
    }
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
        let scorer = scorer(request, table, table.ready());
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
struct Supply<I, O, E> {
    /// The key's order over the scope.
    in_order: I,
    /// The key's first node at each site outside the scope.
    others: O,
    /// The key's first node in the scope at another site than the one given: `in_order` may end before it comes to one.
    elsewhere: E,
}

fn scorer<'s>(
    request: &'s Request<'_, '_>,
    table: &'s RankTable,
    roster: &'s Roster,
) -> Scorer<'s> {
    let (point, way) = way_to(&request.located);
    Scorer {
        model: request.snapshot.policy().score(),
        table,
        roster,
        located: &request.located,
        point,
        way,
        client: request.client,
        expected_gb: request.expected_gb,
        class: request.plan.class_index,
        measured: request
            .located
            .measured_cell()
            .map_or(&[], |cell| request.snapshot.signals().network.of_cell(cell)),
    }
}

/// The first in the key's order of a whole table, without the nodes in `listed`, and what its site is expected to cost.
/// Only for callers that have tried every node of the best sites.
fn anywhere(
    request: &Request<'_, '_>,
    (table, roster): (&RankTable, &Roster),
    (key, listed): (KeyHash, &[Pick]),
    in_reach: impl Fn(&ScoredSite) -> bool,
) -> Option<(NodeIndex, f32)> {
    let scorer = scorer(request, table, roster);
    let sites = || {
        let positions = (0_u16..).take(table.sites().len());
        let all = positions.filter_map(|position| scorer.score(position).map(|(site, _)| site));
        all.filter(&in_reach)
    };
    let segments = sites().filter_map(|site| roster.segment(site.position));
    let mut top = request.room_for(1 + listed.len());
    let order = Order::new(&mut top, (roster, &request.tried), segments, key);
    let node = order
        .nodes()
        .find(|node| listed.iter().all(|pick| pick.node != *node))?;
    let home = request.snapshot.topology().site_of(node);
    let site = sites().find(|site| site.site == home)?;
    Some((node, site.total_ms))
}

/// Fills the chosen tier's share of the list: owner, next in order, next site, and so on in turn.
fn interleave(
    request: &Request<'_, '_>,
    supply: Supply<
        impl Iterator<Item = Pick>,
        impl Iterator<Item = Pick>,
        impl Fn(SiteIndex) -> Option<Pick>,
    >,
    later_tiers: usize,
) -> ArrayVec<Pick, MAX_CANDIDATES> {
    let topology = request.snapshot.topology();
    let site_of = |pick: &Pick| topology.site_of(pick.node);
    let wanted = request.wanted;
    let (mut in_order, mut others) = (supply.in_order.peekable(), supply.others);
    let mut picks: ArrayVec<Pick, MAX_CANDIDATES> = in_order.next().into_iter().collect();
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
    let reserved = later_tiers.min(wanted.saturating_sub(FIRST_TIER_ENTRIES));
    while picks.len() < wanted - reserved {
        let before = picks.len();
        picks.extend(in_order.next());
        if picks.len() < wanted - reserved {
            picks.extend(others.next());
        }
        if picks.len() == before {
            break;
        }
    }
    // One site only: the last place goes to another one of the scope, else to a later tier, so that its failure is
    // survived.
    let one_site = picks.iter().all(|pick| Some(site_of(pick)) == first_site);
    if one_site && picks.len() >= 2 {
        let other = first_site.and_then(&supply.elsewhere);
        if other.is_some() || (later_tiers > 0 && picks.len() == wanted) {
            picks.pop();
        }
        picks.extend(other);
    }
    picks
}

/// The tiers behind the chosen one that have ready nodes.
fn later_tiers(request: &Request<'_, '_>, stage: &Stage<'_>) -> ArrayVec<PlanTier, MAX_CANDIDATES> {
    let behind = request.plan.tiers.iter().skip(stage.tier + 1);
    behind
        .filter(|tier| !request.snapshot.table(tier.set).ready().is_empty())
        .copied()
        .take(MAX_CANDIDATES)
        .collect()
}

/// Adds the key's owner in each later tier: at the parents of the first node's site where it has any there, so that all
/// its children ask the same parent node; else at the site that is best for the client.
fn append_later_tiers(
    request: &Request<'_, '_>,
    tiers: &[PlanTier],
    picks: &mut ArrayVec<Pick, MAX_CANDIDATES>,
) {
    let topology = request.snapshot.topology();
    let first_site: Option<SiteIndex> = picks.first().map(|pick| topology.site_of(pick.node));
    for tier in tiers {
        if picks.len() >= request.wanted {
            return;
        }
        let table = request.snapshot.table(tier.set);
        let roster = table.ready();
        let scorer = scorer(request, table, roster);
        let parents = first_site.map_or(&[] as &[SiteIndex], |site| {
            topology.site(site).parents.as_slice()
        });
        let position_of = |site: &SiteIndex| {
            let at = table
                .sites()
                .binary_search_by_key(site, |row| row.site)
                .ok()?;
            u16::try_from(at).ok()
        };
        let mut scope: ArrayVec<ScoredSite, 16> = parents
            .iter()
            .filter_map(position_of)
            .filter_map(|at| scorer.score(at))
            .map(|(s, _)| s)
            .take(16)
            .collect();
        if scope.is_empty() {
            scope.extend(scorer.best(1));
        }
        let key = request.keys.for_affinity(tier.affinity, &request.located);
        let segments = scope
            .iter()
            .filter_map(|site| roster.segment(site.position));
        let mut top = request.room_for(1 + picks.len());
        let order = Order::new(&mut top, (roster, &request.tried), segments, key);
        let first = order
            .nodes()
            .find(|node| picks.iter().all(|pick| pick.node != *node));
        let found = first.map(|node| {
            let site = topology.site_of(node);
            let home = scope.iter().find(|known| known.site == site);
            (node, home.map(|known| known.total_ms))
        });
        let elsewhere = || {
            let found = anywhere(request, (table, roster), (key, picks.as_slice()), |_| true);
            found.map(|(node, total_ms)| (node, Some(total_ms)))
        };
        let Some((node, total_ms)) = found.or_else(elsewhere) else {
            continue;
        };
        let is_origin = request.snapshot.policy().node_set(tier.set).is_origin();
        let role = if is_origin {
            Role::Origin
        } else {
            Role::NextTier
        };
        picks.push(Pick {
            node,
            expected_ms: total_ms.and_then(|ms| request.expected_ms(ms)),
            role,
        });
    }
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
