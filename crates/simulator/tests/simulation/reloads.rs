//! Policy and topology are changed while all is not quiet: what was learned stays, unless the change is about it.

use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;
use tradewind_engine::control::meter::MoveCause;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::policy::{self, Policy};
use tradewind_engine::signal::agreed::AgreedCounts;
use tradewind_engine::time::Moment;
use tradewind_engine::topology::{self, Topology};
use tradewind_simulator::node::{Fault, NodeModel};
use tradewind_simulator::rivals::Chooser;
use tradewind_simulator::traffic::{Traffic, Zipf};
use tradewind_simulator::{Setup, Simulation};

use crate::fleet::{Fleet, node, seconds};

/// Three sites of four nodes; every second node has TLS.
fn fleet(without: &[&str], with: &[&str]) -> Arc<Topology> {
    let mut text = String::from(
        "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  tiers: [edge, origin]\n  sites:\n",
    );
    for (id, lat, lon) in [("fra", 50.1, 8.7), ("lon", 51.5, -0.1), ("mad", 40.4, -3.7)] {
        writeln!(
            text,
            "  - {{id: {id}, lat: {lat}, lon: {lon}, country: DE}}"
        )
        .expect("written");
    }
    text.push_str("  nodes:\n");
    let usual = ["fra", "lon", "mad"].into_iter();
    let usual = usual.flat_map(|site| (0..4).map(move |k| format!("{site}-{k}")));
    let others = with.iter().map(|id| (*id).to_owned());
    let nodes = usual
        .filter(|id| !without.contains(&id.as_str()))
        .chain(others);
    for (at, id) in nodes.enumerate() {
        let (site, _) = id.split_once('-').expect("a site's node");
        let tls = if at % 2 == 0 { "yes" } else { "no" };
        writeln!(
            text,
            "  - {{id: {id}, site: {site}, address: \"192.0.2.{}:80\", labels: {{tls: \"{tls}\"}}}}",
            at + 1
        )
        .expect("written");
    }
    let compiled = topology::compile("topology.yaml", &text);
    let words = compiled.diagnostics.to_lines().join("\n");
    Arc::new(compiled.topology.unwrap_or_else(|| panic!("{words}")))
}

const POOLS: [&str; 3] = [
    "{name: edge, select: {tier: edge}}",
    "{name: north, select: {sites: [fra, lon]}}",
    "{name: south, select: {sites: [mad]}}",
];

const RULES: [&str; 3] = [
    "{name: fenced, owner: a, rollback: x, pools: [edge], geofence: [DE], match: {hosts: [fenced.example.com]}}",
    "{name: secret, owner: b, rollback: x, pools: [edge, south], require: {tls: \"yes\"}, match: {hosts: [tls.example.com]}}",
    "{name: north, owner: c, rollback: x, pools: [north], class: video, match: {hosts: [north.example.com]}}",
];

const ALL: &str = "{name: all, owner: d, rollback: x, pools: [edge]}";

/// A policy of these pools and rules, and the one for everything at the end.
fn policy_of(topology: &Topology, comment: &str, pools: &[&str], rules: &[&str]) -> Arc<Policy> {
    let mut text = format!("{comment}apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools:\n");
    for pool in pools {
        writeln!(text, "  - {pool}").expect("written");
    }
    text.push_str("  classes: [{name: html}, {name: video}]\n  rules:\n");
    for rule in rules.iter().chain(&[ALL]) {
        writeln!(text, "  - {rule}").expect("written");
    }
    let compiled = policy::compile("policy.yaml", &text, topology);
    let words = compiled.diagnostics.to_lines().join("\n");
    Arc::new(compiled.policy.unwrap_or_else(|| panic!("{words}")))
}

/// The usual policy's changes that mean nothing to `www.example.com`.
fn harmless(topology: &Topology) -> Vec<(&'static str, Arc<Policy>)> {
    let [fenced, secret, north] = RULES;
    let new = "{name: new, owner: e, rollback: x, pools: [south], require: {tls: \"no\"}, match: {hosts: [new.example.com]}}";
    let [edge, first, second] = POOLS;
    vec![
        (
            "a comment",
            policy_of(topology, "# words\n", &POOLS, &RULES),
        ),
        (
            "a moved rule",
            policy_of(topology, "", &POOLS, &[north, fenced, secret]),
        ),
        (
            "a new rule for another host",
            policy_of(topology, "", &POOLS, &[new, fenced, secret, north]),
        ),
        (
            "pools in another order",
            policy_of(topology, "", &[second, first, edge], &RULES),
        ),
        (
            "a rule less",
            policy_of(topology, "", &POOLS, &[secret, north]),
        ),
    ]
}

