//! What is kept of a replay: counts, histograms and digests, whatever the log's length.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::asking::Outcome;
use super::digest::Digest;
use super::report::{Report, Share, Spread, StabilityReport};
use super::stability::Stability;
use crate::command::trace::Told;
use crate::command::world::World;
use crate::engine::geo::distance::{UnitVector, chord_squared, distance_km};
use crate::sidecar::wire::proto;

/// Most names that are counted one by one; a fleet has fewer, a strange server may not.
const MAX_NAMES: usize = 100_000;

/// What names beyond that are counted as.
const OTHER: &str = "(other)";

/// How often each name came.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<String, u64>);

/// Values of one kind, in a unit small enough to be whole numbers.
#[derive(Debug)]
struct Values {
    histogram: Option<Histogram<u64>>,
    per_unit: f64,
}

/// All that is kept.
#[derive(Debug)]
pub(super) struct Tally {
    decided: u64,
    sites: Counts,
    nodes: Counts,
    rules: Counts,
    reasons: Counts,
    verdicts: Counts,
    purity: Counts,
    notes: Counts,
    distance_km: Values,
    expected_ms: Values,
    decision_us: Values,
    site_points: BTreeMap<String, UnitVector>,
    has_world: bool,
    stability: Stability,
    digest: Digest,
}

impl Tally {
    /// Nothing yet. Distances are taken where `world` knows the sites.
    pub(super) fn new(world: Option<&World>) -> Self {
        let sites = world.map(|world| world.snapshot.topology().sites());
        let site_points = sites
            .unwrap_or_default()
            .iter()
            .map(|site| (site.id.to_string(), site.point))
            .collect();
        Self {
            decided: 0,
            sites: Counts::default(),
            nodes: Counts::default(),
            rules: Counts::default(),
            reasons: Counts::default(),
            verdicts: Counts::default(),
            purity: Counts::default(),
            notes: Counts::default(),
            distance_km: Values::new(10.0),
            expected_ms: Values::new(1_000.0),
            decision_us: Values::new(1_000.0),
            site_points,
            has_world: world.is_some(),
            stability: Stability::default(),
            digest: Digest::default(),
        }
    }

    /// Counts an answer.
    pub(super) fn add(&mut self, outcome: &Outcome) {
        let Outcome {
            answer,
            facts,
            took,
        } = outcome;
        self.decided += 1;
        self.verdicts.add(match answer.verdict() {
            proto::Verdict::Route => "route",
            proto::Verdict::Refuse => "refuse",
            proto::Verdict::Shed => "shed",
            proto::Verdict::Unspecified => "unknown",
        });
        self.rules.add(match answer.rule.as_str() {
            "" => "(none)",
            rule => rule,
        });
        self.reasons.add(&answer.reason);
        self.purity.add(&answer.purity);
        answer.notes.iter().for_each(|note| self.notes.add(note));
        if let Some(first) = answer.candidates.first() {
            self.sites.add(&first.site);
            self.nodes.add(&first.node);
            if let Some(expected_ms) = first.expected_ms {
                self.expected_ms.add(f64::from(expected_ms));
            }
            let site = self.site_points.get(&first.site);
            if let Some((client, site)) = facts.client.zip(site.copied()) {
                let km = distance_km(chord_squared(client, site));
                self.distance_km.add(f64::from(km));
            }
        }
        self.decision_us.add(took.as_secs_f64() * 1e6);
        self.stability.check(facts.unit, answer);
        self.digest.add(answer);
    }

