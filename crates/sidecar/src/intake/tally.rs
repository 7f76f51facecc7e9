//! What is counted of reports: taken, refused with a reason, dropped on the way to the writer.
//!
//! One set of counters for each worker, written by it alone, like those of decisions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use crate::intake::handover::Intake;
use crate::wire::report::RefusedReason;
use tradewind_engine::signal::observation::AttemptResult;

/// What can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReportKind {
    /// How an attempt went.
    Outcome,
    /// How loaded a node is.
    Load,
    /// How long a node took to answer.
    Histogram,
}

impl ReportKind {
    /// Every value, in order.
    pub const ALL: &'static [Self] = &[Self::Outcome, Self::Load, Self::Histogram];

    /// The word used in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::Load => "load",
            Self::Histogram => "histogram",
        }
    }
}

/// What one worker counts. Only that worker writes.
#[derive(Debug, Default)]
pub struct ReportCounters {
    outcomes: [AtomicU64; AttemptResult::ALL.len()],
    refused: [[AtomicU64; RefusedReason::ALL.len()]; ReportKind::ALL.len()],
}

impl ReportCounters {
    /// Counts an outcome that was taken.
    pub fn count_outcome(&self, result: AttemptResult) {
        if let Some(counter) = self.outcomes.get(result as usize) {
            bump(counter, 1);
        }
    }

    /// Counts items that were refused.
    pub fn count_refused(&self, kind: ReportKind, reason: RefusedReason, count: u64) {
        if let Some(counter) = self.refused_cell(kind, reason) {
            bump(counter, count);
        }
    }

    fn refused_cell(&self, kind: ReportKind, reason: RefusedReason) -> Option<&AtomicU64> {
        self.refused.get(kind as usize)?.get(reason as usize)
    }
}

/// A load and a store instead of an atomic addition: each counter has one writer.
fn bump(counter: &AtomicU64, by: u64) {
    let count = counter.load(Ordering::Relaxed).wrapping_add(by);
    counter.store(count, Ordering::Relaxed);
}

/// What is counted of reports, for `/metrics`.
#[derive(Debug, Clone)]
pub struct ReportSources {
    /// What each worker counts.
    pub workers: Vec<Arc<ReportCounters>>,
    /// The ways to the writer.
    pub intake: Arc<Intake>,
}

impl ReportSources {
    /// Writes all families.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counter = MetricType::Counter;
        let help = "Outcomes of attempts that were told and taken, by result";
        let mut family = encoder.encode_descriptor("outcomes", help, None, counter)?;
        for result in AttemptResult::ALL {
            let count = self.sum(|worker| worker.outcomes.get(result as usize));
            ConstCounter::new(count).encode(family.encode_family(&[("result", result.name())])?)?;
        }
        let help = "Reports that were told and refused, by kind and reason";
        let mut family =
            encoder.encode_descriptor("reports_refused", help, None, MetricType::Counter)?;
        for kind in ReportKind::ALL {
            for reason in RefusedReason::ALL {
                let count = self.sum(|worker| worker.refused_cell(*kind, *reason));
                let labels = [("kind", kind.name()), ("reason", reason.name())];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        self.encode_dropped(encoder)
    }

    /// Outcomes that were taken, and those of them that failed.
    pub fn attempts(&self) -> (u64, u64) {
        let mut all = (0, 0);
        for result in AttemptResult::ALL {
            let count = self.sum(|worker| worker.outcomes.get(result as usize));
            let failed = if result == AttemptResult::Ok {
                0
            } else {
                count
            };
            all = (all.0 + count, all.1 + failed);
        }
        all
    }

    fn encode_dropped(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Decisions and reports that the writer did not come to take, by queue";
        let mut family =
            encoder.encode_descriptor("reports_dropped", help, None, MetricType::Counter)?;
        let mut sums = [("dispatches", 0), ("reports", 0), ("histograms", 0)];
        for handover in self.intake.handovers() {
            let dropped = handover.dropped();
            let counts = [dropped.dispatches, dropped.reports, dropped.histograms];
            for ((_, sum), count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        for (queue, sum) in sums {
            ConstCounter::new(sum).encode(family.encode_family(&[("queue", queue)])?)?;
        }
        Ok(())
    }

    fn sum<'a>(&'a self, counter: impl Fn(&'a ReportCounters) -> Option<&'a AtomicU64>) -> u64 {
        let counters = self.workers.iter().filter_map(|worker| counter(worker));
        counters
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_reasons_stand_at_their_own_places() {
        for (at, reason) in RefusedReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
        }
        for (at, kind) in ReportKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, at);
        }
    }
}
