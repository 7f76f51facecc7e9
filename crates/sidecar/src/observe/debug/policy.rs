//! The policy in force with how often its rules decide, what took effect before, the candidate, and what a pasted text
//! would do.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};
use tonic::Request;

use super::answer::{Shown, fault, refuse};
use super::{MAX_LISTED, Parameters, Plain, SharedSources, published, unknown};
use crate::clock;
use crate::doors::admin::{policy_changes, rollout_status};
use crate::observe::metrics::Sources;
use crate::wire::number;
use crate::wire::proto::PlanPolicyRequest;
use crate::wire::proto::server::policy_service_server::PolicyService;
use tradewind_engine::date::Date;
use tradewind_engine::lifecycle::Revision;
use tradewind_engine::model::{Digest, RuleIndex};
use tradewind_engine::number::from_u64;
use tradewind_engine::policy::{Routing, Rule};

/// Most lines of a comparison.
const MAX_LINES: usize = 5_000;

/// Largest refused file whose text is shown, in bytes.
const MAX_REFUSED_BYTES: u64 = 1 << 20;

/// The policy in force.
pub(super) async fn policy(sources: SharedSources, _plain: Plain) -> Response {
    let sources = sources.0;
    let published = match published(&sources) {
        Ok(published) => published,
        Err(response) => return response,
    };
    let policy = published.snapshot.policy();
    let routing = policy.routing();
    let status = sources.state.status.load();
    let all_lately = sources.state.rule_hits.all_lately();
    let rules: Vec<Value> = routing
        .rules()
        .iter()
        .enumerate()
        .take(MAX_LISTED)
        .map(|(index, rule)| {
            let row = published.rows.decided.get(index).copied();
            let mut shown = rule_row(routing, (index, rule));
            let hits = row.map(|row| sources.state.rule_hits.of(row));
            if let Some((fields, hits)) = shown.as_object_mut().zip(hits) {
                let share = from_u64(hits.lately) / from_u64(all_lately.max(1));
                fields.insert("rate".to_owned(), json!(hits.per_second));
                fields.insert("share_ratio".to_owned(), json!(share));
                let last = json!(hits.last_unix_ms);
                fields.insert("last_hit_unix_ms".to_owned(), last);
            }
            shown
        })
        .collect();
    let pools: Vec<Value> = routing
        .pools()
        .iter()
        .map(|pool| {
            let set = routing.node_set(pool.set());
            json!({ "name": pool.name, "nodes": set.members().len(), "sites": set.sites().len() })
        })
        .collect();
    let refused = match &status.policy.degraded {
        Some(degraded) => Some(json!({
            "since_unix_ms": degraded.since_unix_ms, "refusals": degraded.refusals,
            "faults": status.policy.faults, "first_fault": degraded.first_fault,
            "text": text_of(&status.policy.source).await,
        })),
        None => None,
    };
    Shown::of(json!({
        "name": policy.name(), "digest": policy.digest().to_string(), "revision": published.revision,
        "snapshot_generation": published.snapshot.generation(), "status": status.policy, "refused": refused,
        "pools": pools, "rules": rules, "rules_not_shown": routing.rules().len() - rules.len(),
        "text": &*published.texts.policy, "now_unix_ms": clock::unix_ms(),
    }))
}

/// What a refused file says now, to be compared with what is in force; `None` where it is gone, or too large to be looked
/// at by eye.
async fn text_of(source: &str) -> Option<String> {
    let file = tokio::fs::metadata(source).await.ok()?;
    // What is no file, such as a pipe, may never end.
    if !file.is_file() || file.len() > MAX_REFUSED_BYTES {
        return None;
    }
    tokio::fs::read_to_string(source).await.ok()
}

fn rule_row(routing: &Routing, (index, rule): (usize, &Rule)) -> Value {
    let plan = &rule.plan;
    let pools: Vec<&str> = plan
        .tiers
        .iter()
        .map(|tier| routing.pool_name(tier.pool))
        .collect();
    let fence: Vec<String> = plan
        .demands
        .countries
        .iter()
        .map(ToString::to_string)
        .collect();
    let today = Date::from_unix_ms(clock::unix_ms());
    json!({
        "index": index, "name": rule.name, "owner": rule.owner, "intent": rule.intent,
        "rollback": rule.rollback, "expires": rule.expires.map(|day| day.to_string()),
        "expired": rule.expires.is_some_and(|day| day < today), "when": rule.when, "pools": pools,
        "match": routing.conditions_of(RuleIndex(u16::try_from(index).unwrap_or(u16::MAX))),
        "key": plan.key.to_string(), "require": plan.demands.labels, "geofence": fence,
        "class": plan.class, "candidates": plan.candidates, "spread_ms": plan.spread_ms,
        "max_detour_ms": plan.max_detour_ms, "attempt_timeout_ms": plan.attempt_timeout_ms,
    })
}

/// What took effect, the newest first.
pub(super) async fn revisions(sources: SharedSources, _plain: Plain) -> Response {
    let sources = sources.0;
    let known = sources.state.sources.borrow().revisions.clone();
    let newest = known.newest().map(|it| it.number);
    let all: Vec<_> = known.newest_first().collect();
    let rows = all.iter().enumerate().map(|(at, revision)| {
        let parent = all.get(at + 1).copied();
        let is_in_force = newest == Some(revision.number);
        revision_row(&sources, (revision, parent.map(|it| &**it)), is_in_force)
    });
    Shown::of(json!({ "revisions": rows.collect::<Vec<Value>>() }))
}

