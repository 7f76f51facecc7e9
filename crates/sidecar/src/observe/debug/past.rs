//! What was: the last hours in numbers, what happened, and who this is.

use axum::Extension;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::answer::{Shown, refuse};
use super::{MAX_LISTED, Parameters, Plain, SharedSources, unknown};
use crate::clock;
use crate::host;
use crate::identity::{Caller, Role, Roles};
use crate::observe::metrics::Sources;
use crate::observe::version;
use crate::view::history::{Column, Range};
use crate::wire::number;

/// The last hours in numbers, a list for each.
pub(super) async fn history(sources: SharedSources, parameters: Parameters) -> Response {
    let (sources, parameters) = (sources.0, parameters.0);
    let mut faults = unknown(&parameters, &["range"]);
    let wanted = parameters.get("range").map_or("15m", String::as_str);
    let range = Range::ALL.iter().find(|range| range.name() == wanted);
    if range.is_none() {
        let allowed: Vec<&str> = Range::ALL.iter().map(|range| range.name()).collect();
        faults.push(format!(
            "range: `{wanted}` is not known, allowed: {}",
            allowed.join(", ")
        ));
    }
    let Some(range) = range.filter(|_| faults.is_empty()) else {
        return refuse(&faults);
    };
    let stretch = sources.state.history.stretch(*range);
    let started = sources.process.started_unix_ms;
    let places = stretch
        .columns
        .first()
        .map_or(0, |(_, values)| values.len());
    let length_ms = places as u64 * stretch.step_ms;
    let mut fields = Map::new();
    for (column, values) in stretch.columns {
        fields.insert(column.name().to_owned(), json!(values));
    }
    let more = json!({
        "range": range.name(), "step_ms": stretch.step_ms, "places": places,
        "from_unix_ms": (started + stretch.until_ms).saturating_sub(length_ms),
        "started_unix_ms": started, "now_unix_ms": clock::unix_ms(),
    });
    if let Value::Object(more) = more {
        fields.extend(more);
    }
    Shown::of(fields)
}

/// What happened, the oldest first.
pub(super) async fn events(sources: SharedSources, parameters: Parameters) -> Response {
    let (sources, parameters) = (sources.0, parameters.0);
    let mut faults = unknown(&parameters, &["since", "limit"]);
    let (mut since, mut limit) = (0_u64, MAX_LISTED);
    if let Some(value) = parameters.get("since") {
        number("since", value, &mut since, &mut faults);
    }
    if let Some(value) = parameters.get("limit") {
        number("limit", value, &mut limit, &mut faults);
    }
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let journal = &sources.state.journal;
    let mut kept = journal.since(since);
    let newest = journal.counted();
    let known = kept.len();
    // The newest of too many: what is looked for is what has just happened.
    let kept = kept.split_off(known.saturating_sub(limit.min(MAX_LISTED)));
    let after = newest.saturating_sub(since);
    Shown::of(json!({
        "events": kept, "newest": newest,
        "not_shown": known - kept.len(), "forgotten": after.saturating_sub(known as u64),
    }))
}

/// Who this is, since when, and what it takes.
pub(super) async fn sidecar(
    sources: SharedSources,
    caller: Option<Extension<Caller>>,
    _plain: Plain,
) -> Response {
    let caller = caller.map(|Extension(caller)| caller);
    Shown::of(identity(&sources.0, caller.as_ref()))
}

/// What a page says of the sidecar that it is of.
pub(super) fn identity(sources: &Sources, caller: Option<&Caller>) -> Value {
    let doors = sources.state.doors.get();
    let doors = doors.map(|doors| {
        let grpc: Vec<String> = doors.grpc.iter().map(ToString::to_string).collect();
        json!({
            "decisions": grpc, "admin": doors.admin.to_string(), "debug": doors.debug.to_string(),
            "http": doors.http.to_string(),
        })
    });
    let history = &sources.state.history;
    let roles = caller.map_or(Roles::NONE, |caller| sources.access.roles_of(caller));
    let roles = Role::ALL.into_iter().filter(|role| roles.contains(*role));
    let roles: Vec<&str> = roles.map(Role::name).collect();
    json!({
        "id": host::name(), "version": version::VERSION, "commit": version::COMMIT,
        "started_unix_ms": sources.process.started_unix_ms, "now_unix_ms": clock::unix_ms(),
        "ready": *sources.state.ready.borrow(), "roles": roles, "doors": doors,
        "credentials": &**sources.state.credentials.load(),
        "log": &**sources.state.log_filter.load(),
        "decide_p50_us": history.newest(Column::DecideP50),
        "decide_p99_us": history.newest(Column::DecideP99),
    })
}