/// A fleet in trouble: keys are hot, a node is out, another is slow, and caches differ.
fn troubled(seed: u64) -> Simulation {
    let topology = fleet(&[], &[]);
    println!("seed {seed}");
    let mut simulation = Simulation::new(Setup {
        policy: policy_of(&topology, "", &POOLS, &RULES),
        topology,
        node: NodeModel::default(),
        traffic: Traffic {
            rate: 500.0,
            keys: Zipf::new(20_000, 1.0),
            clients: Fleet::default().clients(),
            flash_share: 0.1,
        },
        chooser: Chooser::Tradewind,
        seed,
        sketch_keys: None,
    });
    simulation.run_until(seconds(30));
    let at = |id: &str| node(&simulation, id);
    let (dead, slow) = (at("fra-1"), at("lon-2"));
    simulation.set_fault(dead, Fault::Failing);
    simulation.set_fault(slow, Fault::Slow(2.6));
    simulation.run_until(seconds(60));
    simulation
}

/// Who is named first for some thousand keys from each place, by name.
fn named(simulation: &Simulation) -> Vec<Option<Box<str>>> {
    let topology = simulation.snapshot().topology();
    let clients = Fleet::default().clients();
    let keys = (0..3_000_u64).flat_map(|key| clients.iter().map(move |client| (key, *client)));
    keys.map(|(key, client)| {
        let evaluation = simulation.ask(key, Some(client));
        let first = evaluation.picks.first()?;
        Some(topology.node(first.node).id.clone())
    })
    .collect()
}

fn moved(before: &[Option<Box<str>>], after: &[Option<Box<str>>]) -> usize {
    before.iter().zip(after).filter(|(a, b)| a != b).count()
}

#[test]
fn a_change_that_means_nothing_to_a_request_moves_no_key() {
    let mut simulation = troubled(71);
    let topology = fleet(&[], &[]);
    let hot = |simulation: &Simulation| {
        let (snapshot, mut keys) = (simulation.snapshot(), Vec::new());
        for key in snapshot.signals().hot.keys() {
            let (lane, _) = snapshot.find(key.set).expect("a set in use");
            let set = lane.numbered().position_of(key.set).expect("a set of it");
            let members = lane.routing().node_set(set).members().len();
            keys.push((key.key, members, key.site, key.copies));
        }
        keys
    };
    let weighed = |simulation: &Simulation| simulation.snapshot().signals().nodes.clone();
    let terms = |simulation: &Simulation| -> Vec<_> {
        let standing = simulation.snapshot().signals().standing.iter();
        standing.map(|standing| standing.terms).collect()
    };
    for ((what, policy), round) in harmless(&topology).into_iter().zip(1..) {
        // Between two ticks, when what the last one published has been measured.
        simulation.run_until(Moment(60_060 + 200 * round));
        let was_hot = hot(&simulation);
        assert!(was_hot.len() >= 5, "{} keys are hot", was_hot.len());
        let (was_weighed, were) = (weighed(&simulation), terms(&simulation));
        assert!(was_weighed.iter().any(|node| node.weight_factor < 1.0));
        let before = named(&simulation);
        simulation.replace(Arc::clone(&topology), policy);
        assert_eq!(moved(&before, &named(&simulation)), 0, "{what}");
        assert_eq!(hot(&simulation), was_hot, "{what}: hot keys");
        assert_eq!(weighed(&simulation), was_weighed, "{what}: weights");
        assert_eq!(terms(&simulation), were, "{what}: terms");
        let measured = simulation.control().disruption().0;
        assert!(measured.moved <= 0.0, "{what}: {measured:?}");
    }
}

#[test]
fn two_sidecars_that_reload_a_minute_apart_agree_meanwhile() {
    for change in 0..4 {
        let (mut early, mut late) = (troubled(72), troubled(72));
        let topology = fleet(&[], &[]);
        let (what, policy) = harmless(&topology).swap_remove(change);
        early.replace(Arc::clone(&topology), Arc::clone(&policy));
        let (mut all, mut apart) = (0, 0);
        for second in (63..=120).step_by(3) {
            early.run_until(seconds(second));
            late.run_until(seconds(second));
            let (one, other) = (named(&early), named(&late));
            all += one.len();
            apart += moved(&one, &other);
        }
        println!("{what}: {apart} of {all} keys apart");
        assert!(apart * 1_000 < all, "{what}: {apart} of {all} keys apart");
        late.replace(topology, policy);
        assert_eq!(
            moved(&named(&early), &named(&late)),
            0,
            "{what}: afterwards"
        );
    }
}

