//! Answers are total, deterministic and within the rules, and explanations are of the same evaluation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;
use tradewind_engine::decision::{CacheHint, Decision, Purity};
use tradewind_engine::document::DurationMs;
use tradewind_engine::evaluate::{
    Evaluation, Reason, Role, Rung, ScoredFor, Verdict, evaluate, score_sites,
};
use tradewind_engine::explanation::{Explanation, NodeLine, SiteStanding};
use tradewind_engine::geo::Location;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::locate;
use tradewind_engine::model::{AdminState, NodeIndex, SiteIndex};
use tradewind_engine::policy::document::{PoolDocument, ScoreDocument};
use tradewind_engine::query::Query;
use tradewind_engine::snapshot::Snapshot;
use tradewind_engine::topology::document::SiteDocument;

use super::config;
use super::costs::{check_sites, haversine_km};
use super::worlds::{
    World, ask, belongs, build, client, fleet, geo, image, meets, place, policy_of, rule_of,
    site_of, sites_of, state_of, untried, with_query, world,
};

fn check_answer(
    world: &World,
    snapshot: &Snapshot,
    query: &Query<'_>,
) -> Result<(), TestCaseError> {
    let evaluation = evaluate(snapshot, query);
    let (fleet, rule) = (&world.fleet, &world.policy.spec.rules[0]);
    let wanted = usize::from(query.candidates.or(rule.candidates).unwrap_or(3));
    let topology = snapshot.topology();
    let picked: BTreeSet<NodeIndex> = evaluation.picks.iter().map(|pick| pick.node).collect();
    prop_assert_eq!(picked.len(), evaluation.picks.len(), "a node twice");
    prop_assert!(picked.len() <= wanted);
    prop_assert_eq!(evaluation.verdict == Verdict::Route, !picked.is_empty());
    prop_assert_eq!(evaluation.reason == Reason::NoNode, picked.is_empty());
    if picked.is_empty() {
        let hint = Decision::new(snapshot, &evaluation).cache_hint();
        prop_assert_eq!(hint, CacheHint::Bypass, "nothing is stored of a refusal");
    }
    for pick in &evaluation.picks {
        let id = &*topology.node(pick.node).id;
        let node = fleet
            .spec
            .nodes
            .iter()
            .find(|node| node.id == id)
            .expect("nodes have ids");
        let worst = match evaluation.rung {
            Rung::Panic | Rung::Origin => AdminState::Drain,
            _ => AdminState::Ready,
        };
        prop_assert!(
            state_of(fleet, node) <= worst,
            "{id} is {:?}",
            state_of(fleet, node)
        );
        prop_assert!(
            meets(fleet, node, rule),
            "{id} lacks a label or stands outside the fence"
        );
        prop_assert!(rule.pools.iter().any(|pool| belongs(fleet, node, pool)));
        prop_assert!(!query.tried.contains(&id), "{id} was tried");
        prop_assert!(pick.expected_ms.is_none_or(f32::is_finite));
    }
    check_length(world, snapshot, (query, wanted))?;
    check_nothing_is_left_out(world, snapshot, (query, wanted))
}

