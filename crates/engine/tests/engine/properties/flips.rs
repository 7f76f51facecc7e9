//! The numbers that an explanation says would change the answer do change it, and a little less than them does not.

use std::sync::Arc;

use proptest::prelude::*;

use proptest::test_runner::TestCaseError;
use tradewind_engine::document::DurationMs;
use tradewind_engine::evaluate::{Evaluation, evaluate};
use tradewind_engine::explanation::{Explanation, Flips};
use tradewind_engine::geo::Location;
use tradewind_engine::geo::layer::{self, Layer, Record};
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::model::SiteIndex;
use tradewind_engine::policy::document::BiasDocument;
use tradewind_engine::query::Query;
use tradewind_engine::signal::{NodeSignals, Signals};
use tradewind_engine::snapshot::{Parts, Snapshot};

use super::config;
use super::worlds::{Ask, World, ask, build, client, geo, one_site, with_query, world};

/// Singles of some thousand ms are told apart by less than this.
const A_LITTLE_MS: f64 = 0.02;

/// What is decided about a request, and what would change that.
fn explained(snapshot: &Snapshot, query: &Query<'_>) -> (Evaluation, Flips) {
    let evaluation = evaluate(snapshot, query);
    let flips = Explanation::new(snapshot, query, &evaluation).flips;
    (evaluation, flips)
}

/// A world, and a request for one of its objects of the usual size.
struct Case {
    world: World,
    geo: Arc<Ranges>,
    ask: Ask,
}

impl Case {
    fn explained(&self, snapshot: &Snapshot) -> (Evaluation, Flips) {
        with_query(&self.world, &self.ask, |query| explained(snapshot, query))
    }

    fn built(&self) -> Snapshot {
        build(&self.world.fleet, &self.world.policy, &self.geo, None)
    }

    /// The same with so many ms more for a site; `None` where a policy cannot say that.
    fn with_bias(&self, site: &str, ms: f64) -> Option<(Evaluation, Snapshot)> {
        if !(-1000.0..=1000.0).contains(&ms) {
            return None;
        }
        let mut world = self.world.clone();
        let site = site.to_owned();
        world.policy.spec.score.bias.push(BiasDocument { site, ms });
        let snapshot = build(&world.fleet, &world.policy, &self.geo, None);
        let evaluation = with_query(&world, &self.ask, |query| evaluate(&snapshot, query));
        Some((evaluation, snapshot))
    }

    fn check_sites(&self) -> Result<(), TestCaseError> {
        let snapshot = self.built();
        let (evaluation, flips) = self.explained(&snapshot);
        let Some(best) = evaluation.sites.first().map(|site| site.site) else {
            return Ok(());
        };
        let id = |site: SiteIndex| snapshot.topology().site(site).id.to_string();
        if let Some(other) = flips.runner_up {
            let flip_ms = f64::from(other.flip_ms);
            for (extra, winner) in [(A_LITTLE_MS, other.site), (-A_LITTLE_MS, best)] {
                let changed = (flip_ms + extra >= 0.0)
                    .then(|| self.with_bias(&id(best), flip_ms + extra))
                    .flatten();
                if let Some((now, _)) = changed {
                    let now = now.sites.first().map(|site| site.site);
                    prop_assert_eq!(now, Some(winner), "best, with {} ms more", flip_ms + extra);
                }
            }
        }
        if let Some(other) = flips.joiner {
            let join_ms = f64::from(other.join_ms);
            for (extra, joins) in [(A_LITTLE_MS, true), (-A_LITTLE_MS, false)] {
                let changed = (join_ms + extra >= 0.0)
                    .then(|| self.with_bias(&id(other.site), -join_ms - extra))
                    .flatten();
                if let Some((now, changed)) = changed {
                    let shares = shares(&changed, &now, other.site, self);
                    prop_assert_eq!(shares, joins, "with {} ms less", join_ms + extra);
                }
            }
        }
        Ok(())
    }
}

/// Whether a site shares the key or, where sites share clients, these.
fn shares(snapshot: &Snapshot, evaluation: &Evaluation, site: SiteIndex, case: &Case) -> bool {
    use tradewind_engine::explanation::SiteStanding;
    with_query(&case.world, &case.ask, |query| {
        let lines = Explanation::new(snapshot, query, evaluation).sites;
        let line = lines.into_iter().find(|line| line.site == site);
        line.is_some_and(|line| {
            matches!(line.standing, SiteStanding::InScope | SiteStanding::Sharing)
        })
    })
}

