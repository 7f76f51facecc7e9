//! The score's section of a policy, checked and made ready.

use super::document::{BiasDocument, PanicDocument, ScoreDocument};
use crate::document::{Checker, Code, DurationMs, Path};
use crate::number::narrow;
use crate::score::ScoreModel;
use crate::topology::Topology;

/// Checks the section and turns it into the model that scores sites.
pub(super) fn model(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    document: &ScoreDocument,
    topology: Option<&Topology>,
) -> ScoreModel {
    check_ranges(checker, path, document);
    let cost = &document.cost;
    if (cost.weight > 0.0) != (cost.ms_per_usd > 0.0) {
        let help = "the cost term is off unless both `weight` and `ms_per_usd` are above 0";
        let message = "a weight that can never matter".to_owned();
        checker.warning(Code::P022, &path.field("cost"), message, help);
    }
    ScoreModel {
        network_weight: narrow(document.network.weight),
        base_ms: narrow(document.network.base_ms),
        ms_per_km: narrow(document.network.ms_per_km),
        service_weight: narrow(document.service.weight),
        queue_weight: narrow(document.queue.weight),
        miss_weight: narrow(document.miss.weight),
        fetch_ms: narrow(document.miss.fetch_ms),
        error_weight: narrow(document.error.weight),
        ms_per_usd: narrow(cost.ms_per_usd * cost.weight),
        bias_ms: biases(checker, &path.field("bias"), &document.bias, topology),
    }
}

fn check_ranges(checker: &mut Checker<'_>, path: &Path<'_>, document: &ScoreDocument) {
    let ScoreDocument {
        network,
        service,
        queue,
        miss,
        error,
        cost,
        bias: _,
        max_detour,
        spread,
        switch_margin: _,
    } = document;
    let weight = 0.0..=100.0;
    let numbers = [
        ("network", "weight", network.weight, weight.clone()),
        ("network", "base_ms", network.base_ms, 0.0..=1_000.0),
        ("network", "ms_per_km", network.ms_per_km, 0.001..=1.0),
        ("service", "weight", service.weight, weight.clone()),
        ("queue", "weight", queue.weight, weight.clone()),
        ("miss", "weight", miss.weight, weight.clone()),
        ("miss", "fetch_ms", miss.fetch_ms, 0.0..=60_000.0),
        ("error", "weight", error.weight, weight.clone()),
        ("cost", "weight", cost.weight, weight),
        ("cost", "ms_per_usd", cost.ms_per_usd, 0.0..=1e9),
    ];
    for (term, field, value, allowed) in numbers {
        checker.in_range(Code::P006, &path.field(term).field(field), value, &allowed);
    }
    let longest = DurationMs::from_ms(60_000);
    for (field, bound) in [("max_detour", *max_detour), ("spread", Some(*spread))] {
        if let Some(bound) = bound.filter(|bound| *bound > longest) {
            let message = format!("{bound} is out of range");
            checker.error(
                Code::P006,
                &path.field(field),
                message,
                "allowed are 0ms to 1m",
            );
        }
    }
}

fn biases(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    documents: &[BiasDocument],
    topology: Option<&Topology>,
) -> Vec<f32> {
    let mut bias_ms = vec![0.0; topology.map_or(0, |topology| topology.sites().len())];
    for (index, document) in documents.iter().enumerate() {
        let path = path.index(index);
        checker.in_range(
            Code::P006,
            &path.field("ms"),
            document.ms,
            &(-1_000.0..=1_000.0),
        );
        let Some(topology) = topology else {
            continue;
        };
        let site = topology.find_site(&document.site);
        if let Some(bias) = site.and_then(|site| bias_ms.get_mut(site.get())) {
            *bias += narrow(document.ms);
        } else {
            let (path, names) = (path.field("site"), topology.site_names());
            checker.unknown_name(Code::P008, &path, &names, &document.site);
        }
    }
    bias_ms
}

pub(super) fn check_panic(checker: &mut Checker<'_>, path: &Path<'_>, document: &PanicDocument) {
    checker.in_range(
        Code::P006,
        &path.field("min_healthy_percent"),
        document.min_healthy_percent,
        &(0.0..=100.0),
    );
}