/// A list is as long as wanted while nodes in reach are left, and goes down the tiers.
fn check_length(
    world: &World,
    snapshot: &Snapshot,
    (query, wanted): (&Query<'_>, usize),
) -> Result<(), TestCaseError> {
    let evaluation = evaluate(snapshot, query);
    if evaluation.sites.is_empty() {
        // No tier may be used.
        return Ok(());
    }
    let (fleet, rule) = (&world.fleet, &world.policy.spec.rules[0]);
    let topology = snapshot.topology();
    let explanation = Explanation::new(snapshot, query, &evaluation);
    let in_reach: BTreeSet<&str> = explanation
        .sites
        .iter()
        .filter(|line| {
            matches!(
                line.standing,
                SiteStanding::InScope | SiteStanding::Fallback
            )
        })
        .map(|line| &*topology.site(line.site).id)
        .collect();
    let chosen = evaluation.stage.map_or(0, |stage| usize::from(stage.tier));
    let is_ready = untried(world, &rule.pools[chosen], AdminState::Ready, &[])
        .next()
        .is_some();
    let worst = match evaluation.rung {
        Rung::Panic => AdminState::Drain,
        Rung::Origin | Rung::Refuse if !is_ready => AdminState::Drain,
        _ => AdminState::Ready,
    };
    let mut usable: BTreeSet<&str> = untried(world, &rule.pools[chosen], worst, query.tried)
        .filter(|node| in_reach.contains(node.site.as_str()))
        .map(|node| node.id.as_str())
        .collect();
    for pool in &rule.pools[chosen + 1..] {
        let later = untried(world, pool, AdminState::Ready, query.tried);
        usable.extend(later.map(|node| node.id.as_str()));
    }
    prop_assert_eq!(
        evaluation.picks.len(),
        wanted.min(usable.len()),
        "{:?}",
        usable
    );
    let mut tier = chosen;
    for pick in &evaluation.picks {
        let is_later = matches!(pick.role, Role::NextTier | Role::Origin);
        prop_assert!(is_later || tier == chosen, "back in the first tier");
        let id = &*topology.node(pick.node).id;
        let node = fleet.spec.nodes.iter().find(|node| node.id == id);
        let node = node.expect("nodes have ids");
        let from = if is_later {
            tier.max(chosen + 1)
        } else {
            chosen
        };
        let found = (from..rule.pools.len()).find(|at| belongs(fleet, node, &rule.pools[*at]));
        prop_assert!(is_later || found == Some(chosen));
        tier = found.expect("it is of a tier that is not before the one above it");
    }
    Ok(())
}

/// Who owns a key, and which sites share it, is the same however long a list is asked for.
fn check_owner_at_every_length(
    snapshot: &Snapshot,
    query: &Query<'_>,
) -> Result<(), TestCaseError> {
    let at = |candidates| {
        let mut query = query.clone();
        query.candidates = Some(candidates);
        evaluate(snapshot, &query)
    };
    let shortest = at(1);
    for candidates in 2..=8 {
        let longer = at(candidates);
        prop_assert_eq!(
            longer.picks.first().map(|pick| pick.node),
            shortest.picks.first().map(|pick| pick.node)
        );
        prop_assert!(
            longer.scope_sites().eq(shortest.scope_sites()),
            "for {candidates}"
        );
    }
    Ok(())
}

/// Without a bound on the detour nothing that is ready goes unnamed, and lists survive the loss of a site.
fn check_nothing_is_left_out(
    world: &World,
    snapshot: &Snapshot,
    (query, wanted): (&Query<'_>, usize),
) -> Result<(), TestCaseError> {
    let evaluation = evaluate(snapshot, query);
    let (fleet, rule) = (&world.fleet, &world.policy.spec.rules[0]);
    if world.policy.spec.score.max_detour.is_some() {
        return Ok(());
    }
    let is_origin = |pool: &str| {
        untried(world, pool, AdminState::Maintenance, &[])
            .all(|node| site_of(fleet, node).tier.as_deref() == Some("origin"))
    };
    let open = |at: usize, pool: &str| at == 0 || !is_origin(pool);
    let mut tiers = rule
        .pools
        .iter()
        .enumerate()
        .filter(|(at, pool)| open(*at, pool));
    if tiers.clone().any(|(_, pool)| {
        untried(world, pool, AdminState::Ready, query.tried)
            .next()
            .is_some()
    }) {
        prop_assert_eq!(evaluation.verdict, Verdict::Route, "ready nodes were left");
    }
    if wanted >= 2 && query.tried.is_empty() {
        let first = tiers.find(|(_, pool)| {
            untried(world, pool, AdminState::Ready, &[])
                .next()
                .is_some()
        });
        let possible: BTreeSet<&str> = first
            .iter()
            .flat_map(|(_, pool)| untried(world, pool, AdminState::Ready, &[]))
            .map(|node| node.site.as_str())
            .collect();
        if possible.len() >= 2 {
            let named: BTreeSet<SiteIndex> = sites_of(snapshot, &evaluation).into_iter().collect();
            prop_assert!(named.len() >= 2, "one site named of {possible:?}");
        }
    }
    Ok(())
}

/// A caller that can use some nodes only is named these only, at what their sites cost, and is told when the first of them is
/// not the one that everybody else would be given.
fn check_restricted(
    world: &World,
    snapshot: &Snapshot,
    (query, only): (&Query<'_>, &[&str]),
) -> Result<(), TestCaseError> {
    let everybodys = evaluate(snapshot, query);
    let restricted = Query {
        only,
        ..query.clone()
    };
    let evaluation = evaluate(snapshot, &restricted);
    prop_assert_eq!(image(&evaluation), image(&evaluate(snapshot, &restricted)));
    let rule = &world.policy.spec.rules[0];
    let wanted = usize::from(query.candidates.or(rule.candidates).unwrap_or(3));
    let (topology, plan) = (snapshot.topology(), &snapshot.routing().rules()[0].plan);
    let located = locate::locate(snapshot, query);
    let scored_for = ScoredFor {
        plan,
        located: &located,
        expected_gb: evaluation.expected_gb,
        lane: evaluation.lane,
    };
    let costs: BTreeMap<SiteIndex, u32> = plan
        .tiers
        .iter()
        .flat_map(|tier| score_sites(snapshot, tier.set, scored_for))
        .map(|site| (site.site, site.total_ms.to_bits()))
        .collect();
    let mut seen = BTreeSet::new();
    for pick in &evaluation.picks {
        let node = topology.node(pick.node);
        prop_assert!(only.contains(&&*node.id) && !query.tried.contains(&&*node.id));
        prop_assert!(seen.insert(pick.node), "{} twice", node.id);
        let told = pick.expected_ms.map(f32::to_bits);
        prop_assert_eq!(told, costs.get(&node.site).copied(), "{}", node.id);
    }
    let pools = rule.pools.iter();
    let ready: BTreeSet<&str> = pools
        .flat_map(|pool| untried(world, pool, AdminState::Ready, query.tried))
        .map(|node| node.id.as_str())
        .filter(|id| only.contains(id))
        .collect();
    if everybodys.verdict == Verdict::Route {
        prop_assert!(
            evaluation.picks.len() >= wanted.min(ready.len()),
            "of {ready:?}"
        );
    }
    let first = |evaluation: &Evaluation| evaluation.picks.first().map(|pick| pick.node);
    let purity = Decision::new(snapshot, &evaluation).purity();
    if first(&evaluation) == first(&everybodys) {
        prop_assert_eq!(purity, Decision::new(snapshot, &everybodys).purity());
    } else {
        prop_assert!(
            matches!(purity, Purity::Restricted | Purity::Degraded),
            "{purity:?}"
        );
        let reason = evaluation.reason;
        prop_assert!(
            matches!(reason, Reason::Restricted | Reason::NoNode),
            "{reason:?}"
        );
    }
    Ok(())
}

fn check_explanation(snapshot: &Snapshot, query: &Query<'_>) -> Result<(), TestCaseError> {
    let evaluation = evaluate(snapshot, query);
    let explanation = Explanation::new(snapshot, query, &evaluation);
    let in_scope: BTreeSet<SiteIndex> = explanation
        .sites
        .iter()
        .filter(|line| line.standing == SiteStanding::InScope)
        .map(|line| line.site)
        .collect();
    prop_assert_eq!(
        &in_scope,
        &evaluation.scope_sites().collect::<BTreeSet<_>>()
    );
    for line in &explanation.nodes {
        let place = evaluation
            .picks
            .iter()
            .position(|pick| pick.node == line.node)
            .map(|at| at + 1);
        prop_assert_eq!(line.place, place);
        prop_assert!(
            place.is_none() || line.eliminated.is_none(),
            "a node is both named and eliminated"
        );
        let site = snapshot.topology().node(line.node).site;
        prop_assert!(line.race.is_none() || in_scope.contains(&site));
    }
    if let Some(first) = evaluation
        .picks
        .first()
        .filter(|pick| pick.role == Role::Owner)
    {
        let ran = explanation.nodes.iter().filter(|line| line.race.is_some());
        let could = ran.filter(|line| line.eliminated.is_none());
        let id = |line: &NodeLine| &snapshot.topology().node(line.node).id;
        let faster = |a: &&NodeLine, b: &&NodeLine| {
            let races = a.race.partial_cmp(&b.race).expect("races are numbers");
            races.then_with(|| id(a).cmp(id(b)))
        };
        let fastest = could.clone().min_by(faster);
        if explanation.nodes_not_shown == 0 {
            prop_assert_eq!(
                fastest.map(|line| line.node),
                Some(first.node),
                "the owner has the smallest race"
            );
            let rest = could.filter(|line| line.node != first.node);
            let second = rest.min_by(faster).map(|line| line.node);
            prop_assert_eq!(
                explanation.flips.second_node.map(|second| second.node),
                second
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(800))]

    #[test]
    fn answers_are_total_deterministic_and_within_the_rules(world in world(), asks in prop::collection::vec(ask(), 8)) {
        let geo = geo(&world.clients);
        let snapshot = build(&world.fleet, &world.policy, &geo, None);
        let again = build(&world.fleet, &world.policy, &geo, Some(&snapshot));
        // Without rows of nearest sites every site is scored: the order must not depend on which way it was found.
        let nowhere = build(&world.fleet, &world.policy, &Arc::new(Ranges::default()), None);
        with_query(&world, &asks[0], |query| check_owner_at_every_length(&snapshot, query))?;
        for ask in &asks {
            with_query(&world, ask, |query| {
                let evaluation = evaluate(&snapshot, query);
                prop_assert_eq!(image(&evaluation), image(&evaluate(&snapshot, query)));
                prop_assert_eq!(image(&evaluation), image(&evaluate(&again, query)));
                check_answer(&world, &snapshot, query)?;
                let who = ask.0.index(world.clients.len());
                check_sites(&world, &snapshot, (query, who))?;
                check_explanation(&snapshot, query)?;
                let (lat, lon) = world.clients[who];
                let mut told = query.clone();
                told.client.location = Location::new(lat, lon);
                let blind = evaluate(&nowhere, &told);
                prop_assert_eq!(&blind.sites, &evaluation.sites);
                prop_assert_eq!(&blind.picks, &evaluation.picks);
                Ok(())
            })?;
        }
    }

    #[test]
    fn callers_that_can_use_some_nodes_get_true_answers(
        world in world(), ask in ask(), among in prop::collection::vec(any::<Index>(), 1..40),
    ) {
        let snapshot = build(&world.fleet, &world.policy, &geo(&world.clients), None);
        let ask = (ask.0, ask.1, ask.2, ask.3, None);
        let nodes = &world.fleet.spec.nodes;
        let only: Vec<&str> = among.iter().map(|at| nodes[at.index(nodes.len())].id.as_str()).collect();
        with_query(&world, &ask, |query| check_restricted(&world, &snapshot, (query, &only)))?;
    }

    #[test]
    fn a_client_is_never_sent_much_further_than_the_nearest_site(
        mut fleet in fleet(), who in place(), spread in prop_oneof![Just(0_u64), 0..60_u64], path in any::<u16>(),
    ) {
        for site in &mut fleet.spec.sites {
            site.price_usd_per_gb = 0.0;
        }
        let score = ScoreDocument { spread: DurationMs::from_ms(spread), ..ScoreDocument::default() };
        let pool = PoolDocument { name: "all".to_owned(), ..PoolDocument::default() };
        let world = World { policy: policy_of(score, vec![pool], rule_of(vec!["all".to_owned()])), fleet, clients: vec![who] };
        let snapshot = build(&world.fleet, &world.policy, &geo(&world.clients), None);
        let path = format!("/{path}");
        let query = Query { path: &path, client: client(0), ..Query::default() };
        let evaluation = evaluate(&snapshot, &query);
        let worst = if untried(&world, "all", AdminState::Ready, &[]).next().is_some() { AdminState::Ready } else { AdminState::Drain };
        let cost = |site: &SiteDocument| 0.016 * haversine_km(who, (site.lat, site.lon));
        let nearest = untried(&world, "all", worst, &[]).map(|node| cost(site_of(&world.fleet, node))).fold(f64::INFINITY, f64::min);
        if let Some(site) = sites_of(&snapshot, &evaluation).first() {
            let id = &*snapshot.topology().site(*site).id;
            let chosen = world.fleet.spec.sites.iter().find(|site| site.id == id).map(cost).expect("sites have ids");
            prop_assert!(chosen <= nearest + spread as f64 + 2.0 + 0.2, "{chosen} ms on the way, {nearest} to the nearest");
        }
    }
}
