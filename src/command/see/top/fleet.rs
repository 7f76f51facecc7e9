//! Sites and nodes as `/debug/stream` tells them: whole columns first, then the rows that changed.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::command::see::mark::Mark;

/// A site.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Site {
    pub(super) id: String,
    pub(super) city: Option<String>,
    pub(super) country: Option<String>,
    pub(super) mark: Mark,
    pub(super) words: String,
    pub(super) nodes: u64,
    pub(super) out: u64,
    /// Those that are tried with a slice of their keys.
    #[serde(default)]
    pub(super) tried: u64,
    pub(super) drained: u64,
    pub(super) rate: Option<f64>,
    pub(super) utilisation: Option<f64>,
    pub(super) hit_ratio: Option<f64>,
    /// Of the slowest of its nodes that are asked anything.
    #[serde(skip)]
    pub(super) p99_ms: Option<f64>,
}

/// A node.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Node {
    pub(super) id: String,
    /// Which of the sites.
    pub(super) site: usize,
    pub(super) mark: Mark,
    pub(super) words: String,
    pub(super) weight_ratio: Option<f64>,
    pub(super) rate: Option<f64>,
    pub(super) utilisation: Option<f64>,
    pub(super) hit_ratio: Option<f64>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) sites: Vec<Site>,
    pub(super) nodes: Vec<Node>,
}

/// Columns by name, all equally long.
#[derive(Debug, Default)]
pub(super) struct Columns(BTreeMap<String, Vec<Value>>);

impl Columns {
    /// Takes in what is told: everything anew, or the rows `i`.
    fn take(&mut self, told: &Map<String, Value>) {
        let lists = told
            .iter()
            .filter_map(|(name, list)| Some((name, list.as_array()?)));
        let Some(rows) = told.get("i").and_then(Value::as_array) else {
            self.0 = lists
                .map(|(name, list)| (name.clone(), list.clone()))
                .collect();
            return;
        };
        for (name, list) in lists.filter(|(name, _)| *name != "i") {
            let Some(column) = self.0.get_mut(name) else {
                continue;
            };
            for (row, value) in rows.iter().zip(list) {
                let row = row.as_u64().and_then(|row| usize::try_from(row).ok());
                if let Some(place) = row.and_then(|row| column.get_mut(row)) {
                    place.clone_from(value);
                }
            }
        }
    }

    /// The rows, each with its fields by name.
    pub(super) fn rows(&self) -> impl Iterator<Item = Value> + '_ {
        let count = self.0.get("id").map_or(0, Vec::len);
        (0..count).map(|row| {
            let columns = self.0.iter();
            let fields =
                columns.filter_map(|(name, column)| Some((name.clone(), column.get(row)?.clone())));
            Value::Object(fields.collect())
        })
    }

    fn read<T: DeserializeOwned>(&self) -> Result<Vec<T>, serde_json::Error> {
        self.rows().map(serde_json::from_value).collect()
    }
}

/// All columns.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) sites: Columns,
    pub(super) nodes: Columns,
}

impl Fleet {
    /// Takes in a whole state, or what has changed of it.
    pub(super) fn take(&mut self, told: &Value) {
        let of = |name: &str| told.get(name).and_then(Value::as_object);
        if let Some((sites, nodes)) = of("sites").zip(of("nodes")) {
            self.sites.take(sites);
            self.nodes.take(nodes);
        }
    }

    /// As rows.
    pub(super) fn read(&self) -> serde_json::Result<Rows> {
        let mut sites: Vec<Site> = self.sites.read()?;
        let nodes: Vec<Node> = self.nodes.read()?;
        for node in nodes
            .iter()
            .filter(|node| node.rate.is_some_and(|rate| rate > 0.0))
        {
            if let Some(site) = sites.get_mut(node.site) {
                let slowest = site.p99_ms.unwrap_or(0.0).max(node.p99_ms.unwrap_or(0.0));
                site.p99_ms = (slowest > 0.0).then_some(slowest);
            }
        }
        Ok(Rows { sites, nodes })
    }
}

