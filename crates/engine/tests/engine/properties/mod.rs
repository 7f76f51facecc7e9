//! What must hold for every valid fleet, policy and request, shown on generated ones.
//!
//! Documents are generated as structures, printed, read and compiled, so printing and reading are part of each property.
//! The expectations are computed here by other means than the engine's: haversine in doubles, and all sites looked at.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers, and a document that does not compile is a failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;
use tradewind_engine::decision::{CacheHint, Decision, Purity};
use tradewind_engine::document::DurationMs;
use tradewind_engine::document::Metadata;
use tradewind_engine::evaluate::{
    Evaluation, Reason, Role, Rung, ScoredFor, Verdict, evaluate, score_sites,
};
use tradewind_engine::explanation::{Explanation, NodeLine, SiteStanding};
use tradewind_engine::geo::Location;
use tradewind_engine::geo::cell::Cell;
use tradewind_engine::geo::layer::{self, Layer, Record};
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::hash::{self, NodeSeed};
use tradewind_engine::locate;
use tradewind_engine::model::{AdminState, NodeIndex, SiteIndex};
use tradewind_engine::policy::document::{
    Affinity, BiasDocument, CostTermDocument, MissTermDocument, NetworkTermDocument, PanicDocument,
    PanicMode, PolicyDocument, PolicySpec, PoolDocument, RuleDocument, ScoreDocument,
    SelectDocument, SpreadDocument,
};
use tradewind_engine::query::{Client, Query};
use tradewind_engine::rank::{self, Columns};
use tradewind_engine::snapshot::{GeoState, Parts, Snapshot};
use tradewind_engine::topology::TopologyDocument;
use tradewind_engine::topology::document::{NodeDocument, SiteDocument, TopologySpec};
use tradewind_engine::{policy, topology};

mod flips;
mod home;
mod parents;

const TIERS: [&str; 3] = ["edge", "regional", "origin"];
const COUNTRIES: [&str; 3] = ["DE", "FR", "US"];

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

// ------------------------------------------------------------------------------------------------- generators

fn place() -> impl Strategy<Value = (f64, f64)> {
    // Half of them in one region, so that sites are near each other often enough to matter.
    prop_oneof![
        (-89.0..=89.0_f64, -180.0..=180.0_f64),
        (48.0..=52.0_f64, 2.0..=9.0_f64)
    ]
}

fn state() -> impl Strategy<Value = AdminState> {
    prop_oneof![6 => Just(AdminState::Ready), 2 => Just(AdminState::Drain), 1 => Just(AdminState::Maintenance)]
}

/// A node: capacity, whether it has the label `disk: ssd`, state.
type NodePlan = (u16, bool, AdminState);

/// A site: place, country, tier, price, state, nodes.
type SitePlan = ((f64, f64), usize, usize, f64, AdminState, Vec<NodePlan>);

fn site_plan() -> impl Strategy<Value = SitePlan> {
    let node = (1..=1000_u16, any::<bool>(), state());
    let tier = prop_oneof![4 => Just(0_usize), 1 => Just(1), 1 => Just(2)];
    (
        place(),
        0..3_usize,
        tier,
        0.0..0.1_f64,
        state(),
        prop::collection::vec(node, 1..5),
    )
}

fn fleet() -> impl Strategy<Value = TopologyDocument> {
    prop::collection::vec(site_plan(), 1..20).prop_map(|plans| {
        let (mut sites, mut nodes) = (Vec::new(), Vec::new());
        for (s, ((lat, lon), country, tier, price, state, members)) in plans.into_iter().enumerate()
        {
            // The first site is an edge site with a node of every kind, so that no pool is ever empty by construction.
            let tier = if s == 0 { 0 } else { tier };
            let id = format!("s{s:02}");
            for (n, (capacity, ssd, state)) in members.into_iter().enumerate() {
                let labels = BTreeMap::from([(
                    "disk".to_owned(),
                    if ssd || (s, n) == (0, 0) {
                        "ssd"
                    } else {
                        "hdd"
                    }
                    .to_owned(),
                )]);
                nodes.push(NodeDocument {
                    id: format!("{id}-{n}"),
                    site: id.clone(),
                    address: format!("10.0.{s}.{n}:80"),
                    capacity,
                    labels,
                    state,
                });
            }
            sites.push(SiteDocument {
                id,
                lat,
                lon,
                country: Some(COUNTRIES[if s == 0 { 0 } else { country }].to_owned()),
                tier: Some(TIERS[tier].to_owned()),
                parents: Vec::new(),
                price_usd_per_gb: price,
                labels: BTreeMap::new(),
                state,
            });
        }
        let behind: Vec<String> = sites
            .iter()
            .filter(|s| s.tier.as_deref() == Some("regional"))
            .map(|s| s.id.clone())
            .collect();
        for site in sites
            .iter_mut()
            .filter(|site| site.tier.as_deref() == Some("edge"))
            .step_by(2)
        {
            site.parents.clone_from(&behind);
        }
        TopologyDocument {
            api_version: "tradewind/v1".to_owned(),
            kind: "Topology".to_owned(),
            metadata: Metadata::default(),
            end: None,
            spec: TopologySpec {
                tiers: TIERS.map(str::to_owned).to_vec(),
                sites,
                nodes,
            },
        }
    })
}

