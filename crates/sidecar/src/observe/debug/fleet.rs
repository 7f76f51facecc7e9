//! Nodes, sites and sets as they are: in rows with all that is known, and in columns for a page.

use std::collections::BTreeMap;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::answer::{Shown, refuse};
use super::decisions;
use super::{MAX_LISTED, Parameters, Plain, SharedSources, published, unknown};
use crate::observe::fleet::Fleet;
use crate::view::in_use;
use crate::view::standing::{Counts, Standing};
use crate::view::{NodeView, SiteView};
use tradewind_engine::lifecycle::Entry;
use tradewind_engine::model::{NodeIndex, SiteIndex};
use tradewind_engine::topology::{Node, Site};

/// The nodes of the fleet, or of one site.
pub(super) async fn nodes(sources: SharedSources, parameters: Parameters) -> Response {
    let (sources, parameters) = (sources.0, parameters.0);
    let faults = unknown(&parameters, &["site"]);
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let published = match published(&sources) {
        Ok(published) => published,
        Err(response) => return response,
    };
    let view = sources.state.view.load();
    let fleet = Fleet::of(&sources.state, &published, &view);
    let topology = fleet.topology();
    let wanted = parameters.get("site");
    let is_wanted = |node: &Node| wanted.is_none_or(|site| *topology.site(node.site).id == **site);
    let listed = topology.indexed_nodes().filter(|(_, node)| is_wanted(node));
    let nodes: Vec<Value> = listed
        .clone()
        .take(MAX_LISTED)
        .map(|(index, node)| node_row(&fleet, (index, node), wanted.is_some()))
        .collect();
    let not_shown = listed.count() - nodes.len();
    Shown::of(json!({ "nodes": nodes, "not_shown": not_shown }))
}

fn node_row(fleet: &Fleet<'_>, (index, node): (NodeIndex, &Node), with_times: bool) -> Value {
    let topology = fleet.topology();
    let site = topology.site(node.site);
    let mut row = json!({
        "id": node.id, "site": site.id, "tier": topology.tier_name(site.tier),
        "address": node.address.to_string(), "capacity": node.capacity,
        "state": node.state.name(), "labels": node.labels,
    });
    let Some(fields) = row.as_object_mut() else {
        return row;
    };
    add(fields, fleet.standings.get(index.get()));
    if let Some(set) = fleet.set_for(node) {
        fields.insert("override".to_owned(), override_row(set));
    }
    let known = fleet.node(index);
    let mut health = json!(known);
    let times = known.filter(|known| with_times && known.times.count() > 0);
    if let Some((fields, known)) = health.as_object_mut().zip(times) {
        fields.insert("histogram".to_owned(), histogram(known));
    }
    fields.insert("health".to_owned(), health);
    row
}

/// Adds the fields of a standing to a row.
fn add(fields: &mut Map<String, Value>, standing: Option<&Standing>) {
    if let Value::Object(more) = json!(standing) {
        fields.extend(more);
    }
}

fn override_row(set: &Entry) -> Value {
    json!({
        "state": set.state.name(), "by": set.who, "reason": set.why,
        "since_unix_ms": set.since_unix_ms, "until_unix_ms": set.until_unix_ms,
    })
}

/// Times at a node: `counts[i]` of them were not longer than `bounds_ms[i]`, but than the bound before.
fn histogram(known: &NodeView) -> Value {
    let mut steps: BTreeMap<u32, u64> = BTreeMap::new();
    for (longest_us, count) in known.times.counts() {
        *steps.entry(longest_us).or_default() += u64::from(count);
    }
    let bounds: Vec<f64> = steps.keys().map(|us| f64::from(*us) / 1_000.0).collect();
    let counts: Vec<u64> = steps.into_values().collect();
    json!({ "bounds_ms": bounds, "counts": counts })
}

