//! What a policy would do to requests, on the state of now: the recent decisions decided once more by both.

use std::sync::Arc;

use crate::intake::recent::Kept;
use crate::state::Published;
use crate::wire::{QueryBuffer, QueryRoom};
use crate::writer::Policies;
use tradewind_engine::document::Diagnostics;
use tradewind_engine::edition::{Edition, Known, Which};
use tradewind_engine::plan::{self, Asked, Basis, Breach, MIN_REQUESTS, Planner, Report};
use tradewind_engine::snapshot::{Parts, Snapshot};

/// What a plan rests on and is held against.
pub(super) struct Ground {
    /// What is published.
    pub(super) published: Arc<Published>,
    /// What is in force.
    pub(super) policies: Policies,
    /// The sample of recent decisions.
    pub(super) recent: Vec<Arc<Kept>>,
}

/// What a policy would do, and which gates of the policy in force it does not pass.
pub(super) struct Planned {
    pub(super) report: Report,
    pub(super) breaches: Vec<Breach>,
}

/// Compares a policy with the one in force, over the sample of recent decisions; over requests that are made up, where that
/// is too small to say anything.
pub(super) fn plan(ground: &Ground, document: &str) -> Result<Planned, Diagnostics> {
    let Ground {
        published,
        policies,
        recent,
    } = ground;
    let in_force = &policies.edition;
    let known = Known::of(Some(in_force));
    let name = Which::Policy.name();
    let candidate = in_force
        .ground()
        .with_policy(name, document.into(), known)?;
    let [before, after] = [in_force, &candidate].map(|edition| snapshot(published, edition));
    let report = match of_sample(&before, &after, recent) {
        Some(report) => report,
        None => plan::of_probes(&before, &after),
    };
    let breaches = plan::gates(&report, in_force.policy().gates());
    Ok(Planned { report, breaches })
}

/// The state of now with one policy, and nothing tried beside it.
fn snapshot(published: &Published, edition: &Edition) -> Snapshot {
    let parts = Parts {
        policy: Arc::clone(edition.policy()),
        candidate: None,
        ..published.snapshot.parts().clone()
    };
    Snapshot::build(1, parts, Some(&published.snapshot))
}

fn of_sample(before: &Snapshot, after: &Snapshot, recent: &[Arc<Kept>]) -> Option<Report> {
    if u64::try_from(recent.len()).map_or(true, |count| count < MIN_REQUESTS) {
        return None;
    }
    let mut planner = Planner::new(before, after, Basis::Traffic);
    for kept in recent {
        let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
        let (mut other_room, mut other) = (QueryRoom::default(), QueryBuffer::default());
        let read = buffer.read(&kept.request, &mut room, before.reading());
        let read_after = other.read(&kept.request, &mut other_room, after.reading());
        if let (Ok(before), Ok(after)) = (read, read_after) {
            let asked = Asked {
                before: &before,
                after: &after,
            };
            planner.observe(asked, 1);
        }
    }
    Some(planner.finish())
}

/// A plan in words, a line each.
pub(super) fn words(planned: &Planned) -> Vec<String> {
    let report = &planned.report;
    let (keys, clients, requests) = (&report.keys, &report.clients, &report.requests);
    let rests_on = match report.rests_on {
        Basis::Traffic => "recent decisions",
        Basis::Probes => "requests that are made up, for want of recent ones",
    };
    let mut lines = vec![
        format!("{} requests looked at: {rests_on}", requests.looked_at),
        format!(
            "keys moved: {} of {} ({:.2} %), {} of them had to",
            keys.all.moved, keys.all.looked_at, keys.all.moved_percent, keys.least_possible
        ),
        format!(
            "client groups with another first site: {} of {} ({:.2} %)",
            clients.moved, clients.looked_at, clients.moved_percent
        ),
        format!(
            "requests with another first node: {} ({:.2} %), newly refused {:.2} %",
            requests.moved, requests.moved_percent, report.newly_refused_percent
        ),
        format!(
            "extra origin fetches: {} ({:.2} % of the requests)",
            report.extra_origin.fetches, report.extra_origin.percent
        ),
    ];
    let costs = report.expected_ms.before.zip(report.expected_ms.after);
    lines.extend(costs.map(|(before, after)| {
        format!(
            "expected cost on the mean: {:.1} ms before, {:.1} ms afterwards",
            before.mean, after.mean
        )
    }));
    let moved = |it: &&plan::Share| it.requests.before != it.requests.after;
    for shares in report.sites.iter().filter(moved) {
        let (before, after) = (100.0 * shares.before, 100.0 * shares.after);
        lines.push(format!("site {}: {before:.1} % -> {after:.1} %", shares.id));
    }
    for claim in &report.expectations {
        lines.push(format!(
            "rule {} expects: {}; {}, it comes out at {}",
            claim.rule,
            claim.claim,
            claim.upshot.name().replace('_', " "),
            claim.came_out
        ));
    }
    let stop = |stop: &Option<plan::Stop>| {
        let it = stop.as_ref();
        it.map_or("nowhere".to_owned(), |it| {
            format!("{} ({})", it.node, it.site)
        })
    };
    for moved in &report.examples {
        let (from, to) = (stop(&moved.from), stop(&moved.to));
        lines.push(format!(
            "for example {}, {}: {from} -> {to}: {}",
            moved.request, moved.client, moved.why
        ));
    }
    lines
}
