//! The families of a page of metrics, read from the older text format: there they are called like their samples.

use std::collections::{BTreeMap, BTreeSet};

use crate::server::{Server, Setup};

/// A family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub(crate) kind: String,
    pub(crate) help: String,
    /// Names of its labels, but for `le`.
    pub(crate) labels: BTreeSet<String>,
}

/// Families that have samples only in times that these tests do not have, with their labels.
const RARE: [(&str, &[&str]); 6] = [
    (
        "tradewind_breaker_transitions_total",
        &["node", "to", "cause"],
    ),
    ("tradewind_rollout_guard_state", &["guard", "metric"]),
    ("tradewind_rollout_info", &["digest", "phase", "stage"]),
    ("tradewind_rule_when_errors_total", &["rule"]),
    ("tradewind_shadow_disagreement_ratio", &["policy"]),
    ("tradewind_shadow_disagreements_total", &["kind", "rule"]),
];

/// All of a page, by their names.
fn read(page: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    for line in page.lines() {
        if let Some((name, help)) = line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '))
        {
            let family = families.entry(name.to_owned()).or_default();
            help.clone_into(&mut family.help);
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let family = families.entry(name.to_owned()).or_default();
            kind.clone_into(&mut family.kind);
        } else if let Some((name, labels)) = line.split_once('{') {
            let is_whole = families.contains_key(name);
            let family = if is_whole { name } else { stem(name) };
            let names = labels
                .split("=\"")
                .filter_map(|part| part.rsplit([',', '"']).next());
            let names = names.filter(|name| is_name(name) && *name != "le");
            families
                .get_mut(family)
                .unwrap()
                .labels
                .extend(names.map(str::to_owned));
        }
    }
    families
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// The family of a histogram's sample.
pub(crate) fn stem(name: &str) -> &str {
    let suffixes = ["_bucket", "_sum", "_count"];
    let mut stems = suffixes
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix));
    stems.next().unwrap_or(name)
}

/// Every family of a sidecar that was asked something and was told how it went.
pub(crate) async fn of(server: &Server) -> BTreeMap<String, Family> {
    // What only an outcome brings, and what is known of who told it.
    let told = ["signal_age_seconds", "reporter_failed_ratio"];
    let is_known = || {
        let page = server.metrics("text/plain").text();
        told.iter()
            .all(|name| page.contains(&format!("\ntradewind_{name}{{")))
    };
    server
        .until("the control loop has taken in what was told", is_known)
        .await;
    let mut families = read(&server.metrics("text/plain").text());
    for (name, labels) in RARE {
        let family = families.get_mut(name).unwrap();
        let labels = labels.iter().map(|label| (*label).to_owned());
        family.labels.extend(labels);
    }
    families
}

/// A sidecar as most are: the example fleet, and something decided and told.
pub(crate) async fn usual() -> Server {
    // Of a fleet, whose metrics there are too then.
    let setup = Setup::example().with("bus", "nats://127.0.0.1:1");
    let server = setup.start().await;
    crate::prometheus::tell(&server).await;
    server
}

#[test]
fn families_are_read_with_their_labels() {
    let families = read(
        "# HELP a_total As, {all}.\n# TYPE a_total counter\na_total{of=\"x=\\\"y\",by=\"z, u\"} 1\n\
         # HELP b_seconds Bs.\n# TYPE b_seconds histogram\nb_seconds_bucket{door=\"c\",le=\"+Inf\"} 1\nb_seconds_sum{door=\"c\"} 1\n",
    );
    let family = |kind: &str, help: &str, labels: &[&str]| Family {
        kind: kind.to_owned(),
        help: help.to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    let wanted = [
        (
            "a_total".to_owned(),
            family("counter", "As, {all}.", &["by", "of"]),
        ),
        (
            "b_seconds".to_owned(),
            family("histogram", "Bs.", &["door"]),
        ),
    ];
    assert_eq!(families, BTreeMap::from(wanted));
}
