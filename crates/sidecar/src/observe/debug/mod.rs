//! The debug door: health, metrics and explanations for people and their tools, as JSON.
//!
//! Loopback by default. Nothing here changes anything, and every answer is bounded.

mod paths;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query as UrlQuery, State as Shared};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};

use crate::doors::admin::rollout_status;
use crate::intake::decider;
use crate::observe::exposition::Exposition;
use crate::observe::metrics::Sources;
use crate::state::doors::Door;
use crate::state::{Published, Status};
use crate::view::FleetView;
use crate::view::in_use;
use crate::wire::{self, number};
use tradewind_engine::control::meter::Disruption;

/// Most nodes, sites or decisions in one answer.
const MAX_LISTED: usize = 1_000;

/// All pages of the debug door.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/debug/explain", get(explain))
        .route("/debug/fleet", get(fleet))
        .route("/debug/decisions", get(decisions))
        .route("/debug/decisions/{id}", get(decision))
        .route("/debug/nodes", get(nodes))
        .route("/debug/sites", get(sites))
        .route("/debug/paths", get(paths))
        .route("/debug/hot", get(hot))
        .route("/debug/reporters", get(reporters))
        .route("/debug/policy", get(policy))
        .route("/debug/rollouts", get(rollouts))
        .route("/debug/envoy", get(envoy))
        .fallback(no_such_page)
        .with_state(Arc::new(sources))
}

const PAGES: &str = "pages: /livez /readyz /metrics /debug/explain /debug/decisions /debug/decisions/{id} \
                     /debug/fleet /debug/nodes /debug/sites /debug/paths /debug/hot /debug/reporters \
                     /debug/policy /debug/rollouts /debug/envoy";

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

fn fault(status: StatusCode, messages: &[&str]) -> Response {
    (status, Json(json!({ "error": messages.join("; ") }))).into_response()
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

/// Whether traffic should come here, and how every source fares.
#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    revision: u64,
    snapshot_generation: u64,
    #[serde(flatten)]
    status: &'a Status,
    /// What of the fleet decisions use; absent before there is one. It does not count towards `ready`, because this
    /// sidecar cannot mend a fleet by taking no requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<in_use::Readiness>,
}

async fn readyz(Shared(sources): SharedSources) -> Response {
    let status = sources.state.status.load();
    let published = sources.state.published.load();
    let ready = *sources.state.ready.borrow();
    let body = Readiness {
        ready,
        revision: published.as_ref().map_or(0, |p| p.revision),
        snapshot_generation: published.as_ref().map_or(0, |p| p.snapshot.generation()),
        status: &status,
        fleet: published
            .as_ref()
            .map(|p| in_use::Readiness::of(&p.snapshot)),
    };
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(body)).into_response()
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

async fn explain(Shared(sources): SharedSources, UrlQuery(parameters): Parameters) -> Response {
    let (request, faults) = wire::from_parameters(&parameters);
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let published = match published(&sources) {
        Ok(published) => published,
        Err(response) => return response,
    };
    match decider::explain((&published, &sources.state.view.load()), &request) {
        Ok(explained) => Json(explained).into_response(),
        Err(error) => fault(StatusCode::BAD_REQUEST, &[&error.to_string()]),
    }
}

/// Answers every fault of a request's parameters.
fn refuse(faults: &[String]) -> Response {
    let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
    fault(StatusCode::BAD_REQUEST, &faults)
}

/// A fault for each parameter that is not the one the page has, if it has one.
fn unknown(parameters: &BTreeMap<String, String>, known: Option<&str>) -> Vec<String> {
    let allowed = known.unwrap_or("none");
    parameters
        .keys()
        .filter(|name| Some(name.as_str()) != known)
        .map(|name| format!("unknown parameter `{name}`, allowed: {allowed}"))
        .collect()
}

