//! All that `top` shows, as it is at one moment.

use serde::Deserialize;
use serde_json::{Value, json};

use super::fleet::{Fleet, Node, Site};
use crate::command::see::rows::{Overview, Sidecar};

/// What the last hours were; of that, the newest numbers.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct History {
    failed_per_s: Vec<Option<f64>>,
    p50_ms: Vec<Option<f64>>,
    p99_ms: Vec<Option<f64>>,
}

/// Numbers of the last seconds that the overview does not have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recent {
    pub(super) failed_per_s: Option<f64>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
}

impl From<History> for Recent {
    fn from(history: History) -> Self {
        let newest = |column: &[Option<f64>]| column.last().copied().flatten();
        Self {
            failed_per_s: newest(&history.failed_per_s),
            p50_ms: newest(&history.p50_ms),
            p99_ms: newest(&history.p99_ms),
        }
    }
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) sidecar: Sidecar,
    pub(super) overview: Overview,
    pub(super) recent: Recent,
    pub(super) sites: Vec<Site>,
    pub(super) nodes: Vec<Node>,
}

impl Moment {
    /// The time of day in UTC, to the second.
    pub(super) fn time(&self) -> &str {
        time_of(&self.overview.now)
    }

    /// Nodes that are out, as the overview counts them: at a site that is out, those that are tried are too.
    pub(super) fn out(&self) -> u64 {
        self.sites.iter().map(|site| site.out).sum()
    }

    /// For programs, on one line; sites and nodes as `fleet` has them.
    pub(super) fn json(&self, fleet: &Fleet) -> Value {
        let sites: Vec<Value> = fleet.sites.rows().collect();
        let site_of = |node: &Value| {
            let index = node.get("site").and_then(Value::as_u64)?;
            let site = sites.get(usize::try_from(index).ok()?)?;
            site.get("id").cloned()
        };
        let nodes: Vec<Value> = fleet
            .nodes
            .rows()
            .map(|mut node| {
                let site = site_of(&node).unwrap_or_default();
                if let Some(fields) = node.as_object_mut() {
                    fields.insert("site".to_owned(), site);
                }
                node
            })
            .collect();
        json!({
            "now_unix_ms": self.overview.now_unix_ms, "now": self.overview.now,
            "ready": self.overview.ready, "revision": self.overview.revision, "headline": self.overview.headline,
            "decisions_per_s": self.overview.decisions_per_s, "refused_per_s": self.overview.refused_per_s,
            "failed_per_s": self.recent.failed_per_s, "p50_ms": self.recent.p50_ms, "p99_ms": self.recent.p99_ms,
            "nodes_out": self.out(), "sites": sites, "nodes": nodes,
        })
    }
}

/// The time of day of an instant in RFC 3339.
pub(super) fn time_of(instant: &str) -> &str {
    instant.get(11..19).unwrap_or(instant)
}
