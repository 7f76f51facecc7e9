//! What is in force: policy, rollout, fleet, geo files, rungs, signals and what may still move.

use serde_json::{Value, json};

use super::Ground;
use crate::view::words;
use tradewind_engine::policy::Policy;
use tradewind_engine::rollout::percent;

/// Most reporters that are named.
const REPORTERS: usize = 4;

/// All of it.
pub(super) fn all(ground: &Ground<'_>) -> Value {
    json!({
        "policy": policy(ground), "rollout": rollout(ground), "topology": topology(ground),
        "geo": geo(ground), "rungs": rungs(ground), "signals": signals(ground),
        "allowance_left_ratio": ground.view.allowance_left,
    })
}

fn age(ground: &Ground<'_>, since_unix_ms: u64) -> Option<u64> {
    (since_unix_ms > 0).then(|| ground.now_unix_ms.saturating_sub(since_unix_ms))
}

fn policy(ground: &Ground<'_>) -> Value {
    let status = &ground.status.policy;
    let policy = ground
        .fleet
        .as_ref()
        .map(|it| it.published.snapshot.policy());
    json!({
        "name": policy.map(Policy::name), "digest": status.serving_digest,
        "revision": ground.fleet.as_ref().map(|it| it.published.revision),
        "since_ms": age(ground, status.serving_since_unix_ms),
        "rules": policy.map(|it| it.routing().rules().len()), "refused": status.degraded.is_some(),
        "source": status.source,
    })
}

fn rollout(ground: &Ground<'_>) -> Value {
    let Some(rolling) = &ground.rollouts.rolling else {
        return json!({ "words": "none; every request is decided by this revision" });
    };
    let digest = rolling.candidate.policy().digest().short();
    if rolling.is_shadow {
        return json!({ "words": format!("candidate {digest} is looked at and decides nothing"), "shadow": true });
    }
    let share = percent(rolling.progress.buckets());
    json!({
        "words": format!("candidate {digest} decides {share} % of requests"),
        "stage_ratio": share / 100.0,
    })
}

fn topology(ground: &Ground<'_>) -> Value {
    let status = &ground.status.topology;
    json!({
        "sites": ground.sites.len(), "nodes": ground.counts.nodes, "digest": status.serving_digest,
        "since_ms": age(ground, status.serving_since_unix_ms), "held": status.held.is_some(),
        "source": status.source,
    })
}

fn geo(ground: &Ground<'_>) -> Value {
    let geo = &ground.status.geo;
    let networks: usize = geo.files.iter().map(|file| file.networks).sum();
    let built = geo.files.iter().map(|file| file.build_epoch_s);
    let oldest = built.filter(|seconds| *seconds > 0).min();
    let age = oldest.map(|seconds| ground.now_unix_ms.saturating_sub(seconds * 1_000));
    let placed = ground.fleet.as_ref().map_or(0, |fleet| {
        let policy = fleet.published.snapshot.policy();
        policy.routing().known_networks()
    });
    let words = if geo.files.is_empty() && placed > 0 {
        let placed = words::counted(placed, "network", "networks");
        format!("no file; the policy places {placed}")
    } else if geo.files.is_empty() {
        "no file: places of clients are not known".to_owned()
    } else {
        let files = words::counted(geo.files.len(), "file", "files");
        let built = age.map_or_else(String::new, |ms| {
            format!(", built {} ago", words::lasting(ms))
        });
        format!(
            "{files}, {}{built}",
            words::counted(networks, "network", "networks")
        )
    };
    json!({
        "files": geo.files.len(), "networks": networks, "built_age_ms": age, "state": geo.state, "words": words,
    })
}

fn rungs(ground: &Ground<'_>) -> Value {
    let lower = ground.lower_rungs();
    let pools = ground.view.pools.len();
    let words = match (lower.len(), pools) {
        (0, 0) => "no pool".to_owned(),
        (0, 1) => "normal in the one pool".to_owned(),
        (0, _) => format!("normal in all {pools} pools"),
        (count, _) => format!("lower in {}", words::counted(count, "part", "parts")),
    };
    let lower = lower
        .iter()
        .map(|(pool, rung)| json!({ "pool": pool, "rung": rung }));
    json!({ "words": words, "lower": lower.collect::<Vec<Value>>() })
}

fn signals(ground: &Ground<'_>) -> Value {
    let ages = &ground.view.ages_ms;
    let reporters = &ground.view.hearing.reporters;
    let names: Vec<&str> = reporters
        .iter()
        .take(REPORTERS)
        .map(|it| it.reporter.as_str())
        .collect();
    json!({
        "outcomes_ms": reporters.iter().map(|it| it.heard_ms).min(), "load_ms": ages.get("load"),
        "hits_ms": ages.get("hit"), "times_ms": ages.get("latency"),
        "reporters": names, "reporters_not_shown": reporters.len() - names.len(),
    })
}