    /// The report, of what was `read` in the time that the whole replay `took`, reading included.
    pub(super) fn report(self, by: String, (read, took): (Told, Duration), top: usize) -> Report {
        let seconds = took.as_secs_f64();
        Report {
            decided_by: by,
            read,
            decided: self.decided,
            sites_used: self.sites.0.len(),
            nodes_used: self.nodes.0.len(),
            sites: self.sites.top(top),
            nodes: self.nodes.top(top),
            rules: self.rules.top(top),
            verdicts: self.verdicts.top(usize::MAX),
            reasons: self.reasons.top(usize::MAX),
            purity: self.purity.top(usize::MAX),
            notes: self.notes.top(usize::MAX),
            distance_km: self.distance_km.spread(),
            expected_ms: self.expected_ms.spread(),
            decision_us: self.decision_us.spread(),
            seconds,
            decisions_per_second: if seconds > 0.0 {
                count_f64(self.decided) / seconds
            } else {
                0.0
            },
            stability: (self.decided > 0).then(|| StabilityReport {
                by: if self.has_world {
                    "key and client group"
                } else {
                    "request and client address"
                },
                pairs: self.stability.followed(),
                compared: self.stability.compared,
                violations: self.stability.violations,
                not_followed: self.stability.not_followed,
            }),
            digest_any_order: self.digest.any_order(),
            digest_in_order: self.digest.in_order(),
        }
    }
}

impl Counts {
    fn add(&mut self, name: &str) {
        if let Some(count) = self.0.get_mut(name) {
            *count += 1;
        } else if self.0.len() < MAX_NAMES {
            self.0.insert(name.to_owned(), 1);
        } else {
            *self.0.entry(OTHER.to_owned()).or_default() += 1;
        }
    }

    /// The most frequent, with their share of all.
    fn top(&self, most: usize) -> Vec<Share> {
        let total: u64 = self.0.values().sum();
        let mut all: Vec<(&String, u64)> = self.0.iter().map(|(name, n)| (name, *n)).collect();
        // Equal counts stay in the order of their names.
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all.into_iter()
            .take(most)
            .map(|(name, count)| Share {
                name: name.clone(),
                count,
                of_all: count_f64(count) / count_f64(total),
            })
            .collect()
    }
}

impl Values {
    /// No value yet; `per_unit` steps are told apart in one unit.
    fn new(per_unit: f64) -> Self {
        // Three digits, and growing with what comes: some 100 KB at most.
        Self {
            histogram: Histogram::new(3).ok(),
            per_unit,
        }
    }

    fn add(&mut self, value: f64) {
        let steps = whole(value * self.per_unit);
        // A histogram that grows takes any number.
        let recorded = self.histogram.as_mut().map(|h| h.record(steps));
        debug_assert!(recorded.is_none_or(|outcome| outcome.is_ok()));
    }

    fn spread(&self) -> Option<Spread> {
        let histogram = self.histogram.as_ref().filter(|h| !h.is_empty())?;
        let unit = |steps: u64| count_f64(steps) / self.per_unit;
        Some(Spread {
            count: histogram.len(),
            mean: histogram.mean() / self.per_unit,
            p50: unit(histogram.value_at_quantile(0.5)),
            p90: unit(histogram.value_at_quantile(0.9)),
            p99: unit(histogram.value_at_quantile(0.99)),
            max: unit(histogram.max()),
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and takes what is no number for 0"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of lines stay far below 2^53"
)]
fn count_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first_and_ties_by_name() {
        let mut counts = Counts::default();
        for name in ["b", "c", "a", "c"] {
            counts.add(name);
        }
        let top: Vec<(String, u64)> = counts
            .top(2)
            .into_iter()
            .map(|s| (s.name, s.count))
            .collect();
        assert_eq!(top, [("c".to_owned(), 2), ("a".to_owned(), 1)]);
        assert!((counts.top(1)[0].of_all - 0.5).abs() < 1e-12);
    }

    #[test]
    fn values_spread_in_their_unit() {
        let mut values = Values::new(1_000.0);
        assert!(values.spread().is_none());
        for value in 1..=100 {
            values.add(f64::from(value));
        }
        let spread = values.spread().unwrap();
        assert!(
            (spread.p50 - 50.0).abs() < 0.1 && (spread.max - 100.0).abs() < 0.1,
            "{spread:?}"
        );
        assert!((spread.mean - 50.5).abs() < 0.1, "{spread:?}");
    }
}