/// What rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Sort {
    /// The worst mark first, of those alike the most asked
    #[default]
    Mark,
    /// The most asked first
    Rate,
    /// The highest utilisation first
    Load,
    /// The fewest hits first
    Hits,
    /// The slowest first
    P99,
    /// By name
    Name,
}

/// What a row is ordered by.
pub(super) struct Key<'r> {
    pub(super) id: &'r str,
    pub(super) mark: Mark,
    pub(super) rate: Option<f64>,
    pub(super) load: Option<f64>,
    pub(super) hits: Option<f64>,
    pub(super) p99: Option<f64>,
}

impl Sort {
    /// Puts rows into this order; what is not known comes last.
    pub(super) fn put<T>(self, rows: &mut [T], key: impl Fn(&T) -> Key<'_>) {
        let falling = |a: Option<f64>, b: Option<f64>| {
            let or_last = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
            or_last(b).total_cmp(&or_last(a))
        };
        rows.sort_by(|a, b| {
            let (a, b) = (key(a), key(b));
            let first = match self {
                Self::Mark => a.mark.cmp(&b.mark).then(falling(a.rate, b.rate)),
                Self::Rate => falling(a.rate, b.rate),
                Self::Load => falling(a.load, b.load),
                Self::Hits => falling(a.hits.map(|it| -it), b.hits.map(|it| -it)),
                Self::P99 => falling(a.p99, b.p99),
                Self::Name => a.id.cmp(b.id),
            };
            first.then_with(|| a.id.cmp(b.id))
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fleet() -> Fleet {
        let mut fleet = Fleet::default();
        fleet.take(&json!({
            "whole": true,
            "sites": { "id": ["A", "B"], "city": [null, "Bonn"], "country": ["DE", "DE"], "mark": ["well", "well"],
                "words": ["in use", "in use"], "nodes": [1, 1], "out": [0, 0], "drained": [0, 0], "rate": [1.0, 2.0],
                "utilisation": [null, 0.5], "hit_ratio": [0.9, 0.8] },
            "nodes": { "id": ["a-1", "b-1"], "site": [0, 1], "mark": ["well", "well"], "words": ["in use", "in use"],
                "weight_ratio": [1.0, 1.0], "rate": [1.0, 2.0], "utilisation": [null, 0.5], "hit_ratio": [0.9, 0.8],
                "p50_ms": [5.0, 7.0], "p99_ms": [50.0, 70.0] },
        }));
        fleet
    }

    #[test]
    fn changed_rows_are_laid_over_the_whole() {
        let mut fleet = fleet();
        fleet.take(&json!({
            "whole": false,
            "sites": { "i": [1], "mark": ["bad"], "rate": [0.0], "unheard_of": [1] },
            "nodes": { "i": [1, 9], "mark": ["a word of later", "bad"], "p99_ms": [null, 1.0], "rate": [0.0, 0.0] },
        }));
        let Rows { sites, nodes } = fleet.read().unwrap();
        let [a, b] = sites.as_slice() else {
            panic!("{sites:?}")
        };
        assert_eq!(
            (a.mark, a.p99_ms, b.mark, b.p99_ms),
            (Mark::Well, Some(50.0), Mark::Bad, None)
        );
        assert_eq!(b.city.as_deref(), Some("Bonn"));
        let marks: Vec<Mark> = nodes.iter().map(|node| node.mark).collect();
        assert_eq!(marks, [Mark::Well, Mark::Unknown]);
    }

    #[test]
    fn rows_stand_in_the_order_that_is_asked_for() {
        let mut sites = fleet().read().unwrap().sites;
        let mut ordered = |sort: Sort| {
            sort.put(&mut sites, |site| Key {
                id: &site.id,
                mark: site.mark,
                rate: site.rate,
                load: site.utilisation,
                hits: site.hit_ratio,
                p99: site.p99_ms,
            });
            sites.iter().map(|site| site.id.clone()).collect::<String>()
        };
        let orders = [
            Sort::Mark,
            Sort::Rate,
            Sort::Load,
            Sort::Hits,
            Sort::P99,
            Sort::Name,
        ];
        assert_eq!(
            orders.map(&mut ordered),
            ["BA", "BA", "BA", "BA", "BA", "AB"]
        );
    }
}