/// As [`geo`], with clients who may be anywhere within so many km.
fn vague_geo(clients: &[(f64, f64)], radius_km: u16, country: Option<&str>) -> Arc<Ranges> {
    let mut layer = Layer::new();
    for (k, (lat, lon)) in clients.iter().enumerate() {
        let record = Record {
            location: Location::new(*lat, *lon).filter(|_| country.is_none()),
            accuracy_radius_km: Some(radius_km.into()),
            country: country.and_then(|code| code.parse().ok()),
            ..Record::default()
        };
        let record = layer.intern(&record);
        let net = format!("10.{k}.0.0/16").parse().expect("a network");
        layer.add(net, record).expect("networks ascend");
    }
    Arc::new(layer::compile(vec![layer]))
}

/// As if all sites but one had lost all but this share of their weight.
fn outweighed(snapshot: &Snapshot, site: SiteIndex, share: f64) -> Snapshot {
    let nodes = snapshot.topology().nodes().iter().map(|node| NodeSignals {
        weight_factor: if node.site == site { 1.0 } else { share as f32 },
        ..NodeSignals::default()
    });
    let signals = Signals {
        nodes: nodes.collect(),
        ..Signals::default()
    };
    let parts = Parts {
        signals: Arc::new(signals),
        ..snapshot.parts().clone()
    };
    Snapshot::build(2, parts, None)
}

proptest! {
    #![proptest_config(config(300))]

    /// Without a spread, and with one: then the second best may be one that shares the key, and others may join.
    #[test]
    fn sites_flip_at_the_milliseconds_stated(world in world(), ask in ask()) {
        let geo = geo(&world.clients);
        Case { world, geo, ask: (ask.0, ask.1, Vec::new(), ask.3, None) }.check_sites()?;
    }

    /// Where sites share the clients of a wide region or a country, a hash decides and no number of milliseconds, but who
    /// shares is a matter of milliseconds, and who comes first one of weights.
    #[test]
    fn sharing_flips_at_the_numbers_stated(
        world in world(), ask in ask(), radius_km in 300..4_000_u16,
        country in prop::option::of(prop_oneof![Just("DE"), Just("US")]),
    ) {
        let mut world = world;
        world.policy.spec.score.spread = DurationMs::from_ms(0);
        let geo = vague_geo(&world.clients, radius_km, country);
        let case = Case { world, geo, ask: (ask.0, ask.1, Vec::new(), ask.3, None) };
        case.check_sites()?;
        let snapshot = case.built();
        let (before, flips) = case.explained(&snapshot);
        prop_assert!(flips.runner_up.is_none());
        let first = before.sites.first().map(|site| site.site);
        if let Some(other) = flips.next_sharer {
            let ratio = f64::from(other.flip_weight_ratio);
            for (factor, winner) in [(1.000_1, Some(other.site)), (0.999_9, first)] {
                if ratio * factor < 1.0 {
                    continue;
                }
                let changed = outweighed(&snapshot, other.site, 1.0 / (ratio * factor));
                let (now, _) = case.explained(&changed);
                prop_assert_eq!(now.sites.first().map(|site| site.site), winner, "at {}", ratio * factor);
            }
        }
    }

    #[test]
    fn the_second_node_wins_at_the_weight_stated(
        capacities in prop::collection::btree_map(0..250_u8, 1..=1000_u16, 2..24), path in any::<u32>(),
    ) {
        let path = format!("/{path}");
        let query = Query { path: &path, client: client(0), ..Query::default() };
        let world = one_site(&capacities);
        let snapshot = build(&world.fleet, &world.policy, &geo(&world.clients), None);
        let second = explained(&snapshot, &query).1.second_node.expect("there are two nodes");
        prop_assert!(second.flip_weight_ratio >= 1.0);
        let id = snapshot.topology().node(second.node).id.to_string();
        let capacity = f64::from(snapshot.topology().node(second.node).capacity);
        let enough = (capacity * f64::from(second.flip_weight_ratio) * 1.000_01).ceil();
        let too_little = (capacity * f64::from(second.flip_weight_ratio) * 0.999_99).floor();
        for (wanted, wins) in [(enough, true), (too_little, false)] {
            if !(1.0..=1000.0).contains(&wanted) {
                continue;
            }
            let mut world = world.clone();
            let node = world.fleet.spec.nodes.iter_mut().find(|node| node.id == id).expect("nodes have ids");
            node.capacity = wanted as u16;
            let snapshot = build(&world.fleet, &world.policy, &geo(&world.clients), None);
            let owner = evaluate(&snapshot, &query).picks[0].node;
            prop_assert_eq!(&*snapshot.topology().node(owner).id == id.as_str(), wins, "at a capacity of {}", wanted);
        }
    }
}