/// The sites, or one of them.
pub(super) async fn sites(sources: SharedSources, parameters: Parameters) -> Response {
    let (sources, parameters) = (sources.0, parameters.0);
    let faults = unknown(&parameters, &["site"]);
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let published = match published(&sources) {
        Ok(published) => published,
        Err(response) => return response,
    };
    let view = sources.state.view.load();
    let fleet = Fleet::of(&sources.state, &published, &view);
    let used = in_use::of_nodes(&published.snapshot);
    let counted = in_use::Counted::by_site(&published.snapshot, &used);
    let wanted = parameters.get("site");
    let listed = fleet.sites().zip(counted);
    let listed = listed.filter(|((_, site), _)| wanted.is_none_or(|id| *site.id == **id));
    let flows = wanted.map(|site| decisions::flows(&sources.recent, Some(site)));
    let sites: Vec<Value> = listed
        .clone()
        .take(MAX_LISTED)
        .map(|((index, site), counted)| {
            let mut row = site_row(&fleet, index, site);
            if let Some(fields) = row.as_object_mut() {
                if let Value::Object(more) = json!(counted) {
                    fields.extend(more);
                }
                add(fields, Some(&fleet.standing_of(index)));
                if let Some(flows) = &flows {
                    fields.insert("flows".to_owned(), json!(flows.flows));
                }
            }
            row
        })
        .collect();
    let not_shown = listed.count() - sites.len();
    Shown::of(json!({ "sites": sites, "not_shown": not_shown }))
}

fn site_row(fleet: &Fleet<'_>, index: SiteIndex, site: &Site) -> Value {
    let topology = fleet.topology();
    let parents = site.parents.iter();
    let parents: Vec<&str> = parents.map(|it| &*topology.site(*it).id).collect();
    let labels = fleet.labels_of(index);
    json!({
        "id": site.id, "tier": topology.tier_name(site.tier), "state": site.state.name(),
        "latitude": site.location.latitude(), "longitude": site.location.longitude(),
        "country": site.country.map(|c| c.to_string()), "city": labels.get("city"), "labels": labels,
        "parents": parents, "price_usd_per_gb": site.price_usd_per_gb,
        "signals": fleet.site(index),
    })
}

/// Where the clients of sites are, as far as the sample of decisions tells.
pub(super) async fn flows(sources: SharedSources, _plain: Plain) -> Response {
    Shown::of(decisions::flows(&sources.recent, None))
}

/// How far the nodes of every set that rules choose from are readmitted.
pub(super) async fn sets(sources: SharedSources, _plain: Plain) -> Response {
    let sources = sources.0;
    if let Err(response) = published(&sources) {
        return response;
    }
    let view = sources.state.view.load();
    let pools = view
        .pools
        .iter()
        .map(|(pool, known)| json!({ "pool": pool, "view": known }));
    let parts = view
        .parts
        .iter()
        .map(|part| json!({ "pool": part.pool, "rule": part.rule, "view": part.view }));
    let rows = pools.chain(parts).filter_map(|mut row| {
        // One level: what a set is, and how it fares.
        let view = row.as_object_mut()?.remove("view")?;
        if let (Value::Object(fields), Value::Object(more)) = (&mut row, view) {
            fields.extend(more);
        }
        Some(row)
    });
    Shown::of(json!({ "sets": rows.collect::<Vec<Value>>() }))
}

/// The whole fleet in columns: what a page of 3,000 nodes lives on.
pub(super) async fn state(sources: SharedSources, _plain: Plain) -> Response {
    let sources = sources.0;
    let published = match published(&sources) {
        Ok(published) => published,
        Err(response) => return response,
    };
    let view = sources.state.view.load();
    let fleet = Fleet::of(&sources.state, &published, &view);
    Shown::of(columns(&fleet))
}