#[test]
fn a_node_that_joins_gains_keys_and_nothing_else_is_forgotten() {
    let mut simulation = troubled(73);
    simulation.run_until(Moment(60_060));
    let before = named(&simulation);
    let hot = simulation.snapshot().signals().hot.keys().len();
    let dead = node(&simulation, "fra-1");
    let was_open = simulation.snapshot().signals().node(dead).admission;
    // It sorts first, so that every other node has another position.
    let topology = fleet(&[], &["fra-00"]);
    let policy = policy_of(&topology, "", &POOLS, &RULES);
    simulation.replace(topology, policy);
    let after = named(&simulation);
    let changed = before.iter().zip(&after).filter(|(a, b)| a != b);
    let collateral = changed
        .clone()
        .filter(|(_, b)| b.as_deref() != Some("fra-00"));
    // Of hot keys one copy of many may be another, because there is one node more to share them.
    let stray = collateral.count();
    assert!(stray * 100 < before.len(), "{stray} moved elsewhere");
    assert!(changed.count() > 0);
    assert_eq!(simulation.snapshot().signals().hot.keys().len(), hot);
    let dead = node(&simulation, "fra-1");
    assert_eq!(
        simulation.snapshot().signals().node(dead).admission,
        was_open
    );
    let last = simulation.control().disruption().0;
    let topology = last.by_cause[MoveCause::Topology as usize];
    assert!(last.moved > 0.0 && last.excess <= 0.0, "{last:?}");
    assert!((topology - last.moved).abs() < 1e-9, "{last:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Nodes, rules and pools come, go and change their places: what is known of those that stay is what was known.
    #[test]
    fn what_is_known_follows_names(
        gone in proptest::sample::subsequence(vec!["fra-0", "fra-3", "lon-0", "mad-2"], 0..=4),
        joined in proptest::sample::subsequence(vec!["fra-9", "lon-00", "mad-7"], 0..=3),
        pools in Just(POOLS.to_vec()).prop_shuffle(),
        rules in Just(RULES.to_vec()).prop_shuffle(),
        seed in 0_u64..1_000,
    ) {
        let topology = fleet(&[], &[]);
        let mut simulation = Simulation::new(Setup {
            policy: policy_of(&topology, "", &POOLS, &RULES),
            topology,
            node: NodeModel::default(),
            traffic: Traffic {
                rate: 300.0,
                keys: Zipf::new(2_000, 1.1),
                clients: Fleet::default().clients(),
                flash_share: 0.0,
            },
            chooser: Chooser::Tradewind,
            seed,
            sketch_keys: None,
        });
        let failing = NodeIndex(u32::try_from(seed % 12).expect("small"));
        simulation.set_fault(failing, Fault::Failing);
        simulation.run_until(Moment(12_060));
        let known = |simulation: &Simulation| {
            let (snapshot, control) = (simulation.snapshot(), simulation.control());
            let operation = snapshot.policy().operation();
            let nodes = snapshot.topology().indexed_nodes();
            nodes
                .map(|(at, node)| {
                    let report = control.node_report(simulation.now(), at, operation);
                    let notes = report.expect("every node has notes").notes;
                    let hits: Vec<_> = notes.hits.iter().map(AgreedCounts::known).collect();
                    let hits: (u64, u64) = hits
                        .iter()
                        .fold((0, 0), |(a, b), (hit, miss)| (a + hit, b + miss));
                    (node.id.clone(), (notes.breaker, notes.rate.to_bits(), hits, snapshot.signals().node(at)))
                })
                .collect::<std::collections::BTreeMap<_, _>>()
        };
        let before = known(&simulation);
        let next = fleet(&gone, &joined);
        let policy = policy_of(&next, "", &pools, &rules);
        simulation.replace(next, policy);
        let after = known(&simulation);
        for (id, known) in &after {
            match before.get(id) {
                Some(was) => prop_assert_eq!(was, known, "{}", id),
                None => prop_assert!(known.3.weight_factor < 0.2, "{id} begins with little"),
            }
        }
        let last = simulation.control().disruption().0;
        prop_assert!(last.excess <= 0.0, "{last:?}");
        if gone.is_empty() && joined.is_empty() {
            prop_assert!(last.moved <= 0.0, "{last:?}");
        }
        // It goes on as if nothing had been.
        simulation.run_until(seconds(14));
        prop_assert!(simulation.take_report().requests > 300);
    }
}
