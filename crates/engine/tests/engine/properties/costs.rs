//! What a site costs, by haversine in doubles, with all sites looked at.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tradewind_engine::evaluate::evaluate;
use tradewind_engine::explanation::Explanation;
use tradewind_engine::geo::Location;
use tradewind_engine::geo::cell::Cell;
use tradewind_engine::model::AdminState;
use tradewind_engine::query::Query;
use tradewind_engine::snapshot::Snapshot;
use tradewind_engine::topology::document::SiteDocument;

use super::worlds::{World, untried};

/// Great-circle distance by the haversine formula in doubles.
pub(super) fn haversine_km(a: (f64, f64), b: (f64, f64)) -> f64 {
    let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let q = half(a.0, b.0) + a.0.to_radians().cos() * b.0.to_radians().cos() * half(a.1, b.1);
    2.0 * 6371.0088 * q.min(1.0).sqrt().asin()
}

/// A site's score from the documents alone, in doubles.
pub(super) fn score_of(
    world: &World,
    site: &SiteDocument,
    from: (f64, f64),
    size_bytes: u64,
) -> f64 {
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

pub(super) fn check_sites(
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