/// One column: a name and what each row has of it.
pub(super) type Column = (&'static str, Vec<Value>);

/// What a page lives on: what never changes of a fleet, and what does.
pub(super) fn columns(fleet: &Fleet<'_>) -> Value {
    let topology = fleet.topology();
    let mut sites = site_columns(fleet);
    sites.extend(fixed_site_columns(fleet));
    let mut nodes = node_columns(fleet);
    let all = topology.nodes().iter();
    nodes.push(("id", all.clone().map(|node| json!(node.id)).collect()));
    let site_of = |node: &Node| json!(node.site.get());
    nodes.push(("site", all.map(site_of).collect()));
    let tiers = topology.tiers();
    json!({
        "now_unix_ms": fleet.now_unix_ms, "generation": fleet.published.snapshot.generation(),
        "revision": fleet.published.revision, "whole": true, "tiers": tiers,
        "sites": object(sites), "nodes": object(nodes),
    })
}

pub(super) fn object(columns: Vec<Column>) -> Value {
    let columns = columns.into_iter();
    let columns = columns.map(|(name, values)| (name.to_owned(), Value::Array(values)));
    Value::Object(columns.collect())
}

fn fixed_site_columns(fleet: &Fleet<'_>) -> Vec<Column> {
    let sites = fleet.topology().sites();
    let column = |of: &dyn Fn(&Site) -> Value| sites.iter().map(of).collect();
    let city = |(index, _): (SiteIndex, &Site)| json!(fleet.labels_of(index).get("city"));
    vec![
        ("id", column(&|site| json!(site.id))),
        ("city", fleet.sites().map(city).collect()),
        (
            "country",
            column(&|site| json!(site.country.map(|it| it.to_string()))),
        ),
        ("tier", column(&|site| json!(site.tier.get()))),
        ("latitude", column(&|site| json!(site.location.latitude()))),
        (
            "longitude",
            column(&|site| json!(site.location.longitude())),
        ),
    ]
}

/// What changes of sites.
pub(super) fn site_columns(fleet: &Fleet<'_>) -> Vec<Column> {
    let standings: Vec<Standing> = fleet
        .sites()
        .map(|(index, _)| fleet.standing_of(index))
        .collect();
    let counted = |of: fn(&Counts) -> usize| fleet.counts.iter().map(|it| json!(of(it))).collect();
    let known = |of: &dyn Fn(&SiteView) -> Value| {
        let views = fleet.sites().map(|(index, _)| fleet.site(index));
        views.map(|view| view.map_or(Value::Null, of)).collect()
    };
    vec![
        ("mark", standings.iter().map(|it| json!(it.mark)).collect()),
        (
            "words",
            standings.iter().map(|it| json!(it.words)).collect(),
        ),
        ("nodes", counted(|it| it.nodes)),
        ("in_use", counted(|it| it.in_use)),
        ("out", counted(|it| it.out)),
        ("not_well", counted(|it| it.not_well)),
        ("tried", counted(|it| it.tried)),
        ("growing", counted(|it| it.growing)),
        ("drained", counted(|it| it.drained)),
        (
            "rate",
            known(&|view| coarse(Some(view.requests_per_second))),
        ),
        ("utilisation", known(&|view| coarse(view.utilisation))),
        ("hit_ratio", known(&|view| coarse(view.hit_ratio))),
        ("spill_ratio", known(&|view| coarse(Some(view.spill_ratio)))),
        (
            "unasked_ms",
            known(&|view| json!(view.unasked_ms.map(|ms| ms / 1_000 * 1_000))),
        ),
    ]
}

/// What changes of nodes.
pub(super) fn node_columns(fleet: &Fleet<'_>) -> Vec<Column> {
    let views: Vec<Option<&NodeView>> = fleet
        .topology()
        .indexed_nodes()
        .map(|(index, _)| fleet.node(index))
        .collect();
    let known = |of: fn(&NodeView) -> Option<f64>| {
        let views = views.iter();
        views.map(|view| coarse(view.and_then(of))).collect()
    };
    let standings = fleet.standings.iter();
    vec![
        ("mark", standings.clone().map(|it| json!(it.mark)).collect()),
        ("words", standings.map(|it| json!(it.words)).collect()),
        (
            "weight_ratio",
            known(|view| Some(f64::from(view.weight_ratio))),
        ),
        ("rate", known(|view| Some(view.requests_per_second))),
        ("utilisation", known(|view| view.utilisation.map(f64::from))),
        ("hit_ratio", known(|view| view.hit_ratio)),
        ("p50_ms", known(|view| view.service_p50_ms.map(f64::from))),
        ("p99_ms", known(|view| view.service_p99_ms.map(f64::from))),
    ]
}

/// Three significant digits: more is not shown, and would make every row change each second.
fn coarse(value: Option<f64>) -> Value {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return Value::Null;
    };
    if value.abs() < 0.001 {
        return json!(0);
    }
    let magnitude = value.abs().log10().floor();
    let scale = 10_f64.powf(2.0 - magnitude);
    json!((value * scale).round() / scale)
}
