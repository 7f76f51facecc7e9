//! Whole lists: the file holds fleets, policies, what is known of nodes, and requests, with the lists that each comes to.
//!
//! A request is added by hand, without what it comes to; `UPDATE=1` puts that down.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tradewind_engine::evaluate::{Evaluation, Pick, evaluate};
use tradewind_engine::explanation::{Explanation, SiteLine};
use tradewind_engine::geo::Location;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::hash;
use tradewind_engine::model::SiteIndex;
use tradewind_engine::policy::{self, SetNumber};
use tradewind_engine::query::{Client, Query};
use tradewind_engine::signal::hot::{HotKey, HotTable};
use tradewind_engine::signal::{
    Admission, NodeSignals, Readmission, Signals, SiteSignals, Standing,
};
use tradewind_engine::snapshot::{GeoState, Parts, Snapshot};
use tradewind_engine::topology;

/// The file, played: what every request comes to, in place of what is written there.
pub(crate) fn played(file: &Value) -> Value {
    let mut played = file.clone();
    played["version"] = hash::VERSION.into();
    let cases = played["cases"].as_array_mut().expect("a list");
    for case in cases {
        let topology = &file["topologies"][text(case, "topology")];
        let snapshot = snapshot(topology, &case["policy"], &case["known"]);
        let requests = case["requests"].as_array_mut().expect("a list");
        for request in requests {
            answer(&snapshot, request);
        }
    }
    played
}

/// As text, with everything that fits on one line.
pub(crate) fn print(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text.push('\n');
    text
}

fn write(value: &Value, indent: usize, text: &mut String) {
    let short = value.to_string();
    let (brackets, entries): (_, Vec<(String, &Value)>) = match value {
        Value::Array(values) if short.len() + indent > MAX_LINE => (
            ['[', ']'],
            values.iter().map(|value| (String::new(), value)).collect(),
        ),
        Value::Object(fields) if short.len() + indent > MAX_LINE => {
            let named = fields
                .iter()
                .map(|(name, value)| (format!("\"{name}\": "), value));
            (['{', '}'], named.collect())
        }
        _ => {
            text.push_str(&short);
            return;
        }
    };
    let line = |text: &mut String, indent| {
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', indent));
    };
    text.push(brackets[0]);
    for (at, (name, value)) in entries.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        line(text, indent + 1);
        text.push_str(name);
        write(value, indent + 1, text);
    }
    line(text, indent);
    text.push(brackets[1]);
}

const MAX_LINE: usize = 160;

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

fn snapshot(topology: &Value, policy: &Value, known: &Value) -> Snapshot {
    let document = |kind: &str, spec: &Value| {
        json!({"apiVersion": "tradewind/v1", "kind": kind, "spec": spec}).to_string()
    };
    let compiled = topology::compile("topology", &document("Topology", topology));
    let topology = compiled
        .topology
        .unwrap_or_else(|| panic!("{}", compiled.diagnostics.to_lines().join("\n")));
    let compiled = policy::compile("policy", &document("Policy", policy), &topology);
    let policy = compiled
        .policy
        .unwrap_or_else(|| panic!("{}", compiled.diagnostics.to_lines().join("\n")));
    let parts = Parts {
        topology: Arc::new(topology),
        policy: Arc::new(policy),
        candidate: None,
        geo: Arc::new(Ranges::default()),
        geo_state: GeoState::NotConfigured,
        here: None,
        signals: Arc::default(),
    };
    let plain = Snapshot::build(1, parts.clone(), None);
    let signals = Arc::new(signals(&plain, known));
    Snapshot::build(2, Parts { signals, ..parts }, None)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to a single is meant"
)]
fn single(value: &Value, default: f32) -> f32 {
    value.as_f64().map_or(default, |value| value as f32)
}

fn small<T: TryFrom<u64> + Default>(value: &Value) -> T {
    value
        .as_u64()
        .and_then(|value| T::try_from(value).ok())
        .unwrap_or_default()
}

/// What `known` says, as the control loop would.
fn signals(snapshot: &Snapshot, known: &Value) -> Signals {
    let (topology, policy) = (snapshot.topology(), snapshot.policy());
    let model = policy.routing().score();
    let standing = |(site, id): (SiteIndex, &str)| {
        let of = &known["sites"][id];
        let mut terms = model.standing_terms(site, &model.prior());
        terms.service = single(&of["service_ms"], terms.service);
        terms.queue = single(&of["queue_ms"], terms.queue);
        terms.miss = single(&of["miss_ms"], terms.miss);
        terms.error = single(&of["error_ms"], terms.error);
        Standing {
            terms,
            ..Standing::default()
        }
    };
    let ids = topology.sites().iter().map(|site| &*site.id);
    let sites: Vec<(SiteIndex, &str)> = (0..).map(SiteIndex).zip(ids).collect();
    let spill = |id: &str| SiteSignals {
        spill: small(&known["sites"][id]["spill"]),
        full: small(&known["sites"][id]["full"]),
        ..SiteSignals::default()
    };
    // Of a text that is compiled for the first time numbers are positions.
    let step = |set: SetNumber| {
        let of_set = policy.routing().pools().iter().filter(|pool| {
            pool.plan
                .tiers
                .iter()
                .any(|tier| tier.set.get() == set.get())
        });
        let told = of_set.map(|pool| text(&known["readmission"], &pool.name));
        let found = told.filter_map(|word| {
            Readmission::ALL
                .into_iter()
                .find(|step| step.name() == word)
        });
        found.max().unwrap_or_default()
    };
    let sets: Vec<SetNumber> = (0..)
        .map(SetNumber)
        .take(policy.routing().node_sets().len())
        .collect();
    let hot = hot_keys(known, &sites, &sets);
    Signals {
        nodes: topology
            .nodes()
            .iter()
            .map(|node| node_signals(&known["nodes"][&*node.id]))
            .collect(),
        sites: sites.iter().map(|(_, id)| spill(id)).collect(),
        standing: sites.iter().copied().map(standing).collect(),
        readmission: sets.iter().map(|set| step(*set)).collect(),
        hot: HotTable::new(hot),
        ..Signals::default()
    }
}

