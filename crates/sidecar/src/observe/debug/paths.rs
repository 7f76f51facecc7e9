//! What is known of the ways from groups of clients to sites, for the debug door.

use serde_json::{Value, json};

use tradewind_engine::geo::group::Group;
use tradewind_engine::geo::place::Asn;
use tradewind_engine::signal::network::Measured;
use tradewind_engine::signal::trial::Trial;
use tradewind_engine::snapshot::Snapshot;

/// Every group that was measured, up to `most`, with its last mile and its paths; and which sites are tried.
pub(super) fn list(snapshot: &Snapshot, most: usize) -> Value {
    let signals = snapshot.signals();
    let groups: Vec<Group> = signals.network.groups().collect();
    let listed: Vec<Value> = (groups.iter().take(most))
        .map(|group| of_group(snapshot, *group))
        .collect();
    let trials = signals.trials.all().iter().take(most);
    let trials: Vec<Value> = trials.map(|trial| of_trial(snapshot, trial)).collect();
    json!({
        "groups": listed,
        "not_shown": groups.len() - listed.len(),
        "trials": trials,
        "trials_not_shown": signals.trials.all().len() - trials.len(),
    })
}

fn of_group(snapshot: &Snapshot, group: Group) -> Value {
    let network = &snapshot.signals().network;
    let center = group.cell.center();
    let special = network.of_group(Some(group));
    let path = |path: &Measured| {
        json!({
            "site": snapshot.topology().site(path.site).id,
            "network_ms": path.network_ms,
            "estimate_ms": path.estimate_ms,
            "is_special": special.iter().any(|other| other.site == path.site),
            "samples": path.evidence.samples,
            "age_ms": path.evidence.age_ms,
            "prior_share": path.evidence.prior_share,
        })
    };
    let paths: Vec<Value> = network.all_of(group).iter().map(path).collect();
    let last_mile = network.last_mile(group);
    json!({
        "cell": group.cell.id(),
        "latitude": center.latitude(),
        "longitude": center.longitude(),
        "asn": group.asn.map(Asn::get),
        "last_mile_ms": last_mile.map(|mile| mile.ms),
        "last_mile_samples": last_mile.map(|mile| mile.samples),
        "paths": paths,
    })
}

fn of_trial(snapshot: &Snapshot, trial: &Trial) -> Value {
    json!({
        "site": snapshot.topology().site(trial.site).id,
        "cell": trial.group.map(|group| group.cell.id()),
        "asn": trial.group.and_then(|group| group.asn).map(Asn::get),
        "gain_ms": trial.gain_ms,
        "keys_ratio": f64::from(trial.slice) / 65_536.0,
    })
}
