//! Which keys move when nodes come, go and grow, and who goes first among equals.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use tradewind_engine::document::DurationMs;
use tradewind_engine::document::Metadata;
use tradewind_engine::evaluate::evaluate;
use tradewind_engine::explanation::Explanation;
use tradewind_engine::hash::{self, NodeSeed};
use tradewind_engine::model::{AdminState, NodeIndex};
use tradewind_engine::policy::document::{PoolDocument, ScoreDocument, SelectDocument};
use tradewind_engine::query::Query;
use tradewind_engine::rank::{self, Columns};
use tradewind_engine::topology::TopologyDocument;
use tradewind_engine::topology::document::{NodeDocument, SiteDocument, TopologySpec};

use super::config;
use super::worlds::{TIERS, World, build, client, geo, one_site, policy_of, rule_of};

/// The first two nodes of each of 300 keys, by name.
fn owners(capacities: &BTreeMap<u8, u16>) -> Vec<(String, Option<String>)> {
    let world = one_site(capacities);
    let snapshot = build(&world.fleet, &world.policy, &geo(&world.clients), None);
    let name = |node: NodeIndex| snapshot.topology().node(node).id.to_string();
    (0..300)
        .map(|key| {
            let path = format!("/object/{key}");
            let query = Query {
                path: &path,
                candidates: Some(2),
                client: client(0),
                ..Query::default()
            };
            let picks = evaluate(&snapshot, &query).picks;
            (
                name(picks[0].node),
                picks.get(1).map(|pick| name(pick.node)),
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn nodes_come_and_go_and_grow_without_moving_other_keys(
        capacities in prop::collection::btree_map(0..250_u8, 1..=1000_u16, 2..24), which in any::<Index>(), grown in 1..=1000_u16,
    ) {
        let with = owners(&capacities);
        let at = *capacities.keys().nth(which.index(capacities.len())).expect("it is below the number of nodes");
        let name = format!("n{at}");
        let mut fewer = capacities.clone();
        fewer.remove(&at);
        let without = owners(&fewer);
        for (key, (before, after)) in with.iter().zip(&without).enumerate() {
            if before.0 == name {
                prop_assert_eq!(Some(&after.0), before.1.as_ref(), "key {} goes to its former second", key);
            } else {
                prop_assert_eq!(&after.0, &before.0, "key {} does not move", key);
            }
        }
        // The same two worlds the other way round: a node that joins takes keys, and nobody else does.
        for (before, after) in without.iter().zip(&with) {
            prop_assert!(after.0 == before.0 || after.0 == name);
        }
        let mut larger = capacities.clone();
        let capacity = larger.entry(at).or_default();
        *capacity = grown.max(*capacity);
        for (before, after) in with.iter().zip(&owners(&larger)) {
            prop_assert!(after.0 == before.0 || after.0 == name, "only the node that grew gains");
            prop_assert!(before.0 != name || after.0 == name, "the node that grew loses nothing");
        }
    }
}

/// Some of 60,000 ids in the order of their races for a key, all of weight 1: up to `before` at random, then two that are
/// tied, then up to `behind`. Among so many, dozens of pairs tie.
fn with_a_tie(path: &str, which: Index, before: &[Index], behind: &[Index]) -> Vec<String> {
    let key = hash::key(&[b"example.com", path.as_bytes()]);
    let ids: Vec<String> = (0..60_000).map(|number| format!("n{number:05}")).collect();
    let seeds = ids.iter().map(|id| (NodeSeed::of_id(id), 1.0));
    let (columns, segment) = Columns::of_nodes(seeds);
    let race = |position| rank::race_of(&columns, position, key).to_bits();
    let mut order: Vec<(u32, &String)> = segment.positions().map(race).zip(&ids).collect();
    order.sort_unstable();
    let tied = (1..order.len()).filter(|at| order[at - 1].0 == order[*at].0);
    let tied: Vec<usize> = tied.collect();
    assert!(tied.len() >= 10, "{} ties", tied.len());
    let at = tied[which.index(tied.len())] - 1;
    let (earlier, rest) = order.split_at(at);
    let (pair, later) = rest.split_at(2);
    let pick = |among: &[(u32, &String)], indices: &[Index]| -> BTreeSet<usize> {
        let some = indices.iter().filter(|_| !among.is_empty());
        some.map(|index| index.index(among.len())).collect()
    };
    let ids = |among: &[(u32, &String)], at: BTreeSet<usize>| -> Vec<String> {
        at.into_iter().map(|at| among[at].1.clone()).collect()
    };
    let mut chosen = ids(earlier, pick(earlier, before));
    chosen.extend(pair.iter().map(|(_, id)| (*id).clone()));
    chosen.extend(ids(later, pick(later, behind)));
    chosen
}

/// A fleet of these nodes in up to eight sites that all share each key, and a policy of one pool.
fn shared_by_all(nodes: &[String], homes: &[u8], parents: bool) -> World {
    let site = |number: usize, tier: &str| SiteDocument {
        id: format!("{tier}{number}"),
        lat: 50.0,
        lon: 8.6 + number as f64 / 100.0,
        country: None,
        tier: Some(tier.to_owned()),
        parents: Vec::new(),
        price_usd_per_gb: 0.0,
        labels: BTreeMap::new(),
        state: AdminState::Ready,
    };
    let node = |number: usize, id: &str, site: String| NodeDocument {
        id: id.to_owned(),
        site,
        address: format!("10.0.{}.{}:80", number / 250, number % 250),
        capacity: 1,
        labels: BTreeMap::new(),
        state: AdminState::Ready,
    };
    let tier = if parents { "regional" } else { "edge" };
    let used: BTreeSet<u8> = homes.iter().take(nodes.len()).copied().collect();
    let mut sites: Vec<SiteDocument> = used.iter().map(|at| site(usize::from(*at), tier)).collect();
    let homes = nodes.iter().zip(homes).enumerate();
    let mut all: Vec<NodeDocument> = homes
        .map(|(number, (id, home))| node(number, id, format!("{tier}{home}")))
        .collect();
    let mut pools = vec![tier.to_owned()];
    if parents {
        let mut child = site(99, "edge");
        child.parents = sites.iter().map(|site| site.id.clone()).collect();
        sites.push(child);
        all.push(node(99, "child", "edge99".to_owned()));
        pools.insert(0, "edge".to_owned());
    }
    let pool = |name: &String| PoolDocument {
        name: name.clone(),
        select: SelectDocument {
            tier: Some(name.clone()),
            ..SelectDocument::default()
        },
        ..PoolDocument::default()
    };
    let score = ScoreDocument {
        spread: DurationMs::from_ms(60_000),
        ..ScoreDocument::default()
    };
    let policy = policy_of(
        score,
        pools.iter().map(pool).collect(),
        rule_of(pools.clone()),
    );
    World {
        fleet: TopologyDocument {
            api_version: "tradewind/v1".to_owned(),
            kind: "Topology".to_owned(),
            metadata: Metadata::default(),
            end: None,
            spec: TopologySpec {
                tiers: TIERS.map(str::to_owned).to_vec(),
                sites,
                nodes: all,
            },
        },
        policy,
        clients: vec![(50.0, 8.6)],
    }
}

proptest! {
    #![proptest_config(config(40))]

    /// A table goes by site first, so that a tie of two sites once went to the first site, whatever the ids.
    #[test]
    fn equal_races_go_by_node_id_wherever_the_nodes_stand(
        path in any::<u16>(), which in any::<Index>(),
        before in prop::collection::vec(any::<Index>(), 0..9), behind in prop::collection::vec(any::<Index>(), 0..20),
        homes in prop::collection::vec(0..8_u8, 40),
    ) {
        let path = format!("/{path}");
        let nodes = with_a_tie(&path, which, &before, &behind);
        let world = shared_by_all(&nodes, &homes, false);
        let snapshot = build(&world.fleet, &world.policy, &geo(&world.clients), None);
        let name = |node: NodeIndex| snapshot.topology().node(node).id.to_string();
        for candidates in 1..=8_u8 {
            let query = Query { host: "example.com", path: &path, candidates: Some(candidates), client: client(0), ..Query::default() };
            let evaluation = evaluate(&snapshot, &query);
            let named: Vec<String> = evaluation.picks.iter().map(|pick| name(pick.node)).collect();
            let wanted = usize::from(candidates).min(nodes.len());
            let one_site = homes[..wanted].iter().all(|home| *home == homes[0]);
            // For its last place a list may look for a second site.
            let certain = if one_site { wanted - 1 } else { wanted }.max(1);
            prop_assert_eq!(&named[..certain], &nodes[..certain]);
            let explained = Explanation::new(&snapshot, &query, &evaluation).nodes;
            let rest = explained.iter().filter(|line| line.place.is_none());
            let rest: Vec<String> = rest.map(|line| name(line.node)).collect();
            let expected = nodes.iter().filter(|id| !named.contains(id));
            prop_assert!(rest.iter().eq(expected), "the explanation has another order");
        }
        let parents = shared_by_all(&nodes, &homes, true);
        let snapshot = build(&parents.fleet, &parents.policy, &geo(&parents.clients), None);
        let query = Query { host: "example.com", path: &path, candidates: Some(8), client: client(0), ..Query::default() };
        let picks = evaluate(&snapshot, &query).picks;
        let named: Vec<String> = picks.iter().skip(1).map(|pick| snapshot.topology().node(pick.node).id.to_string()).collect();
        prop_assert_eq!(&named[..], &nodes[..named.len()], "among parents");
        prop_assert_eq!(named.len(), nodes.len().min(7));
    }
}