async fn decisions(Shared(sources): SharedSources, UrlQuery(parameters): Parameters) -> Response {
    let mut limit = 100;
    let mut faults = unknown(&parameters, Some("limit"));
    if let Some(value) = parameters.get("limit") {
        number("limit", value, &mut limit, &mut faults);
    }
    if !faults.is_empty() {
        return refuse(&faults);
    }
    Json(sources.recent.recent(limit.min(MAX_LISTED))).into_response()
}

async fn decision(Shared(sources): SharedSources, Path(id): Path<String>) -> Response {
    if let Some(kept) = sources.recent.find(&id) {
        return Json(kept).into_response();
    }
    let why = "only a sample is kept, see decision_log.sample_ratio in the policy";
    fault(
        StatusCode::NOT_FOUND,
        &["no decision of that id is kept", why],
    )
}

async fn nodes(Shared(sources): SharedSources, UrlQuery(parameters): Parameters) -> Response {
    let faults = unknown(&parameters, Some("site"));
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let published = match published(&sources) {
        Ok(published) => published,
        Err(response) => return response,
    };
    let topology = published.snapshot.topology();
    let wanted = parameters.get("site");
    let view = sources.state.view.load();
    let listed = topology
        .indexed_nodes()
        .filter(|(_, node)| wanted.is_none_or(|site| *topology.site(node.site).id == **site));
    let nodes: Vec<Value> = listed
        .clone()
        .take(MAX_LISTED)
        .map(|(index, node)| {
            let site = topology.site(node.site);
            json!({
                "id": node.id, "site": site.id, "tier": topology.tier_name(site.tier),
                "address": node.address.to_string(), "capacity": node.capacity,
                "state": node.state.name(), "labels": node.labels,
                "health": view.node(&published.snapshot.parts().topology, index),
            })
        })
        .collect();
    let not_shown = listed.count() - nodes.len();
    Json(json!({ "nodes": nodes, "not_shown": not_shown })).into_response()
}

async fn sites(Shared(sources): SharedSources, UrlQuery(parameters): Parameters) -> Response {
    let faults = unknown(&parameters, None);
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let published = match published(&sources) {
        Ok(published) => published,
        Err(response) => return response,
    };
    let topology = published.snapshot.topology();
    let used = in_use::of_nodes(&published.snapshot);
    let counted = in_use::Counted::by_site(&published.snapshot, &used);
    let view = sources.state.view.load();
    let sites: Vec<Value> = topology
        .sites()
        .iter()
        .zip(counted)
        .zip((0_u16..).map(tradewind_engine::model::SiteIndex))
        .take(MAX_LISTED)
        .map(|((site, counted), index)| {
            let parents: Vec<&str> = site
                .parents
                .iter()
                .map(|parent| &*topology.site(*parent).id)
                .collect();
            json!({
                "id": site.id, "tier": topology.tier_name(site.tier), "state": site.state.name(),
                "latitude": site.location.latitude(), "longitude": site.location.longitude(),
                "country": site.country.map(|c| c.to_string()), "parents": parents,
                "price_usd_per_gb": site.price_usd_per_gb, "nodes": counted.nodes, "ready": counted.ready,
                "ready_nodes": counted.ready_nodes, "probing_nodes": counted.probing_nodes,
                "signals": view.site(&published.snapshot.parts().topology, index),
            })
        })
        .collect();
    let not_shown = topology.sites().len() - sites.len();
    Json(json!({ "sites": sites, "not_shown": not_shown })).into_response()
}

/// The ways from groups of clients to sites.
async fn paths(Shared(sources): SharedSources, UrlQuery(parameters): Parameters) -> Response {
    let faults = unknown(&parameters, None);
    if !faults.is_empty() {
        return refuse(&faults);
    }
    match published(&sources) {
        Ok(published) => Json(paths::list(&published.snapshot, MAX_LISTED)).into_response(),
        Err(response) => response,
    }
}

