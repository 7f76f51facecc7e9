//! Looks at counters every few seconds and remembers: the past that pages show is made here, off the request path.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, MissedTickBehavior};

use super::metrics::{Sources, verdict_of};
use super::moves;
use crate::clock;
use crate::intake::counters::DecisionCounters;
use crate::state::Published;
use crate::view::history::{FINE_MS, Reading};
use crate::view::in_use;
use tradewind_engine::decision::Purity;
use tradewind_engine::evaluate::{Reason, Verdict};

/// How often the revision in force is looked at: what a change moved is told within it.
const LOOK: Duration = Duration::from_millis(500);

/// Looks until it is aborted.
pub async fn record_all(sources: Sources) {
    let mut look = time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut recorder = Recorder {
        sources,
        last_slot: None,
        published: None,
    };
    loop {
        look.tick().await;
        recorder.look().await;
    }
}

struct Recorder {
    sources: Sources,
    /// The slot that was recorded last, and when.
    last_slot: Option<(u64, u64)>,
    /// What was in force when it was looked last.
    published: Option<Arc<Published>>,
}

impl Recorder {
    async fn look(&mut self) {
        let now = clock::unix_ms();
        let since_start = now.saturating_sub(self.sources.process.started_unix_ms);
        let slot = since_start / FINE_MS;
        if self.last_slot.is_none_or(|(last, _)| last != slot) {
            let reading = reading(&self.sources);
            self.sources.state.history.record(since_start, reading);
            let passed = self
                .last_slot
                .map_or(FINE_MS, |(_, at)| now.saturating_sub(at));
            self.record_rules(now, passed);
            self.last_slot = Some((slot, now));
        }
        let published = self.sources.state.published.load_full();
        let before = std::mem::replace(&mut self.published, published.clone());
        if let Some((before, after)) = before.zip(published)
            && before.revision != after.revision
        {
            self.compare(before, after).await;
        }
    }

    fn record_rules(&self, now: u64, passed: u64) {
        let sources = &self.sources;
        let names = sources.state.row_names.decided.load();
        let rows = 0..names.len().max(1);
        let counts = rows.map(|row| (row, sources.sum(|worker| worker.by_rule(row))));
        sources.state.rule_hits.record((now, passed), counts);
    }

    /// What a revision moved. Deciding a thousand requests twice takes milliseconds, on a thread that may take its time.
    async fn compare(&self, before: Arc<Published>, after: Arc<Published>) {
        let recent = self.sources.recent.recent(usize::MAX);
        let compared =
            tokio::task::spawn_blocking(move || moves::compare(&before, &after, &recent)).await;
        if let Ok(moved) = compared {
            self.sources.moves.add(moved);
        }
    }
}

/// What counters and gauges say now.
fn reading(sources: &Sources) -> Reading {
    let (decisions, refused) = decided(sources);
    let (attempts, failed) = sources.reports.attempts();
    let view = sources.state.view.load();
    let published = sources.state.published.load();
    let nodes = published.as_ref().map(|published| {
        let used = in_use::of_nodes(&published.snapshot);
        let whole = used.iter().filter(|how| **how == in_use::Use::Whole);
        (used.len() - whole.count(), used.len())
    });
    let (_, moved) = &view.disruption;
    Reading {
        decisions,
        refused,
        unanswered: sources.sum(DecisionCounters::unanswered),
        attempts,
        failed,
        moved: moved.moved,
        needless: moved.excess,
        times_ms: view.times_ms,
        hit_ratio: view.hit_ratio,
        nodes,
        timed: timed(sources),
    }
}

/// All decisions, and those that name no node.
fn decided(sources: &Sources) -> (u64, u64) {
    let rows = sources.state.row_names.pools.load().len();
    let (mut all, mut refused) = (0, 0);
    for row in 0..rows {
        for reason in Reason::ALL {
            for purity in Purity::ALL {
                let count = sources.sum(|worker| worker.decisions(row, *reason, *purity));
                all += count;
                let is_refused = verdict_of(*reason) == Verdict::Refuse;
                refused += if is_refused { count } else { 0 };
            }
        }
    }
    (all, refused)
}

/// Decisions timed by step, in microseconds.
fn timed(sources: &Sources) -> Vec<(f64, u64)> {
    let steps = sources.durations().into_iter();
    steps.map(|(bound, count)| (bound * 1e6, count)).collect()
}