fn score() -> impl Strategy<Value = ScoreDocument> {
    let network = (0.0..3.0_f64, 0.0..20.0_f64, 0.001..0.1_f64);
    let cost = prop_oneof![Just((0.0, 0.0)), (0.1..2.0_f64, 1.0..20_000.0_f64)];
    let bias = prop::collection::vec(
        (
            any::<Index>(),
            prop_oneof![-20.0..20.0_f64, -1000.0..1000.0_f64],
        ),
        0..4,
    );
    let detour = prop::option::of(0..200_u64);
    let spread = prop_oneof![2 => Just(0_u64), 1 => 0..40_u64, 1 => 1_000..60_000_u64];
    (network, 0.0..200.0_f64, cost, bias, (detour, spread)).prop_map(
        |(network, fetch_ms, cost, bias, (detour, spread))| ScoreDocument {
            network: NetworkTermDocument {
                weight: network.0,
                base_ms: network.1,
                ms_per_km: network.2,
            },
            miss: MissTermDocument {
                weight: 1.0,
                fetch_ms,
            },
            cost: CostTermDocument {
                weight: cost.0,
                ms_per_usd: cost.1,
            },
            // The index of a site, as text; made its id when the fleet is known.
            bias: bias
                .iter()
                .map(|(at, ms)| BiasDocument {
                    site: at.index(1 << 20).to_string(),
                    ms: *ms,
                })
                .collect(),
            max_detour: detour.map(DurationMs::from_ms),
            spread: DurationMs::from_ms(spread),
            ..ScoreDocument::default()
        },
    )
}

fn panic_mode() -> impl Strategy<Value = PanicMode> {
    prop_oneof![
        Just(PanicMode::AllReady),
        Just(PanicMode::Origin),
        Just(PanicMode::Refuse)
    ]
}

fn affinity() -> impl Strategy<Value = Affinity> {
    prop_oneof![3 => Just(Affinity::Key), 1 => Just(Affinity::Client), 1 => Just(Affinity::None)]
}

/// A world: fleet, policy, places of clients.
#[derive(Debug, Clone)]
struct World {
    fleet: TopologyDocument,
    policy: PolicyDocument,
    clients: Vec<(f64, f64)>,
}

fn rule_of(pools: Vec<String>) -> RuleDocument {
    RuleDocument {
        name: "all".to_owned(),
        owner: "test".to_owned(),
        rollback: "none".to_owned(),
        pools,
        ..RuleDocument::default()
    }
}

fn policy_of(score: ScoreDocument, pools: Vec<PoolDocument>, rule: RuleDocument) -> PolicyDocument {
    PolicyDocument {
        api_version: "tradewind/v1".to_owned(),
        kind: "Policy".to_owned(),
        metadata: Metadata::default(),
        end: None,
        spec: PolicySpec {
            score,
            pools,
            rules: vec![rule],
            ..PolicySpec::default()
        },
    }
}

/// Adds demands where every pool keeps a node: else the policy is refused, rightly.
fn demand(fleet: &TopologyDocument, rule: &mut RuleDocument, (ssd, fenced): (bool, bool)) {
    let keeps = |rule: &RuleDocument| {
        rule.pools.iter().all(|pool| {
            let mut nodes = fleet.spec.nodes.iter();
            nodes.any(|node| belongs(fleet, node, pool) && meets(fleet, node, rule))
        })
    };
    if ssd {
        rule.require = BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]);
    }
    if fenced {
        rule.geofence = vec!["DE".to_owned()];
    }
    if !keeps(rule) {
        rule.require.clear();
    }
    if !keeps(rule) {
        rule.geofence.clear();
    }
}

