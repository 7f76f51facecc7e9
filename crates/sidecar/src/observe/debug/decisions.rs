//! The sample of recent decisions: short rows that can be filtered and paged, one with all that is known of it, and where
//! the clients of sites are.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::answer::{Shown, fault, refuse};
use super::{MAX_LISTED, Parameters, Plain, SharedSources, unknown};
use crate::intake::attempts::Attempt;
use crate::intake::recent::{Kept, NOTABLE_FACTOR, RecentDecisions};
use crate::wire::{number, proto};

/// Parameters of the list.
const KNOWN: [&str; 8] = [
    "contains", "rule", "site", "node", "reason", "country", "before", "limit",
];

/// Rows of a page unless said otherwise.
const ROWS: usize = 100;

/// Most flows that are listed.
const MAX_FLOWS: usize = 500;

/// Longest value of a filter, in bytes.
const MAX_FILTER: usize = 256;

/// A decision in a line.
#[derive(Debug, Serialize)]
pub(super) struct Row<'k> {
    number: u64,
    id: &'k str,
    at_unix_ms: u64,
    /// The client's network.
    client: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    country: &'k str,
    method: &'k str,
    host: &'k str,
    path: &'k str,
    rule: &'k str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'k str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'k str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_ms: Option<f32>,
    reason: &'k str,
    purity: &'k str,
    rung: &'k str,
    verdict: &'static str,
    words: String,
    key_hash: &'k str,
    /// How it ended, as far as that is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'k Attempt>,
}

impl<'k> Row<'k> {
    /// What is shown of a kept decision.
    pub(super) fn of(kept: &'k Kept) -> Self {
        let (asked, decided) = (&kept.request, &kept.decision);
        let first = decided.candidates.first();
        let client = asked.client.as_ref();
        Self {
            number: kept.number,
            id: &decided.decision_id,
            at_unix_ms: kept.at_unix_ms,
            client: client.map_or_else(String::new, |client| network(&client.ip)),
            country: country(kept),
            method: &asked.method,
            host: &asked.host,
            path: &asked.path,
            rule: &decided.rule,
            node: first.map(|first| &*first.node),
            site: first.map(|first| &*first.site),
            expected_ms: first.and_then(|first| first.expected_ms),
            reason: &decided.reason,
            purity: &decided.purity,
            rung: &decided.rung,
            verdict: match decided.verdict() {
                proto::Verdict::Route => "route",
                proto::Verdict::Shed => "shed",
                proto::Verdict::Refuse | proto::Verdict::Unspecified => "refuse",
            },
            words: decided.reason.replace('_', " "),
            key_hash: &kept.explanation.key_hash,
            outcome: kept.last_attempt(),
        }
    }
}

/// A kept address with how much of it is kept, see `mask`.
fn network(ip: &str) -> String {
    match ip {
        "" => String::new(),
        ip if ip.contains(':') => format!("{ip}/48"),
        ip => format!("{ip}/24"),
    }
}

/// The country that the client was taken to be in.
fn country(kept: &Kept) -> &str {
    let place = kept.explanation.client.as_ref();
    place.map_or("", |place| &place.country)
}

/// Which decisions somebody looks for.
#[derive(Debug, Default)]
struct Filter<'p> {
    contains: Option<&'p str>,
    rule: Option<&'p str>,
    site: Option<&'p str>,
    node: Option<&'p str>,
    reason: Option<&'p str>,
    country: Option<&'p str>,
}

impl<'p> Filter<'p> {
    fn of(parameters: &'p BTreeMap<String, String>) -> Self {
        let value = |name: &str| {
            let value = parameters.get(name).map(String::as_str);
            value.filter(|value| !value.is_empty())
        };
        Self {
            contains: value("contains"),
            rule: value("rule"),
            site: value("site"),
            node: value("node"),
            reason: value("reason"),
            country: value("country"),
        }
    }

    fn takes(&self, kept: &Kept) -> bool {
        let decided = &kept.decision;
        let first = decided.candidates.first();
        let is = |wanted: Option<&str>, value: Option<&str>| {
            wanted.is_none_or(|wanted| value == Some(wanted))
        };
        is(self.rule, Some(&decided.rule))
            && is(self.reason, Some(&decided.reason))
            && is(self.country, Some(country(kept)))
            && is(self.site, first.map(|first| &*first.site))
            && is(self.node, first.map(|first| &*first.node))
            && self.contains.is_none_or(|text| contains(kept, text))
    }
}

/// Whether the object, its key or the decision's id has this text.
fn contains(kept: &Kept, text: &str) -> bool {
    let asked = &kept.request;
    let fields = [
        &asked.path,
        &asked.host,
        &kept.explanation.key_hash,
        &kept.decision.decision_id,
    ];
    fields.iter().any(|field| field.contains(text))
}

#[derive(Debug, Serialize)]
struct Page<'k> {
    decisions: Vec<Row<'k>>,
    /// Of those that are kept, how many the filter takes, and how many it does not.
    matching: usize,
    not_matching: usize,
    kept: usize,
    capacity: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_unix_ms: Option<u64>,
    /// The share of decisions that are sampled, and how much more often those that are refused or degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_ratio: Option<f64>,
    notable_factor: f64,
    /// Samples that were lost because too many came at once.
    dropped: u64,
    /// Outcomes of kept decisions that were lost because too many came at once.
    outcomes_dropped: u64,
    /// What `before` is to be for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    older_before: Option<u64>,
}

