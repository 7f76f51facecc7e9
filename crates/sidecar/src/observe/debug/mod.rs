//! The debug door: the console, health, metrics, and everything that the console lives on as JSON.
//!
//! Loopback by default. Nothing that is asked by GET changes anything, and every answer is bounded.

mod actions;
mod answer;
pub mod aside;
mod assets;
mod decisions;
mod fleet;
mod guard;
mod members;
mod object;
mod past;
mod paths;
mod policy;
mod purge;
pub mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query as UrlQuery, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Serialize;
use serde_json::{Value, json};

use self::answer::{Shown, fault, refuse};
use crate::identity::{Caller, Role};
use crate::intake::explained;
use crate::observe::exposition::Exposition;
use crate::observe::metrics::Sources;
use crate::observe::overview::overview;
use crate::state::doors::Door;
use crate::state::{CredentialsStatus, Published, Status};
use crate::view::FleetView;
use crate::view::in_use;
use crate::wire;
use tradewind_engine::control::meter::Disruption;

/// Most nodes, sites or decisions in one answer.
const MAX_LISTED: usize = 1_000;

/// The views of the console; which of them is shown, its own modules decide.
const VIEWS: [&str; 6] = ["/", "/map", "/explain", "/policy", "/live", "/states"];

/// All pages of the debug door.
pub fn router(sources: Sources) -> Router {
    let hosts = Arc::clone(&sources.hosts);
    let mut router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/console/{*name}", get(assets::file))
        .route("/debug/actions/drain", post(actions::drain))
        .route("/debug/actions/undrain", post(actions::undrain))
        .route("/debug/actions/reset_breaker", post(actions::reset_breaker))
        .route("/debug/actions/rollout", post(actions::rollout))
        .route("/debug/decisions", get(decisions::list))
        .route("/debug/decisions/{id}", get(decisions::one))
        .route("/debug/envoy", get(envoy))
        .route("/debug/events", get(past::events))
        .route("/debug/explain", get(explain))
        .route("/debug/fleet", get(fleet_page))
        .route("/debug/flows", get(fleet::flows))
        .route("/debug/history", get(past::history))
        .route("/debug/hot", get(hot))
        .route("/debug/impact", get(actions::impact))
        .route("/debug/members", get(members::members))
        .route("/debug/nodes", get(fleet::nodes))
        .route("/debug/object", get(object::object))
        .route("/debug/overview", get(overview_page))
        .route("/debug/paths", get(paths))
        .route("/debug/plan", post(policy::plan))
        .route("/debug/policy", get(policy::policy))
        .route("/debug/purges", get(purge::purges))
        .route("/debug/reporters", get(reporters))
        .route("/debug/revisions", get(policy::revisions))
        .route("/debug/revisions/{number}", get(policy::revision))
        .route("/debug/rollouts", get(policy::rollouts))
        .route("/debug/sets", get(fleet::sets))
        .route("/debug/sidecar", get(past::sidecar))
        .route("/debug/sites", get(fleet::sites))
        .route("/debug/state", get(fleet::state))
        .route("/debug/stream", get(stream::stream))
        .route("/v1/purge", purge::route());
    for view in VIEWS {
        router = router.route(view, get(assets::page));
    }
    router
        .fallback(no_such_page)
        .with_state(Arc::new(sources))
        .layer(from_fn_with_state(hosts, guard::guard))
        .layer(from_fn(answer::present))
}

const PAGES: &str = "pages: /livez /readyz /metrics / (the console) /debug/decisions /debug/decisions/{id} /debug/envoy \
                     /debug/events /debug/explain /debug/fleet /debug/flows /debug/history /debug/hot /debug/impact \
                     /debug/members /debug/nodes /debug/object /debug/overview /debug/paths /debug/policy /debug/purges /debug/reporters \
                     /debug/revisions /debug/revisions/{number} /debug/rollouts /debug/sets /debug/sidecar /debug/sites /debug/state \
                     /debug/stream; by POST: /debug/actions/drain /debug/actions/undrain /debug/actions/reset_breaker \
                     /debug/actions/rollout /debug/plan /v1/purge";

/// What is said of a path that is not served here.
async fn no_such_page(Shared(sources): SharedSources, uri: Uri) -> Response {
    let doors = sources.state.doors.get();
    let elsewhere = doors.and_then(|doors| doors.elsewhere(Door::Debug, uri.path()));
    let mut words = vec!["no such page"];
    words.extend(elsewhere.as_deref());
    words.push(PAGES);
    fault(StatusCode::NOT_FOUND, &words)
}