fn world() -> impl Strategy<Value = World> {
    let demands = (any::<bool>(), any::<bool>());
    let clients = prop::collection::vec(place(), 1..5);
    (
        fleet(),
        score(),
        panic_mode(),
        affinity(),
        (0..16_u8, 1..=8_u8),
        demands,
        clients,
    )
        .prop_map(
            |(fleet, mut score, mode, affinity, (order, candidates), (ssd, fenced), clients)| {
                let sites = &fleet.spec.sites;
                for bias in &mut score.bias {
                    let at = bias.site.parse::<usize>().unwrap_or(0) % sites.len();
                    bias.site.clone_from(&sites[at].id);
                }
                let tiers: Vec<&str> = TIERS
                    .into_iter()
                    .filter(|tier| sites.iter().any(|site| site.tier.as_deref() == Some(tier)))
                    .collect();
                let mut pools: Vec<PoolDocument> = tiers
                    .iter()
                    .map(|tier| PoolDocument {
                        name: (*tier).to_owned(),
                        select: SelectDocument {
                            tier: Some((*tier).to_owned()),
                            ..SelectDocument::default()
                        },
                        affinity,
                        hash_balance_factor: None,
                        spread: SpreadDocument::default(),
                    })
                    .collect();
                pools.push(PoolDocument {
                    name: "all".to_owned(),
                    ..PoolDocument::default()
                });
                let mut names: Vec<String> = pools
                    .iter()
                    .map(|pool| pool.name.clone())
                    .filter(|name| name != "all" || order & 8 != 0)
                    .collect();
                if order & 1 != 0 {
                    let turn = usize::from(order & 7) % names.len();
                    names.rotate_left(turn);
                }
                let mut rule = rule_of(names);
                rule.candidates = Some(candidates);
                demand(&fleet, &mut rule, (ssd, fenced));
                let mut policy = policy_of(score, pools, rule);
                policy.spec.panic = PanicDocument {
                    mode,
                    ..PanicDocument::default()
                };
                World {
                    fleet,
                    policy,
                    clients,
                }
            },
        )
}

fn site_of<'a>(fleet: &'a TopologyDocument, node: &NodeDocument) -> &'a SiteDocument {
    fleet
        .spec
        .sites
        .iter()
        .find(|site| site.id == node.site)
        .expect("every node has a site")
}

fn belongs(fleet: &TopologyDocument, node: &NodeDocument, pool: &str) -> bool {
    pool == "all" || site_of(fleet, node).tier.as_deref() == Some(pool)
}

fn meets(fleet: &TopologyDocument, node: &NodeDocument, rule: &RuleDocument) -> bool {
    let country = site_of(fleet, node).country.clone().unwrap_or_default();
    rule.require
        .iter()
        .all(|(name, value)| node.labels.get(name) == Some(value))
        && (rule.geofence.is_empty() || rule.geofence.contains(&country))
}

fn state_of(fleet: &TopologyDocument, node: &NodeDocument) -> AdminState {
    node.state.max(site_of(fleet, node).state)
}

// --------------------------------------------------------------------------------------------------- building

fn build(
    fleet: &TopologyDocument,
    policy: &PolicyDocument,
    geo: &Arc<Ranges>,
    before: Option<&Snapshot>,
) -> Snapshot {
    let text = serde_saphyr::to_string(fleet).expect("a topology prints");
    let compiled = topology::compile("topology", &text);
    let topology = compiled
        .topology
        .unwrap_or_else(|| panic!("{text}\n{}", compiled.diagnostics.to_lines().join("\n")));
    let text = serde_saphyr::to_string(policy).expect("a policy prints");
    let compiled = policy::compile("policy", &text, &topology);
    let policy = compiled
        .policy
        .unwrap_or_else(|| panic!("{text}\n{}", compiled.diagnostics.to_lines().join("\n")));
    let parts = Parts {
        topology: Arc::new(topology),
        policy: Arc::new(policy),
        candidate: None,
        geo: Arc::clone(geo),
        geo_state: GeoState::Good,
        here: None,
        signals: Arc::default(),
    };
    Snapshot::build(1, parts, before)
}

