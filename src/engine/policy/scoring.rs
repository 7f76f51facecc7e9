//! The score's section of a policy, checked and made ready.

use super::document::{PanicDocument, ScoreDocument};
use crate::engine::document::{Checker, Path};
use crate::engine::number::narrow;
use crate::engine::score::ScoreModel;
use crate::engine::topology::Topology;

/// Checks the section and turns it into the model that scores sites.
pub(super) fn model(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    document: &ScoreDocument,
    topology: &Topology,
) -> ScoreModel {
    let ScoreDocument {
        network,
        queue,
        miss,
        error,
        cost,
        bias,
        max_detour,
        spread,
    } = document;
    let weights = [
        ("network", network.weight),
        ("queue", queue.weight),
        ("miss", miss.weight),
        ("error", error.weight),
        ("cost", cost.weight),
    ];
    for (term, weight) in weights {
        checker.in_range(
            "P006",
            &path.field(term).field("weight"),
            weight,
            &(0.0..=100.0),
        );
    }
    checker.in_range(
        "P006",
        &path.field("network").field("base_ms"),
        network.base_ms,
        &(0.0..=1_000.0),
    );
    checker.in_range(
        "P006",
        &path.field("network").field("ms_per_km"),
        network.ms_per_km,
        &(0.001..=1.0),
    );
    checker.in_range(
        "P006",
        &path.field("miss").field("fetch_ms"),
        miss.fetch_ms,
        &(0.0..=60_000.0),
    );
    checker.in_range(
        "P006",
        &path.field("cost").field("ms_per_usd"),
        cost.ms_per_usd,
        &(0.0..=1e9),
    );
    for (field, bound) in [("max_detour", *max_detour), ("spread", Some(*spread))] {
        if let Some(ms) = bound.map(|b| b.as_ms()).filter(|ms| *ms > 60_000) {
            checker.error(
                "P006",
                &path.field(field),
                format!("{ms} ms is out of range"),
                "allowed are 0ms to 1m",
            );
        }
    }
    if (cost.weight > 0.0) != (cost.ms_per_usd > 0.0) {
        let help = "the cost term is off unless both `weight` and `ms_per_usd` are above 0";
        checker.warning(
            "P022",
            &path.field("cost"),
            "a weight that can never matter".to_owned(),
            help,
        );
    }
    let mut bias_ms = vec![0.0; topology.sites().len()];
    let bias_path = path.field("bias");
    checker.at_most(
        "P001",
        &bias_path,
        bias.len(),
        crate::engine::topology::MAX_SITES,
    );
    for (index, entry) in bias.iter().enumerate() {
        let path = bias_path.index(index);
        checker.in_range("P006", &path.field("ms"), entry.ms, &(-1_000.0..=1_000.0));
        match topology
            .find_site(&entry.site)
            .and_then(|site| bias_ms.get_mut(site.get()))
        {
            Some(bias) => *bias += narrow(entry.ms),
            None => {
                let message = format!("no site is called `{}`", entry.site);
                checker.unknown_name(
                    "P008",
                    &path.field("site"),
                    message,
                    "see the topology file",
                );
            }
        }
    }
    ScoreModel {
        network_weight: narrow(network.weight),
        base_ms: narrow(network.base_ms),
        ms_per_km: narrow(network.ms_per_km),
        queue_weight: narrow(queue.weight),
        miss_weight: narrow(miss.weight),
        fetch_ms: narrow(miss.fetch_ms),
        error_weight: narrow(error.weight),
        ms_per_usd: narrow(cost.ms_per_usd * cost.weight),
        bias_ms,
    }
}

pub(super) fn check_panic(checker: &mut Checker<'_>, path: &Path<'_>, document: &PanicDocument) {
    checker.in_range(
        "P006",
        &path.field("min_healthy_percent"),
        document.min_healthy_percent,
        &(0.0..=100.0),
    );
}
