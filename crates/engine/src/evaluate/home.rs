//! The key's home: the node that an undisturbed fleet would name first, and why another one is named, if one is.
//!
//! Undisturbed is a fleet of which nothing has been observed. Operators' words hold (states, weights, prices, biases);
//! every node that they let take traffic is well and has room, each site costs what is assumed of it, each way takes what
//! its length says, nobody tried anything, and every caller can use every node. So the home of a key depends on files and
//! the client alone: sidecars that observe differently name the same. A plan of whose first tier operators let no node
//! take traffic has no home.
//!
//! Most often the first of the key's order is the home and a few flags of the tables say so. Only where they do not is
//! the home looked for.

use super::order::Order;
use super::parent::{self, Scope};
use super::reach::{Reach, scope_of};
use super::scorer::{MAX_SCORED_SITES, ScoredSite, Scorer};
use super::{Reason, Request, Rung, Stage};
use crate::model::NodeIndex;
use crate::rank::Top;
use crate::signal::Admission;

/// The home of a request's key; `first` is the first of its order as things are, tried or not.
#[inline]
pub(super) fn home(
    request: &Request<'_, '_>,
    (stage, scorer): (&Stage<'_>, &Scorer<'_>),
    reach: &Reach,
    first: Option<NodeIndex>,
) -> Option<NodeIndex> {
    let is_first_choice = stage.rung == Rung::Normal && !reach.site_spilled;
    if is_first_choice && request.child.is_none() && is_undisturbed(request, (stage, scorer), reach)
    {
        return first;
    }
    look_for(request)
}

/// Whether the sites that share the key are certainly those of an undisturbed fleet, and so are their nodes.
#[inline]
fn is_undisturbed(
    request: &Request<'_, '_>,
    (stage, scorer): (&Stage<'_>, &Scorer<'_>),
    reach: &Reach,
) -> bool {
    let roster = stage.roster;
    let shift_ms = stage.table.most_shift_ms(request.plan.class_index);
    if roster.is_undisturbed() && shift_ms.is_none() && scorer.measured.is_empty() {
        return true;
    }
    let is_certain = request.client.is_none() && !roster.has_silent_site();
    let (inside, _) = reach.split();
    is_certain
        && scorer.measured.is_empty()
        && inside
            .iter()
            .all(|site| roster.is_undisturbed_at(site.position))
        && shift_ms.is_none_or(|most_ms| is_best_by_far(request, scorer, reach, most_ms))
}

/// Whether the best site would be the best too if every other one cost as much less as any does, by what is assumed.
fn is_best_by_far(
    request: &Request<'_, '_>,
    scorer: &Scorer<'_>,
    reach: &Reach,
    most_ms: f32,
) -> bool {
    let assumed = scorer.table.assumed_ms();
    let (Some(best), true) = (reach.sites.first(), request.plan.spread_ms <= 0.0) else {
        return false;
    };
    let at = usize::from(best.position);
    let known = scorer.standing.sums_ms.get(at).zip(assumed.get(at));
    let own_ms = known.map_or(0.0, |(known, assumed)| known - assumed);
    // A little is left for rounding.
    let slack_ms = 0.01 + best.total_ms.abs() * 0.000_01;
    let second = reach.sites.get(1);
    second.is_none_or(|second| second.total_ms - best.total_ms > most_ms - own_ms + slack_ms)
}

/// The home, from what an undisturbed fleet would decide.
#[cold]
#[inline(never)]
fn look_for(request: &Request<'_, '_>) -> Option<NodeIndex> {
    let tier = request.plan.tiers.get(request.begin)?;
    let table = request.lane.table(tier.set);
    let scorer = Scorer::undisturbed(request, table);
    let (sites, scope) = match request.child {
        Some(child) => parent::sites(request, child, &scorer),
        None => sites(request, &scorer),
    };
    let key = request.keys.for_affinity(tier.affinity, &request.located);
    let mut top = Top::new(1);
    let inside = sites.iter().take(scope);
    let segments = inside.filter_map(|site| scorer.roster.segment(site.position));
    Order::new(request, scorer.roster, segments, key, &mut top).first()
}

/// The best sites, and how many of them share the key.
fn sites(request: &Request<'_, '_>, scorer: &Scorer<'_>) -> (Scope, usize) {
    let mut count = if request.plan.spread_ms > 0.0 {
        MAX_SCORED_SITES
    } else {
        2
    };
    loop {
        let sites = scorer.best(count);
        let scope = scope_of(request, &sites);
        if scope < count || count >= MAX_SCORED_SITES {
            return (sites, scope);
        }
        count = MAX_SCORED_SITES;
    }
}

/// Why the owner as things are is another than the home.
#[cold]
#[inline(never)]
pub(super) fn departure(
    request: &Request<'_, '_>,
    (stage, inside): (&Stage<'_>, &[ScoredSite]),
    home: NodeIndex,
) -> Reason {
    let known = request.snapshot.signals().node(home);
    if known.admission != Admission::Admitted {
        return Reason::OwnerOut;
    }
    let site = request.snapshot.topology().site_of(home);
    let shares = inside.iter().any(|near| near.site == site);
    // Sites race by the weights of their nodes for a client that they share.
    let raced = request.client.is_some() && !stage.roster.is_undisturbed();
    if (shares && known.weight_factor < 1.0) || (!shares && raced) {
        Reason::Outweighed
    } else {
        Reason::Steered
    }
}