/// Client `k` lives in `10.k.0.0/16`.
fn geo(clients: &[(f64, f64)]) -> Arc<Ranges> {
    let mut layer = Layer::new();
    for (k, (lat, lon)) in clients.iter().enumerate() {
        let record = Record {
            location: Location::new(*lat, *lon),
            ..Record::default()
        };
        let record = layer.intern(&record);
        let net = format!("10.{k}.0.0/16").parse().expect("a network");
        layer.add(net, record).expect("networks ascend");
    }
    Arc::new(layer::compile(vec![layer]))
}

fn client(k: usize) -> Client {
    Client {
        ip: format!("10.{k}.0.1").parse().ok(),
        ..Client::default()
    }
}

/// What a generated request asks: client, path, tried nodes, length of the list, size.
pub(crate) type Ask = (Index, u16, Vec<Index>, Option<u8>, Option<u64>);

fn ask() -> impl Strategy<Value = Ask> {
    let tried = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<Index>(), 0..16)
    ];
    (
        any::<Index>(),
        any::<u16>(),
        tried,
        prop::option::of(1..=8_u8),
        prop::option::of(0..10_000_000_000_u64),
    )
}

fn with_query<T>(world: &World, ask: &Ask, run: impl FnOnce(&Query<'_>) -> T) -> T {
    let (who, path, tried, candidates, size_bytes) = ask;
    let nodes = &world.fleet.spec.nodes;
    let tried: Vec<&str> = tried
        .iter()
        .map(|at| nodes[at.index(nodes.len())].id.as_str())
        .collect();
    let path = format!("/{path}");
    run(&Query {
        host: "example.com",
        path: &path,
        tried: &tried,
        candidates: *candidates,
        size_bytes: *size_bytes,
        request_id: path.as_bytes(),
        client: client(who.index(world.clients.len())),
        ..Query::default()
    })
}

/// Everything of an evaluation as text, to compare with.
fn image(evaluation: &Evaluation) -> String {
    format!("{evaluation:?}")
}

fn sites_of(snapshot: &Snapshot, evaluation: &Evaluation) -> Vec<SiteIndex> {
    evaluation
        .picks
        .iter()
        .map(|pick| snapshot.topology().node(pick.node).site)
        .collect()
}

// -------------------------------------------------------------------------------------------------- properties

/// The nodes of a pool that the rule lets be named when nodes up to `worst` are, without those tried.
fn untried<'a>(
    world: &'a World,
    pool: &'a str,
    worst: AdminState,
    tried: &'a [&str],
) -> impl Iterator<Item = &'a NodeDocument> {
    let (fleet, rule) = (&world.fleet, &world.policy.spec.rules[0]);
    fleet.spec.nodes.iter().filter(move |node| {
        belongs(fleet, node, pool)
            && meets(fleet, node, rule)
            && state_of(fleet, node) <= worst
            && !tried.contains(&node.id.as_str())
    })
}

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

/// Great-circle distance by the haversine formula in doubles.
fn haversine_km(a: (f64, f64), b: (f64, f64)) -> f64 {
    let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let q = half(a.0, b.0) + a.0.to_radians().cos() * b.0.to_radians().cos() * half(a.1, b.1);
    2.0 * 6371.0088 * q.min(1.0).sqrt().asin()
}

/// A site's score from the documents alone, in doubles.
fn score_of(world: &World, site: &SiteDocument, from: (f64, f64), size_bytes: u64) -> f64 {
    let score = &world.policy.spec.score;
    let network = (score.network.base_ms
        + score.network.ms_per_km * haversine_km(from, (site.lat, site.lon)))
        * score.network.weight;
    let bias: f64 = score
        .bias
        .iter()
        .filter(|bias| bias.site == site.id)
        .map(|bias| bias.ms)
        .sum();
    let cost = site.price_usd_per_gb
        * size_bytes as f64
        * 1e-9
        * score.cost.weight
        * score.cost.ms_per_usd;
    network
        + 0.5 * score.miss.fetch_ms * score.miss.weight
        + 0.25 * score.error.weight
        + bias
        + cost
}