/// A page of the sample, the newest first.
pub(super) async fn list(sources: SharedSources, parameters: Parameters) -> Response {
    let (sources, parameters) = (sources.0, parameters.0);
    let mut faults = unknown(&parameters, &KNOWN);
    let (mut limit, mut before) = (ROWS, u64::MAX);
    if let Some(value) = parameters.get("limit") {
        number("limit", value, &mut limit, &mut faults);
    }
    if let Some(value) = parameters.get("before") {
        number("before", value, &mut before, &mut faults);
    }
    let too_long = parameters
        .iter()
        .filter(|(_, value)| value.len() > MAX_FILTER);
    faults.extend(too_long.map(|(name, value)| {
        format!(
            "{name}: {} bytes are too long, at most {MAX_FILTER}",
            value.len()
        )
    }));
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let filter = Filter::of(&parameters);
    let all = sources.recent.recent(usize::MAX);
    let taken: Vec<&Arc<Kept>> = all.iter().filter(|kept| filter.takes(kept)).collect();
    let older = taken.iter().filter(|kept| kept.number < before);
    let rows: Vec<Row<'_>> = older
        .clone()
        .take(limit.min(MAX_LISTED))
        .map(|kept| Row::of(kept))
        .collect();
    let published = sources.state.published.load();
    let sampling = published
        .as_ref()
        .map(|it| it.snapshot.policy().sample_ratio());
    let has_more = older.count() > rows.len();
    Shown::of(Page {
        matching: taken.len(),
        not_matching: all.len() - taken.len(),
        kept: all.len(),
        capacity: sources.recent.capacity(),
        oldest_unix_ms: all.last().map(|kept| kept.at_unix_ms),
        sample_ratio: sampling,
        notable_factor: NOTABLE_FACTOR,
        dropped: sources.recent.dropped(),
        outcomes_dropped: sources.recent.told_dropped(),
        older_before: rows.last().map(|row| row.number).filter(|_| has_more),
        decisions: rows,
    })
}

/// One decision with all that is known of it.
pub(super) async fn one(sources: SharedSources, Path(id): Path<String>, _plain: Plain) -> Response {
    if let Some(kept) = sources.recent.find(&id) {
        return Shown::of(kept);
    }
    let why = "only a sample is kept, see decision_log.sample_ratio in the policy";
    fault(
        StatusCode::NOT_FOUND,
        &["no decision of that id is kept", why],
    )
}

/// From where clients are sent to a site.
#[derive(Debug, Serialize)]
pub(super) struct Flow {
    site: String,
    latitude: f64,
    longitude: f64,
    #[serde(skip_serializing_if = "String::is_empty")]
    country: String,
    decisions: u64,
    /// Of the sampled decisions for that site.
    share_ratio: f64,
}

/// Flows, those with most decisions first.
#[derive(Debug, Serialize)]
pub(super) struct Flows {
    pub(super) flows: Vec<Flow>,
    /// Decisions of the sample that they are made from.
    decisions: u64,
}

/// Decisions for the clients of a cell.
struct Cell<'k> {
    count: u64,
    place: &'k proto::ClientPlace,
}

/// Where the clients of all sites, or of one, are: by the sample, by cell.
pub(super) fn flows(recent: &RecentDecisions, wanted: Option<&str>) -> Flows {
    let all = recent.recent(usize::MAX);
    // By site and cell: how many, and where that is.
    let mut cells = BTreeMap::<(&str, u32), Cell<'_>>::new();
    let mut of_site: BTreeMap<&str, u64> = BTreeMap::new();
    for kept in &all {
        let place = kept.explanation.client.as_ref();
        let Some((first, place)) = kept.decision.candidates.first().zip(place) else {
            continue;
        };
        if wanted.is_some_and(|site| first.site != site) || place.cell_center.is_none() {
            continue;
        }
        cells
            .entry((&first.site, place.cell))
            .or_insert(Cell { count: 0, place })
            .count += 1;
        *of_site.entry(&first.site).or_default() += 1;
    }
    let decisions = of_site.values().sum();
    let mut flows: Vec<Flow> = cells
        .into_iter()
        .filter_map(|((site, _), Cell { count, place })| {
            let center = place.cell_center?;
            let all = of_site.get(site).copied().unwrap_or(count);
            Some(Flow {
                site: site.to_owned(),
                latitude: center.latitude,
                longitude: center.longitude,
                country: place.country.clone(),
                decisions: count,
                share_ratio: tradewind_engine::number::from_u64(count)
                    / tradewind_engine::number::from_u64(all),
            })
        })
        .collect();
    flows.sort_by(|a, b| {
        let by_count = b.decisions.cmp(&a.decisions);
        by_count.then_with(|| a.site.cmp(&b.site))
    });
    flows.truncate(if wanted.is_some() { 20 } else { MAX_FLOWS });
    Flows { flows, decisions }
}
