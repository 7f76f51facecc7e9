//! A cache that asks for its parent gets the one that the lists of its clients name, however it asks.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tradewind_engine::evaluate::{Evaluation, Role, Rung, evaluate};
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::model::SiteIndex;
use tradewind_engine::policy::document::KeyDocument;
use tradewind_engine::query::Query;
use tradewind_engine::snapshot::Snapshot;

use super::config;
use super::home::{disturbance, disturbed};
use super::worlds::{ask, build, geo, with_query, world};

/// What became of the parents of an answer's first node.
#[derive(Debug, PartialEq)]
enum Told {
    /// They agree.
    Alike,
    /// The list has no parent to compare with, or an exception that the page tells of speaks for another.
    Nothing,
}

/// Whether the list goes on, behind its first node, in the tier behind that one's.
fn has_parent_tier(snapshot: &Snapshot, list: &Evaluation) -> Option<usize> {
    let policy = snapshot.policy();
    let plan = &policy.routing().rules().first()?.plan;
    let first = list.picks.first()?.node;
    let is_of = |set| {
        policy
            .routing()
            .node_set(set)
            .members()
            .binary_search(&first)
            .is_ok()
    };
    let own = plan.tiers.iter().rposition(|tier| is_of(tier.set))?;
    let behind = plan.tiers.get(own + 1)?;
    let is_usual = list
        .stage
        .is_some_and(|stage| own == usize::from(stage.tier))
        && list.rung == Rung::Normal;
    let table = snapshot.table(behind.set);
    (is_usual && table.is_sufficient()).then_some(own + 1)
}

fn check(snapshot: &Snapshot, query: &Query<'_>) -> Result<Told, TestCaseError> {
    let topology = snapshot.topology();
    let list = evaluate(snapshot, query);
    let Some(behind) = has_parent_tier(snapshot, &list) else {
        return Ok(Told::Nothing);
    };
    let is_later = |role| matches!(role, Role::NextTier | Role::Origin);
    let later = list.picks.iter().find(|pick| is_later(pick.role));
    let (Some(first), Some(later)) = (list.picks.first(), later) else {
        return Ok(Told::Nothing);
    };
    let policy = snapshot.policy();
    let pool = policy
        .routing()
        .pool_name(policy.routing().rules()[0].plan.tiers[behind].pool);
    let child = &*topology.node(first.node).id;
    for named in [None, Some(pool)] {
        for candidates in [1, 3, 8] {
            let asked = Query {
                child: Some(child),
                pool: named,
                candidates: Some(candidates),
                ..query.clone()
            };
            let answer = evaluate(snapshot, &asked);
            let Some(parent) = answer.picks.first() else {
                return Err(TestCaseError::fail("no parent is named"));
            };
            // By its role, for on a rung the reason tells of that: it is tried, spilled to, or holds a copy.
            let is_exception = parent.role != Role::Owner;
            // A node of two tiers is listed once.
            let is_listed = list.picks.iter().any(|pick| pick.node == parent.node);
            if is_exception || (is_listed && parent.node != later.node) {
                return Ok(Told::Nothing);
            }
            prop_assert_eq!(
                &*topology.node(parent.node).id,
                &*topology.node(later.node).id,
                "asked as {} by pool {:?}, for {}: {:?}",
                child,
                named,
                candidates,
                answer
            );
            let parents = &topology.site(topology.site_of(first.node)).parents;
            let home = topology.site_of(parent.node);
            let is_parent = |site: &SiteIndex| *site == home;
            let reachable = answer.scope_sites().any(|site| parents.contains(&site));
            prop_assert!(!reachable || parents.iter().any(is_parent));
        }
    }
    Ok(Told::Alike)
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn who_asks_for_a_parent_gets_the_one_of_its_clients_lists(
        world in world(), disturbance in disturbance(), asks in prop::collection::vec(ask(), 6),
        vague in prop_oneof![3 => Just(false), 1 => Just(true)], by_query in any::<bool>(),
    ) {
        let mut world = world;
        world.policy.spec.score.max_detour = None;
        let rule = &mut world.policy.spec.rules[0];
        if by_query {
            rule.key = KeyDocument { query: vec!["v".to_owned()], path: false, ..KeyDocument::default() };
        }
        let geo = if vague { Arc::new(Ranges::default()) } else { geo(&world.clients) };
        let calm = build(&world.fleet, &world.policy, &geo, None);
        for (at, ask) in asks.iter().enumerate() {
            let ask = (ask.0, ask.1, Vec::new(), Some(3), ask.4);
            let v = format!("v={at}");
            with_query(&world, &ask, |query| {
                let query = Query { query_string: &v, ..query.clone() };
                check(&calm, &query)?;
                check(&disturbed(&calm, &disturbance, &query), &query)
            })?;
        }
    }
}
