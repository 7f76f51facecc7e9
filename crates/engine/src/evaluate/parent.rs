//! A node that asks for its parent: a cache that misses an object and wants to know where to get it.
//!
//! It gets the parent that the lists of its clients name, so that an object is fetched from the origin once for all of
//! them and found wherever it is looked for. For that it is asked in the same plan, by the same key, among the same nodes:
//! the rule is matched as for a client, and the answer begins at the tier behind the node's own, or at the pool that it
//! names; the parents of the node's site come before all other sites.

use arrayvec::ArrayVec;

use super::Request;
use super::scorer::{MAX_SCORED_SITES, ScoredSite, Scorer};
use crate::geo::place::{Asn, Country};
use crate::model::{NodeIndex, SiteIndex};
use crate::policy::{Action, Matched, Plan, Routing, WhenFailures};
use crate::query::Query;

/// Sites that share a key.
pub(super) type Scope = ArrayVec<ScoredSite, MAX_SCORED_SITES>;

/// The client's country and operator, as far as they are known.
type Origin = (Option<Country>, Option<Asn>);

/// What matches the request of a node that asks for its parent. The pool that it names counts only where the rule for its
/// clients has no such pool.
#[cold]
pub(super) fn matched<'p>(
    routing: &'p Routing,
    query: &Query<'_>,
    (host, place): (&str, Origin),
    failures: &mut WhenFailures,
) -> Matched<'p> {
    let as_a_client = Query {
        pool: None,
        ..query.clone()
    };
    let for_clients = routing.match_query(&as_a_client, host, place, failures);
    let Some(name) = query.pool else {
        return for_clients;
    };
    match for_clients {
        Matched::Rule(_, rule)
            if rule.action == Action::Route && has(routing, &rule.plan, name) =>
        {
            for_clients
        }
        _ => routing.match_query(query, host, place, failures),
    }
}

fn has(routing: &Routing, plan: &Plan, pool: &str) -> bool {
    position_of(routing, plan, pool).is_some()
}

fn position_of(routing: &Routing, plan: &Plan, pool: &str) -> Option<usize> {
    let mut tiers = plan.tiers.iter();
    tiers.position(|tier| routing.pool_name(tier.pool) == pool)
}

/// The tier of the plan that `child` asks for: the pool that it names, else the one behind the last that it is of.
#[cold]
pub(super) fn begin(
    routing: &Routing,
    (query, plan): (&Query<'_>, &Plan),
    child: NodeIndex,
) -> usize {
    let named = query.pool.map(|pool| position_of(routing, plan, pool));
    let is_of = |set| {
        routing
            .node_set(set)
            .members()
            .binary_search(&child)
            .is_ok()
    };
    let own = || plan.tiers.iter().rposition(|tier| is_of(tier.set));
    named.map_or_else(|| own().map_or(0, |own| own + 1), Option::unwrap_or_default)
}

/// The sites that share a key at the parents of a site, as far as they have a node to name; at most
/// [`MAX_SCORED_SITES`], by id.
pub(super) fn parents(request: &Request<'_, '_>, site: SiteIndex, scorer: &Scorer<'_>) -> Scope {
    let parents = request.snapshot.topology().site(site).parents.iter();
    let rows = scorer.table.sites();
    let position_of = |site: &SiteIndex| {
        let at = rows.binary_search_by_key(site, |row| row.site).ok()?;
        u16::try_from(at).ok()
    };
    parents
        .filter_map(position_of)
        .filter_map(|at| scorer.score(at))
        .map(|(site, _)| site)
        .take(MAX_SCORED_SITES)
        .collect()
}

/// The sites for a node that asks for its parent, and how many of them share the key: the parents of its site, else the
/// best one; behind them the others.
#[cold]
#[inline(never)]
pub(super) fn sites(
    request: &Request<'_, '_>,
    site: SiteIndex,
    scorer: &Scorer<'_>,
) -> (Scope, usize) {
    let mut sites = parents(request, site, scorer);
    sites.sort_unstable_by(|a, b| {
        let by_cost = a.total_ms.total_cmp(&b.total_ms);
        by_cost.then(a.position.cmp(&b.position))
    });
    let scope = sites.len();
    for other in scorer.best(MAX_SCORED_SITES) {
        if sites.iter().all(|known| known.position != other.position) {
            let is_full = sites.try_push(other).is_err();
            debug_assert!(!is_full || sites.is_full(), "only the worst are left out");
        }
    }
    let scope = scope.max(usize::from(!sites.is_empty()));
    (sites, scope)
}
