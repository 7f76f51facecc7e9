//! Worlds and requests: generated as documents, printed, read and compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use tradewind_engine::document::DurationMs;
use tradewind_engine::document::Metadata;
use tradewind_engine::evaluate::Evaluation;
use tradewind_engine::geo::Location;
use tradewind_engine::geo::layer::{self, Layer, Record};
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::model::{AdminState, SiteIndex};
use tradewind_engine::policy::document::{
    Affinity, BiasDocument, CostTermDocument, MissTermDocument, NetworkTermDocument, PanicDocument,
    PanicMode, PolicyDocument, PolicySpec, PoolDocument, RuleDocument, ScoreDocument,
    SelectDocument, SpreadDocument,
};
use tradewind_engine::query::{Client, Query};
use tradewind_engine::snapshot::{GeoState, Parts, Snapshot};
use tradewind_engine::topology::TopologyDocument;
use tradewind_engine::topology::document::{NodeDocument, SiteDocument, TopologySpec};
use tradewind_engine::{policy, topology};

pub(super) const TIERS: [&str; 3] = ["edge", "regional", "origin"];
const COUNTRIES: [&str; 3] = ["DE", "FR", "US"];

pub(super) fn place() -> impl Strategy<Value = (f64, f64)> {
    // Half of them in one region, so that sites are near each other often enough to matter.
    prop_oneof![
        (-89.0..=89.0_f64, -180.0..=180.0_f64),
        (48.0..=52.0_f64, 2.0..=9.0_f64)
    ]
}

pub(super) fn state() -> impl Strategy<Value = AdminState> {
    prop_oneof![6 => Just(AdminState::Ready), 2 => Just(AdminState::Drain), 1 => Just(AdminState::Maintenance)]
}

/// A node: capacity, whether it has the label `disk: ssd`, state.
pub(super) type NodePlan = (u16, bool, AdminState);

/// A site: place, country, tier, price, state, nodes.
pub(super) type SitePlan = ((f64, f64), usize, usize, f64, AdminState, Vec<NodePlan>);

pub(super) fn site_plan() -> impl Strategy<Value = SitePlan> {
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

pub(super) fn fleet() -> impl Strategy<Value = TopologyDocument> {
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

pub(super) fn score() -> impl Strategy<Value = ScoreDocument> {
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

pub(super) fn panic_mode() -> impl Strategy<Value = PanicMode> {
    prop_oneof![
        Just(PanicMode::AllReady),
        Just(PanicMode::Origin),
        Just(PanicMode::Refuse)
    ]
}

pub(super) fn affinity() -> impl Strategy<Value = Affinity> {
    prop_oneof![3 => Just(Affinity::Key), 1 => Just(Affinity::Client), 1 => Just(Affinity::None)]
}

/// A world: fleet, policy, places of clients.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) fleet: TopologyDocument,
    pub(super) policy: PolicyDocument,
    pub(super) clients: Vec<(f64, f64)>,
}

pub(super) fn rule_of(pools: Vec<String>) -> RuleDocument {
    RuleDocument {
        name: "all".to_owned(),
        owner: "test".to_owned(),
        rollback: "none".to_owned(),
        pools,
        ..RuleDocument::default()
    }
}

pub(super) fn policy_of(
    score: ScoreDocument,
    pools: Vec<PoolDocument>,
    rule: RuleDocument,
) -> PolicyDocument {
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
pub(super) fn demand(
    fleet: &TopologyDocument,
    rule: &mut RuleDocument,
    (ssd, fenced): (bool, bool),
) {
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

pub(super) fn world() -> impl Strategy<Value = World> {
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
                        ..PoolDocument::default()
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

pub(super) fn site_of<'a>(fleet: &'a TopologyDocument, node: &NodeDocument) -> &'a SiteDocument {
    fleet
        .spec
        .sites
        .iter()
        .find(|site| site.id == node.site)
        .expect("every node has a site")
}

pub(super) fn belongs(fleet: &TopologyDocument, node: &NodeDocument, pool: &str) -> bool {
    pool == "all" || site_of(fleet, node).tier.as_deref() == Some(pool)
}

pub(super) fn meets(fleet: &TopologyDocument, node: &NodeDocument, rule: &RuleDocument) -> bool {
    let country = site_of(fleet, node).country.clone().unwrap_or_default();
    rule.require
        .iter()
        .all(|(name, value)| node.labels.get(name) == Some(value))
        && (rule.geofence.is_empty() || rule.geofence.contains(&country))
}

pub(super) fn state_of(fleet: &TopologyDocument, node: &NodeDocument) -> AdminState {
    node.state.max(site_of(fleet, node).state)
}

pub(super) fn build(
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
pub(super) fn geo(clients: &[(f64, f64)]) -> Arc<Ranges> {
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

pub(super) fn client(k: usize) -> Client {
    Client {
        ip: format!("10.{k}.0.1").parse().ok(),
        ..Client::default()
    }
}

/// What a generated request asks: client, path, tried nodes, length of the list, size.
pub(crate) type Ask = (Index, u16, Vec<Index>, Option<u8>, Option<u64>);

pub(super) fn ask() -> impl Strategy<Value = Ask> {
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

pub(super) fn with_query<T>(world: &World, ask: &Ask, run: impl FnOnce(&Query<'_>) -> T) -> T {
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

/// The nodes of a pool that the rule lets be named when nodes up to `worst` are, without those tried.
pub(super) fn untried<'a>(
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

/// Everything of an evaluation as text, to compare with.
pub(super) fn image(evaluation: &Evaluation) -> String {
    format!("{evaluation:?}")
}

pub(super) fn sites_of(snapshot: &Snapshot, evaluation: &Evaluation) -> Vec<SiteIndex> {
    evaluation
        .picks
        .iter()
        .map(|pick| snapshot.topology().node(pick.node).site)
        .collect()
}

/// One site with nodes of these names and capacities.
pub(super) fn one_site(capacities: &BTreeMap<u8, u16>) -> World {
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