/// What is known of one node.
fn node_signals(of: &Value) -> NodeSignals {
    NodeSignals {
        admission: match text(of, "verdict") {
            "probing" => Admission::Probing {
                slice: small(&of["slice"]),
            },
            "unhealthy" => Admission::Unhealthy,
            "breaker_open" => Admission::BreakerOpen,
            _ => Admission::Admitted,
        },
        weight_factor: single(&of["weight"], 1.0),
        headroom: single(&of["headroom"], 1.0),
        spill: small(&of["spill"]),
        full: small(&of["full"]),
        shed: 0,
        is_hot: of["busy"].as_bool().unwrap_or_default(),
        in_flight: single(&of["in_flight"], 0.0),
        latency_ms: single(&of["latency_ms"], 0.0),
    }
}

/// The keys that several nodes carry, in every set.
fn hot_keys(known: &Value, sites: &[(SiteIndex, &str)], sets: &[SetNumber]) -> Vec<HotKey> {
    let hot = known["hot"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|one| {
            let parts = one["key"].as_array().into_iter().flatten();
            let parts: Vec<&[u8]> = parts.filter_map(Value::as_str).map(str::as_bytes).collect();
            let site = sites
                .iter()
                .find(|(_, id)| *id == text(one, "site"))
                .expect("a site")
                .0;
            let (key, copies) = (hash::key(&parts), small(&one["copies"]));
            sets.iter().map(move |set| HotKey {
                key,
                set: *set,
                site,
                share: 0.1,
                copies,
            })
        });
    hot.collect()
}

/// What the sites that have a node to name cost, as the bits of singles.
fn totals(
    snapshot: &Snapshot,
    query: &Query<'_>,
    evaluation: &Evaluation,
) -> BTreeMap<String, String> {
    let explanation = Explanation::new(snapshot, query, evaluation);
    let lines = explanation.sites.iter();
    let named = lines.filter(|line| line.admitted_nodes > 0);
    let total = |line: &SiteLine| {
        let bits = line.terms.total_ms().to_bits();
        let id = snapshot.topology().site(line.site).id.to_string();
        (id, format!("{bits:08x}"))
    };
    named.map(total).collect()
}

/// Puts down what a request comes to.
fn answer(snapshot: &Snapshot, request: &mut Value) {
    let asked = request.clone();
    let strings = |field: &str| -> Vec<&str> {
        asked[field]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    };
    let pairs = asked["headers"].as_array().into_iter().flatten();
    let headers: Vec<(&str, &str)> = pairs
        .map(|pair| {
            (
                pair[0].as_str().expect("a name"),
                pair[1].as_str().expect("a value"),
            )
        })
        .collect();
    let (tried, only) = (strings("tried"), strings("only"));
    let (lat, lon) = (asked["lat"].as_f64(), asked["lon"].as_f64());
    let query = Query {
        host: text(&asked, "host"),
        path: text(&asked, "path"),
        query_string: text(&asked, "query"),
        headers: &headers,
        child: asked["child"].as_str(),
        key: asked["key"].as_str().map(str::as_bytes),
        size_bytes: asked["size_bytes"].as_u64(),
        tried: &tried,
        only: &only,
        request_id: text(&asked, "request_id").as_bytes(),
        client: Client {
            ip: asked["ip"]
                .as_str()
                .map(|ip| ip.parse::<IpAddr>().expect("an address")),
            location: lat.zip(lon).and_then(|(lat, lon)| Location::new(lat, lon)),
            ..Client::default()
        },
        ..Query::default()
    };
    let topology = snapshot.topology();
    let of = |candidates| {
        evaluate(
            snapshot,
            &Query {
                candidates: Some(candidates),
                ..query.clone()
            },
        )
    };
    let list = |evaluation: Evaluation| -> Vec<String> {
        let entry = |pick: &Pick| format!("{} {}", topology.node(pick.node).id, pick.role.name());
        evaluation.picks.iter().map(entry).collect()
    };
    let longest = of(8);
    let id = |site: SiteIndex| topology.site(site).id.to_string();
    let totals = totals(snapshot, &query, &longest);
    request["cell"] = longest.located.spot.map(|spot| spot.cell.id()).into();
    request["hash"] = format!("{:016x}", longest.key.0).into();
    request["totals"] = json!(totals);
    request["scope"] = longest
        .scope_sites()
        .map(id)
        .collect::<Vec<String>>()
        .into();
    request["lists"] = (1..=8)
        .map(|candidates| list(of(candidates)))
        .collect::<Vec<_>>()
        .into();
}