type SharedSources = Shared<Arc<Sources>>;
type Parameters = UrlQuery<BTreeMap<String, String>>;

/// What a page that has no parameters is asked with: nothing but `pretty`. All else is refused.
struct Plain;

impl FromRequestParts<Arc<Sources>> for Plain {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        sources: &Arc<Sources>,
    ) -> Result<Self, Response> {
        let parameters = Parameters::from_request_parts(parts, sources).await;
        let UrlQuery(parameters) = parameters.map_err(IntoResponse::into_response)?;
        let faults = unknown(&parameters, &[]);
        if faults.is_empty() {
            Ok(Self)
        } else {
            Err(refuse(&faults))
        }
    }
}

#[expect(
    clippy::result_large_err,
    reason = "the error is the answer, returned at once"
)]
fn published(sources: &Sources) -> Result<Arc<Published>, Response> {
    let published = sources.state.published.load_full();
    published.ok_or_else(|| {
        fault(
            StatusCode::SERVICE_UNAVAILABLE,
            &["no policy is in force yet, see /readyz"],
        )
    })
}

/// A fault for each parameter that the page does not have. Every page has `pretty`.
fn unknown(parameters: &BTreeMap<String, String>, known: &[&str]) -> Vec<String> {
    let allowed = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    let given = parameters.keys().map(String::as_str);
    let strange = given.filter(|name| *name != "pretty" && !known.contains(name));
    strange
        .map(|name| format!("unknown parameter `{name}`, allowed: {allowed}"))
        .collect()
}

/// The four answers, what needs a look, and what is in force.
async fn overview_page(sources: SharedSources, _plain: Plain) -> Response {
    Shown::of(overview(&sources.0))
}

/// Whether traffic should come here, and how every source fares.
#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    revision: u64,
    snapshot_generation: u64,
    #[serde(flatten)]
    status: &'a Status,
    #[serde(flatten)]
    credentials: &'a CredentialsStatus,
    /// What of the fleet decisions use; absent before there is one. It does not count towards `ready`, because this
    /// sidecar cannot mend a fleet by taking no requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<in_use::Readiness>,
}

/// What everybody may know.
#[derive(Serialize)]
struct Ready {
    ready: bool,
}

async fn readyz(Shared(sources): SharedSources, caller: Option<Extension<Caller>>) -> Response {
    let status = sources.state.status.load();
    let published = sources.state.published.load();
    let ready = *sources.state.ready.borrow();
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let sees_all = caller
        .is_none_or(|Extension(caller)| sources.access.roles_of(&caller).contains(Role::Observe));
    if !sees_all {
        return (code, Shown::of(Ready { ready })).into_response();
    }
    let credentials = sources.state.credentials.load();
    let body = Readiness {
        ready,
        revision: published.as_ref().map_or(0, |p| p.revision),
        snapshot_generation: published.as_ref().map_or(0, |p| p.snapshot.generation()),
        status: &status,
        credentials: &credentials,
        fleet: published
            .as_ref()
            .map(|p| in_use::Readiness::of(&p.snapshot)),
    };
    (code, Shown::of(body)).into_response()
}

async fn metrics(Shared(sources): SharedSources, headers: HeaderMap) -> Response {
    let format = Exposition::accepted(&headers);
    match sources.encode() {
        Ok(text) => {
            let headers = [
                (header::CONTENT_TYPE, format.content_type()),
                (header::VARY, "accept"),
            ];
            (headers, format.of(text)).into_response()
        }
        Err(_) => fault(
            StatusCode::INTERNAL_SERVER_ERROR,
            &["metrics could not be written"],
        ),
    }
}

async fn explain(Shared(sources): SharedSources, UrlQuery(mut parameters): Parameters) -> Response {
    // Of the form, not of the request.
    parameters.remove("pretty");
    let (request, faults) = wire::from_parameters(&parameters);
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let published = match published(&sources) {
        Ok(published) => published,
        Err(response) => return response,
    };
    let view = sources.state.view.load();
    match explained::explain(&sources.state, &published, &view, &request) {
        Ok(explained) => Shown::of(explained),
        Err(error) => fault(StatusCode::BAD_REQUEST, &[&error.to_string()]),
    }
}

