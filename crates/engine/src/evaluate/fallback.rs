//! Which nodes are named, in which order: the owner, and who stands in when it fails.
//!
//! The list alternates between the key's order at the chosen site (the object may be there already) and other sites (a
//! site can fail as a whole), then goes down the tiers (a tier can fail as a whole). Where two failure domains (sites)
//! exist, a list of two or more has both, and where there is a later tier, a list of three or more has it. Longer lists
//! give later tiers one entry each and the rest to the chosen tier. While nodes in reach are neither tried nor listed,
//! the list is as long as wanted ([`widen`](super::widen)).

use super::order::{Lead, Order};
use super::reach::Reach;
use super::scorer::{ScoredSite, Scorer};
use super::widen::{Picks, Room, Source};
use super::{Evaluation, MatchedBy, Pick, Reason, Request, Role, Rung, Stage, Verdict};
use super::{detour, home, later, lead, trial};
use crate::model::{NodeIndex, SiteIndex};
use crate::policy::{Affinity, WhenFailures};
use crate::rank::Top;

/// Entries of the chosen tier that come before any later tier, for lists of more than three.
const FIRST_TIER_ENTRIES: usize = 3;

/// The same for a list of three, at two sites where there are two: proxies try three nodes at most as they are usually
/// set, and three of one tier fail together when the tier does. `tests/simulation/lists.rs` compares the shapes.
const FIRST_TIER_ENTRIES_OF_THREE: usize = 2;

/// How many places of a list are for the chosen tier before so many later ones.
#[inline]
fn first_tier_share(request: &Request<'_, '_>, later_tiers: usize) -> usize {
    let wanted = request.wanted;
    if later_tiers > 0 && request.snapshot.signals().isolated {
        // Nobody knows whether what is known of the first tier is true: a list of that tier alone is a bet on it.
        return FIRST_TIER_ENTRIES_OF_THREE.min(wanted.div_ceil(2));
    }
    let at_least = match wanted {
        3 => FIRST_TIER_ENTRIES_OF_THREE,
        _ => FIRST_TIER_ENTRIES,
    };
    wanted - later_tiers.min(wanted.saturating_sub(at_least))
}

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
    let shared = scorer.shared();
    let reach = Reach::new(request, &scorer, shared.as_ref());
    let (inside, _) = reach.split();
    let max_ms = match detour::bound(request, &stage, best_ms(inside)) {
        detour::Bound::At(max_ms) => max_ms,
        detour::Bound::Nearer(stage) => return list(request, stage, matched),
    };
    let source = Source {
        scorer,
        key,
        max_ms,
    };
    let later = later::tiers(request, &stage);
    let (mut picks, first, lead) = chosen_tier(request, (&stage, &source, later.len()), &reach);
    let home = home::home(request, (&stage, &source.scorer), &reach, first);
    let owner_was_tried = first.is_some_and(|node| request.tried.contains(&node));
    if let Some(probe) = earlier_probe(request, &stage) {
        put_first(probe, request.wanted, &mut picks);
    }
    if !request.snapshot.signals().trials.is_empty()
        && lead.reason != Reason::Probe
        && request.child.is_none()
        && let Some(tried) = trial::first(request, (&stage, &source), inside)
    {
        put_first(tried, request.wanted, &mut picks);
    }
    let reason = match reason(&stage, picks.first(), (owner_was_tried, lead)) {
        Reason::Owner => owner_by(request, (&stage, &reach), home, picks.first()),
        other => other,
    };
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
        lane: request.lane_index,
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
        stage: Some(stage.told()),
        scope: u8::try_from(reach.scope).unwrap_or(u8::MAX),
        reach_ms: source.max_ms,
        home,
        shared,
        sites: reach.sites,
        picks,
        expected_gb: request.expected_gb,
        is_tried_once: false,
        shed: None,
        when_failures: WhenFailures::default(),
    }
}

/// What the best site costs. A stage has a node to name, so it has a site.
fn best_ms(sites: &[ScoredSite]) -> f32 {
    debug_assert!(!sites.is_empty(), "a stage without a site");
    sites.first().map_or(f32::INFINITY, |site| site.total_ms)
}

/// The chosen tier's share of the list; the first of the key's order, tried or not; and why another node is put before it,
/// if one is.
fn chosen_tier(
    request: &Request<'_, '_>,
    (stage, source, later_tiers): (&Stage<'_>, &Source<'_>, usize),
    reach: &Reach,
) -> (Picks, Option<NodeIndex>, Lead) {
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
        debug_assert!(own.is_some(), "the order is of these sites");
        Pick {
            node,
            expected_ms: own.and_then(|site| request.expected_ms(site.total_ms)),
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
    (picks, order.first(), order.lead)
}

/// Puts a node before all others; it may be listed already.
fn put_first(first: Pick, wanted: usize, picks: &mut Picks) {
    picks.retain(|pick| pick.node != first.node);
    picks.truncate(wanted - 1);
    picks.insert(0, first);
}

/// A recovering node of an earlier tier, if the key is of the slice it is tried with: else nobody would notice that the
/// tier is back.
fn earlier_probe(request: &Request<'_, '_>, stage: &Stage<'_>) -> Option<Pick> {
    let earlier = request.plan.tiers.get(request.begin..stage.tier);
    earlier.unwrap_or_default().iter().find_map(|tier| {
        let table = request.lane.table(tier.set);
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
    let share = first_tier_share(request, later_tiers);
    // With room for one more domain of the tier only, the next site comes before the next in order.
    if share == 2 && second_shares_site {
        picks.extend(
            first_site
                .and_then(&supply.elsewhere)
                .or_else(|| others.next()),
        );
    }
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

/// Why the owner as things are is named first.
#[inline]
fn owner_by(
    request: &Request<'_, '_>,
    (stage, reach): (&Stage<'_>, &Reach),
    home: Option<NodeIndex>,
    first: Option<&Pick>,
) -> Reason {
    match home.filter(|home| first.is_none_or(|first| first.node != *home)) {
        _ if reach.site_spilled => Reason::SiteSpilled,
        Some(home) => home::departure(request, (stage, reach.split().0), home),
        None => Reason::Owner,
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
        (_, Some(Role::Trial)) => Reason::Trial,
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