fn revision_row(
    sources: &Sources,
    (revision, parent): (&Revision, Option<&Revision>),
    is_in_force: bool,
) -> Value {
    let parent = parent.filter(|parent| revision.parent == Some(parent.number));
    let changes =
        parent.map(|parent| policy_changes([&parent.texts.policy, &revision.texts.policy]));
    let moved = sources.moves.of(revision.number).map(|moved| {
        let share = |count: usize| crate::view::words::ratio(count, moved.decisions);
        let rules = moved.by_rule.iter().map(|(rule, (asked, moved))| {
            let ratio = from_u64(*moved) / from_u64(*asked).max(1.0);
            (rule.to_string(), json!(ratio))
        });
        json!({
            "decisions": moved.decisions, "moved_ratio": moved.ratio(),
            "other_site_ratio": share(moved.other_site), "by_rule": Value::Object(rules.collect()),
        })
    });
    json!({
        "revision": revision.number, "parent": revision.parent, "author": revision.who,
        "message": revision.why, "source": revision.origin.to_string(),
        "digest": Digest::of(revision.texts.policy.as_bytes()).short(),
        "topology_digest": Digest::of(revision.texts.topology.as_bytes()).short(),
        "at_unix_ms": revision.at_unix_ms, "in_force": is_in_force, "changes": changes,
        "topology_changed": parent.map(|it| it.texts.topology != revision.texts.topology), "moved": moved,
    })
}

/// One revision with its text, and what is otherwise than in another.
pub(super) async fn revision(
    sources: SharedSources,
    Path(wanted): Path<String>,
    parameters: Parameters,
) -> Response {
    let (sources, parameters) = (sources.0, parameters.0);
    let mut faults = unknown(&parameters, &["against"]);
    let (mut wanted_number, mut against) = (0_u64, None);
    number("revision", &wanted, &mut wanted_number, &mut faults);
    if let Some(value) = parameters.get("against") {
        let mut other = 0_u64;
        number("against", value, &mut other, &mut faults);
        against = Some(other);
    }
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let known = sources.state.sources.borrow().revisions.clone();
    let found = match known.get(wanted_number) {
        Ok(found) => found,
        Err(error) => return fault(StatusCode::NOT_FOUND, &[&error.to_string()]),
    };
    let against = against.or(found.parent);
    let other = against.and_then(|number| known.find(number));
    let text = &*found.texts.policy;
    let compared = other.map(|other| {
        let before = &*other.texts.policy;
        (policy_changes([before, text]), lines([before, text]))
    });
    let (changes, lines) = compared.unzip();
    Shown::of(json!({
        "revision": found.number, "against": other.map(|it| it.number), "text": text,
        "changes": changes, "lines": lines,
    }))
}

/// What differs line by line, with three lines around.
fn lines([before, after]: [&str; 2]) -> Vec<Value> {
    let diff = TextDiff::from_lines(before, after);
    let groups = diff.grouped_ops(3);
    let changes = groups.iter().flatten().flat_map(|op| diff.iter_changes(op));
    let rows = changes.map(|change| {
        let op = match change.tag() {
            ChangeTag::Equal => " ",
            ChangeTag::Delete => "-",
            ChangeTag::Insert => "+",
        };
        json!({ "op": op, "text": change.value().trim_end_matches(['\n', '\r']) })
    });
    rows.take(MAX_LINES).collect()
}

/// The policy that is tried, what its guards say, what it would answer otherwise, and how the last one ended.
pub(super) async fn rollouts(sources: SharedSources, _plain: Plain) -> Response {
    let sources = sources.0;
    let now = sources.state.rollouts.borrow().clone();
    let mut shown = json!(rollout_status(&now, &sources.state));
    // What guards said lately is for eyes, and not in the message.
    let lately = now.rolling.as_deref();
    let lately = lately.map_or_else(Vec::new, |it| sources.state.guards.series(it));
    let guards = shown.pointer_mut("/rollout/guards");
    let guards = guards.and_then(Value::as_array_mut).into_iter().flatten();
    for (guard, series) in guards.zip(lately) {
        if let Some(fields) = guard.as_object_mut() {
            fields.insert("series".to_owned(), json!(series));
        }
    }
    Shown::of(shown)
}

/// What a policy would do. Nothing is put in force.
pub(super) async fn plan(sources: SharedSources, document: String) -> Response {
    let request = Request::new(PlanPolicyRequest { document });
    match sources.desk.plan(request).await {
        Ok(planned) => {
            let planned = planned.into_inner();
            let report: Value = serde_json::from_str(&planned.report_json).unwrap_or_default();
            let mut shown = json!(planned);
            if let Some(fields) = shown.as_object_mut() {
                // As figures, not as a text of figures.
                fields.remove("report_json");
                fields.insert("report".to_owned(), report);
            }
            Shown::of(shown)
        }
        Err(status) => super::actions::refused(&status),
    }
}