/// The ways from groups of clients to sites.
async fn paths(Shared(sources): SharedSources, _plain: Plain) -> Response {
    match published(&sources) {
        Ok(published) => Shown::of(paths::list(&published.snapshot, MAX_LISTED)),
        Err(response) => response,
    }
}

/// The hot keys, the objects that fail everywhere, and what the disruption meter says.
async fn hot(Shared(sources): SharedSources, _plain: Plain) -> Response {
    let view = sources.state.view.load();
    let counts = view.pools.iter().map(|(name, pool)| (name, pool.hot_keys));
    let counts: BTreeMap<_, _> = counts.collect();
    // The control loop knows keys only; the sample of decisions may know whose they are.
    let failing = view.failing.iter().map(|object| {
        let mut shown = json!(object);
        if let Some(fields) = shown.as_object_mut() {
            let url = sources.recent.url_of_key(&object.key_hash);
            fields.extend(url.map(|url| ("url".to_owned(), url.into())));
        }
        shown
    });
    let hot_keys: Vec<Value> = view
        .hot
        .iter()
        .map(|hot| {
            let mut shown = json!(hot);
            let url = sources.recent.url_of_key(&hot.key_hash);
            if let Some((fields, url)) = shown.as_object_mut().zip(url) {
                fields.insert("last_url".to_owned(), url.into());
            }
            shown
        })
        .collect();
    Shown::of(json!({
        "failing": failing.collect::<Vec<Value>>(),
        "hot_keys": hot_keys, "hot_keys_by_pool": counts, "pools": view.pools, "parts_of_pools": view.parts,
        "disruption": disruption(&view),
        "change_allowance_left_ratio": view.allowance_left, "isolated": view.isolated,
        "network_pairs": view.network_pairs.0, "network_pairs_evicted": view.network_pairs.1,
    }))
}

/// What moved keys: at the last publication, at the last one that moved some, and since the start.
fn disruption(view: &FleetView) -> Value {
    let shown = |of: &Disruption| {
        let causes = of.causes().map(|(cause, ratio)| (cause.name(), ratio));
        let causes: BTreeMap<_, _> = causes.filter(|(_, ratio)| *ratio > 0.0).collect();
        json!({
            "moved_ratio": of.moved, "minimum_ratio": of.minimum, "excess_ratio": of.excess,
            "by_cause": causes,
        })
    };
    let (last, totals) = &view.disruption;
    let moved = view
        .last_move
        .as_ref()
        .map(|(at, moved)| json!({ "ago_ms": view.made_at.since(*at), "moved": shown(moved) }));
    json!({ "last_publication": shown(last), "last_move": moved, "since_start": shown(totals) })
}

/// What is wrong, since when, what came first, and when it is tried again: the page for who has just been woken.
async fn fleet_page(Shared(sources): SharedSources, _plain: Plain) -> Response {
    let published = match published(&sources) {
        Ok(published) => published,
        Err(response) => return response,
    };
    let topology = published.snapshot.topology();
    let view = sources.state.view.load();
    let known = topology.indexed_nodes().filter_map(|(index, node)| {
        let health = view.node(&published.snapshot.parts().topology, index)?;
        Some((node, health))
    });
    let unwell = known.filter(|(_, health)| !health.is_whole());
    let nodes: Vec<Value> = unwell
        .clone()
        .take(MAX_LISTED)
        .map(|(node, health)| {
            json!({
                "id": node.id, "site": topology.site(node.site).id, "state": node.state.name(), "health": health,
            })
        })
        .collect();
    let not_shown = unwell.count() - nodes.len();
    let status = sources.state.status.load();
    Shown::of(json!({
        "readiness": in_use::Readiness::of(&published.snapshot),
        "isolated": view.doubt, "nodes": nodes, "nodes_not_shown": not_shown,
        "pools": view.pools, "parts_of_pools": view.parts,
        "sources": { "policy": status.policy, "topology": status.topology, "geo": status.geo },
        "disruption": disruption(&view),
    }))
}

/// Who tells what, how much of it is not believed, and who says otherwise than the others.
async fn reporters(Shared(sources): SharedSources, _plain: Plain) -> Response {
    Shown::of(&sources.state.view.load().hearing)
}

/// The Envoys that subscribe to endpoints, and what became of what was pushed to them.
async fn envoy(Shared(sources): SharedSources, _plain: Plain) -> Response {
    let mut subscribers = sources.envoys.subscribers.list();
    subscribers.truncate(MAX_LISTED);
    Shown::of(json!({ "subscribers": subscribers }))
}