fn check_sites(
    world: &World,
    snapshot: &Snapshot,
    (query, who): (&Query<'_>, usize),
) -> Result<(), TestCaseError> {
    let evaluation = evaluate(snapshot, query);
    if evaluation.sites.is_empty() {
        return Ok(());
    }
    let rule = &world.policy.spec.rules[0];
    let stage = evaluation.stage.expect("a plan was followed");
    let pool = &rule.pools[usize::from(stage.tier)];
    let worst = if untried(world, pool, AdminState::Ready, &[])
        .next()
        .is_some()
    {
        AdminState::Ready
    } else {
        AdminState::Drain
    };
    let ids: BTreeSet<&str> = untried(world, pool, worst, &[])
        .map(|node| node.site.as_str())
        .collect();
    let (lat, lon) = world.clients[who];
    let center = Cell::of(Location::new(lat, lon).expect("a place")).center();
    let from = (center.latitude(), center.longitude());
    let bytes = query.size_bytes.unwrap_or(100_000);
    let mut all: Vec<f64> = world
        .fleet
        .spec
        .sites
        .iter()
        .filter(|site| ids.contains(site.id.as_str()))
        .map(|site| score_of(world, site, from, bytes))
        .collect();
    all.sort_by(f64::total_cmp);
    prop_assert!(evaluation.sites.len() <= all.len());
    for (k, scored) in evaluation.sites.iter().enumerate() {
        let id = &*snapshot.topology().site(scored.site).id;
        prop_assert!(ids.contains(id));
        let site = world
            .fleet
            .spec
            .sites
            .iter()
            .find(|site| site.id == id)
            .expect("sites have ids");
        let exact = score_of(world, site, from, bytes);
        // Singles, and distances within 0.05 %; 10 km near the antipode at up to 0.3 ms/km.
        let allowed = 0.02 + 3.2 + exact.abs() * 1e-3;
        let near = 0.02 + exact.abs() * 2e-4;
        prop_assert!(
            (f64::from(scored.total_ms) - exact).abs() <= allowed,
            "{id}: {} and {exact}",
            scored.total_ms
        );
        prop_assert!(
            exact <= all[k] + if exact < 400.0 { near + 0.1 } else { allowed },
            "place {k}: {id} at {exact}, not {}",
            all[k]
        );
    }
    // Bit for bit: the best of all that the engine itself scores, in the explanation's own full pass over the sites.
    let lines = Explanation::new(snapshot, query, &evaluation).sites;
    let best = lines.first().expect("the scored sites are listed");
    prop_assert_eq!(
        best.terms.total_ms().to_bits(),
        evaluation.sites[0].total_ms.to_bits()
    );
    for (line, scored) in lines.iter().zip(&evaluation.sites) {
        prop_assert_eq!(
            (line.site, line.terms.total_ms().to_bits()),
            (scored.site, scored.total_ms.to_bits())
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

// ------------------------------------------------------------------------------------------------- disruption

/// One site with nodes of these names and capacities.
fn one_site(capacities: &BTreeMap<u8, u16>) -> World {
    let site = SiteDocument {
        id: "fra".to_owned(),
        lat: 50.0,
        lon: 8.6,
        country: None,
        tier: None,
        parents: Vec::new(),
        price_usd_per_gb: 0.0,
        labels: BTreeMap::new(),
        state: AdminState::Ready,
    };
    let nodes = capacities.iter().map(|(name, capacity)| NodeDocument {
        id: format!("n{name}"),
        site: "fra".to_owned(),
        address: format!("10.0.0.{name}:80"),
        capacity: *capacity,
        labels: BTreeMap::new(),
        state: AdminState::Ready,
    });
    let fleet = TopologyDocument {
        api_version: "tradewind/v1".to_owned(),
        kind: "Topology".to_owned(),
        metadata: Metadata::default(),
        end: None,
        spec: TopologySpec {
            tiers: vec!["edge".to_owned()],
            sites: vec![site],
            nodes: nodes.collect(),
        },
    };
    let pool = PoolDocument {
        name: "edge".to_owned(),
        ..PoolDocument::default()
    };
    let policy = policy_of(
        ScoreDocument::default(),
        vec![pool],
        rule_of(vec!["edge".to_owned()]),
    );
    World {
        fleet,
        policy,
        clients: vec![(50.0, 8.6)],
    }
}

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

// ------------------------------------------------------------------------------------------------------- ties

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