/// The hot keys, the objects that fail everywhere, and what the disruption meter says.
async fn hot(Shared(sources): SharedSources, UrlQuery(parameters): Parameters) -> Response {
    let faults = unknown(&parameters, None);
    if !faults.is_empty() {
        return refuse(&faults);
    }
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
    Json(json!({
        "failing": failing.collect::<Vec<Value>>(),
        "hot_keys": view.hot, "hot_keys_by_pool": counts, "pools": view.pools, "parts_of_pools": view.parts,
        "disruption": disruption(&view),
        "change_allowance_left_ratio": view.allowance_left, "isolated": view.isolated,
        "network_pairs": view.network_pairs.0, "network_pairs_evicted": view.network_pairs.1,
    }))
    .into_response()
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
async fn fleet(Shared(sources): SharedSources, UrlQuery(parameters): Parameters) -> Response {
    let faults = unknown(&parameters, None);
    if !faults.is_empty() {
        return refuse(&faults);
    }
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
    Json(json!({
        "readiness": in_use::Readiness::of(&published.snapshot),
        "isolated": view.doubt, "nodes": nodes, "nodes_not_shown": not_shown,
        "pools": view.pools, "parts_of_pools": view.parts,
        "sources": { "policy": status.policy, "topology": status.topology, "geo": status.geo },
        "disruption": disruption(&view),
    }))
    .into_response()
}

/// Who tells what, how much of it is not believed, and who says otherwise than the others.
async fn reporters(Shared(sources): SharedSources, UrlQuery(parameters): Parameters) -> Response {
    let faults = unknown(&parameters, None);
    if !faults.is_empty() {
        return refuse(&faults);
    }
    Json(&sources.state.view.load().hearing).into_response()
}

/// The Envoys that subscribe to endpoints, and what became of what was pushed to them.
async fn envoy(Shared(sources): SharedSources, UrlQuery(parameters): Parameters) -> Response {
    let faults = unknown(&parameters, None);
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let mut subscribers = sources.envoys.subscribers.list();
    subscribers.truncate(MAX_LISTED);
    Json(json!({ "subscribers": subscribers })).into_response()
}

/// The policy that is tried, what its guards say, what it would answer otherwise, and how the last one ended.
async fn rollouts(Shared(sources): SharedSources, UrlQuery(parameters): Parameters) -> Response {
    let faults = unknown(&parameters, None);
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let now = sources.state.rollouts.borrow().clone();
    Json(rollout_status(&now, &sources.state)).into_response()
}

async fn policy(Shared(sources): SharedSources, UrlQuery(parameters): Parameters) -> Response {
    let faults = unknown(&parameters, None);
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let published = match published(&sources) {
        Ok(published) => published,
        Err(response) => return response,
    };
    let policy = published.snapshot.policy();
    let status = sources.state.status.load();
    let rules: Vec<Value> = policy
        .routing()
        .rules()
        .iter()
        .take(MAX_LISTED)
        .map(|rule| {
            let pools: Vec<&str> = rule.plan.tiers.iter().map(|tier| policy.routing().pool_name(tier.pool)).collect();
            json!({
                "name": rule.name, "owner": rule.owner, "intent": rule.intent, "rollback": rule.rollback,
                "expires": rule.expires.map(|day| day.to_string()), "pools": pools, "class": rule.plan.class,
                "candidates": rule.plan.candidates, "spread_ms": rule.plan.spread_ms,
                "max_detour_ms": rule.plan.max_detour_ms,
            })
        })
        .collect();
    let pools: Vec<Value> = policy
        .routing()
        .pools()
        .iter()
        .map(|pool| {
            let set = policy.routing().node_set(pool.set());
            json!({ "name": pool.name, "nodes": set.members().len(), "sites": set.sites().len() })
        })
        .collect();
    Json(json!({
        "name": policy.name(), "digest": policy.digest().to_string(), "revision": published.revision,
        "snapshot_generation": published.snapshot.generation(), "status": status.policy,
        "pools": pools, "rules": rules, "rules_not_shown": policy.routing().rules().len() - rules.len(),
    }))
    .into_response()
}
