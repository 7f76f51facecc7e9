//! The last hours in numbers, for whoever looks only now: two rings, of five and of thirty seconds a slot.
//!
//! A slot is made from the difference of two [`Reading`]s, or is what the later one says. What is not known of a slot is
//! NaN in memory and `null` outside.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tradewind_engine::number::{from_u64, narrow};

/// Length of a slot of the fine ring, in ms.
pub const FINE_MS: u64 = 5_000;

/// Slots of the fine ring that make one of the coarse ring.
const FINE_IN_COARSE: usize = 6;

/// Length of a slot of the coarse ring, in ms.
const COARSE_MS: u64 = 30_000;

/// Slots of each ring: an hour of fine ones and six of coarse ones, 80 KB together.
const SLOTS: usize = 720;

/// What is known of each slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Decisions a second.
    Decisions,
    /// Those of them that were refused.
    Refused,
    /// Requests a second that were answered without a decision: they could not be read, or nothing was in force.
    Unanswered,
    /// Outcomes told a second.
    Attempts,
    /// Those of them that failed.
    Failed,
    /// Median time to the first byte at all nodes, in ms, without fetches.
    P50,
    /// 99th percentile of that.
    P99,
    /// Share of answers that came from a cache.
    HitRatio,
    /// Nodes that are not used for all of their keys.
    NodesOut,
    /// Nodes.
    Nodes,
    /// Share of the probe keys that got another node.
    Moved,
    /// The part of it that nothing made necessary.
    Needless,
    /// Median time of a decision, in microseconds.
    DecideP50,
    /// 99th percentile of that.
    DecideP99,
}

/// How fine slots become a coarse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joining {
    Mean,
    Sum,
    Most,
}

const COLUMNS: usize = Column::ALL.len();

impl Column {
    /// Every column, in order.
    pub const ALL: &'static [Self] = &[
        Self::Decisions,
        Self::Refused,
        Self::Unanswered,
        Self::Attempts,
        Self::Failed,
        Self::P50,
        Self::P99,
        Self::HitRatio,
        Self::NodesOut,
        Self::Nodes,
        Self::Moved,
        Self::Needless,
        Self::DecideP50,
        Self::DecideP99,
    ];

    /// Its name in JSON, with its unit.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decisions => "decisions_per_s",
            Self::Refused => "refused_per_s",
            Self::Unanswered => "unanswered_per_s",
            Self::Attempts => "attempts_per_s",
            Self::Failed => "failed_per_s",
            Self::P50 => "p50_ms",
            Self::P99 => "p99_ms",
            Self::HitRatio => "hit_ratio",
            Self::NodesOut => "nodes_out",
            Self::Nodes => "nodes",
            Self::Moved => "moved_ratio",
            Self::Needless => "needless_ratio",
            Self::DecideP50 => "decide_p50_us",
            Self::DecideP99 => "decide_p99_us",
        }
    }

    const fn joining(self) -> Joining {
        match self {
            Self::Moved | Self::Needless => Joining::Sum,
            // A short bad time is what is looked for.
            Self::P99 | Self::DecideP99 | Self::NodesOut | Self::Nodes => Joining::Most,
            _ => Joining::Mean,
        }
    }
}

/// What counters and gauges say at one moment. Counts are since the start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Decisions.
    pub decisions: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Requests that were answered without a decision.
    pub unanswered: u64,
    /// Outcomes that were told.
    pub attempts: u64,
    /// Those that failed.
    pub failed: u64,
    /// Share of the probe keys that moved, all publications together.
    pub moved: f64,
    /// The part of it that nothing made necessary.
    pub needless: f64,
    /// Median and 99th percentile of times at nodes, in ms.
    pub times_ms: Option<(f64, f64)>,
    /// Share of answers that came from a cache.
    pub hit_ratio: Option<f64>,
    /// Nodes that are not used for all of their keys, and all.
    pub nodes: Option<(usize, usize)>,
    /// Decisions timed: the longest time of each step in microseconds, and how many were not longer than it but than the
    /// one before.
    pub timed: Vec<(f64, u64)>,
}

/// What a slot holds, by column.
#[derive(Debug, Clone, Copy)]
struct Slot([f32; COLUMNS]);

impl Slot {
    const UNKNOWN: Self = Self([f32::NAN; COLUMNS]);

    fn get(&self, column: Column) -> Option<f32> {
        let value = self.0.get(column as usize).copied();
        value.filter(|value| !value.is_nan())
    }

    fn set(&mut self, column: Column, value: f32) {
        if let Some(place) = self.0.get_mut(column as usize) {
            *place = value;
        }
    }
}

/// The rings.
#[derive(Debug, Default)]
pub struct History(Mutex<Rings>);

#[derive(Debug, Default)]
struct Rings {
    fine: Ring,
    coarse: Ring,
    last: Option<(u64, Reading)>,
}

/// The newest last; slots are numbered by time, so that a gap stays a gap.
#[derive(Debug, Default)]
struct Ring {
    slots: VecDeque<Slot>,
    /// The number after the newest.
    next: u64,
}

/// A number of each slot, where it is known.
pub type Values = Vec<Option<f32>>;

/// Slots of one ring, the oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// Length of a slot, in ms.
    pub step_ms: u64,
    /// When the last slot ends, ms since the start of the process.
    pub until_ms: u64,
    /// Every column, as long as each other.
    pub columns: Vec<(Column, Values)>,
}

/// How far back somebody wants to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Fifteen minutes.
    Quarter,
    /// An hour.
    Hour,
    /// Six hours.
    Watch,
}

impl Range {
    /// Every value, the shortest first.
    pub const ALL: &'static [Self] = &[Self::Quarter, Self::Hour, Self::Watch];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quarter => "15m",
            Self::Hour => "1h",
            Self::Watch => "6h",
        }
    }
}

impl History {
    /// Takes what is so at `now_ms` since the start of the process, and closes the slot that ends there.
    pub fn record(&self, now_ms: u64, reading: Reading) {
        let mut rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now_ms / FINE_MS;
        let last = rings.last.take();
        let since = last.filter(|(at, _)| *at < now_ms);
        let slot = since.map(|(at, before)| reading.since(&before, now_ms - at));
        rings.last = Some((now_ms, reading));
        let (Some(slot), Some(ended)) = (slot, number.checked_sub(1)) else {
            return;
        };
        rings.fine.put(ended, slot);
        let coarse = now_ms / COARSE_MS;
        if coarse > rings.coarse.next {
            let parts = rings.fine.last(FINE_IN_COARSE);
            rings.coarse.put(coarse - 1, joined(&parts));
        }
    }

    /// What is known of the time up to now.
    pub fn stretch(&self, range: Range) -> Stretch {
        let rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (ring, step_ms, slots) = match range {
            Range::Quarter => (&rings.fine, FINE_MS, SLOTS / 4),
            Range::Hour => (&rings.fine, FINE_MS, SLOTS),
            Range::Watch => (&rings.coarse, COARSE_MS, SLOTS),
        };
        let kept = ring.last(slots);
        let columns = Column::ALL.iter().map(|column| {
            let values = kept.iter().map(|slot| slot.get(*column));
            (*column, values.collect())
        });
        Stretch {
            step_ms,
            until_ms: ring.next * step_ms,
            columns: columns.collect(),
        }
    }

    /// The newest slot's value of a column, if it is known.
    pub fn newest(&self, column: Column) -> Option<f32> {
        let rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rings.fine.slots.back()?.get(column)
    }
}

impl Ring {
    fn put(&mut self, number: u64, slot: Slot) {
        if number < self.next {
            return;
        }
        let gap = usize::try_from(number - self.next).unwrap_or(SLOTS);
        for _ in 0..gap.min(SLOTS) {
            self.push(Slot::UNKNOWN);
        }
        self.push(slot);
        self.next = number + 1;
    }

    fn push(&mut self, slot: Slot) {
        if self.slots.len() >= SLOTS {
            self.slots.pop_front();
        }
        self.slots.push_back(slot);
    }

    /// The last so many, the oldest first; unknown ones stand before the first.
    fn last(&self, count: usize) -> Vec<Slot> {
        let missing = count.saturating_sub(self.slots.len());
        let skipped = self.slots.len().saturating_sub(count);
        let kept = self.slots.iter().skip(skipped).copied();
        std::iter::repeat_n(Slot::UNKNOWN, missing)
            .chain(kept)
            .collect()
    }
}

impl Reading {
    fn since(&self, before: &Self, ms: u64) -> Slot {
        let seconds = from_u64(ms) / 1_000.0;
        let rate = |now: u64, before: u64| Some(from_u64(now.saturating_sub(before)) / seconds);
        let more = |now: f64, before: f64| Some((now - before).max(0.0));
        let nodes = |count: usize| from_u64(count as u64);
        let decided = quantiles_us(&self.timed, &before.timed);
        let mut slot = Slot::UNKNOWN;
        for column in Column::ALL {
            let value = match column {
                Column::Decisions => rate(self.decisions, before.decisions),
                Column::Refused => rate(self.refused, before.refused),
                Column::Unanswered => rate(self.unanswered, before.unanswered),
                Column::Attempts => rate(self.attempts, before.attempts),
                Column::Failed => rate(self.failed, before.failed),
                Column::P50 => self.times_ms.map(|(p50, _)| p50),
                Column::P99 => self.times_ms.map(|(_, p99)| p99),
                Column::HitRatio => self.hit_ratio,
                Column::NodesOut => self.nodes.map(|(out, _)| nodes(out)),
                Column::Nodes => self.nodes.map(|(_, all)| nodes(all)),
                Column::Moved => more(self.moved, before.moved),
                Column::Needless => more(self.needless, before.needless),
                Column::DecideP50 => decided.map(|(p50, _)| p50),
                Column::DecideP99 => decided.map(|(_, p99)| p99),
            };
            if let Some(value) = value {
                slot.set(*column, narrow(value));
            }
        }
        slot
    }
}

/// Upper bounds of the steps that the median and the 99th percentile of what was timed in between fall into; `None`
/// where nothing was, or where they are beyond all bounds.
fn quantiles_us(now: &[(f64, u64)], before: &[(f64, u64)]) -> Option<(f64, f64)> {
    let earlier = before.iter().map(|(_, count)| *count);
    let earlier = earlier.chain(std::iter::repeat(0));
    let steps = now.iter().zip(earlier);
    let steps: Vec<(f64, u64)> = steps
        .map(|((bound, count), earlier)| (*bound, count.saturating_sub(earlier)))
        .collect();
    let all: u64 = steps.iter().map(|(_, count)| count).sum();
    let at = |quantile: f64| {
        let rank = (quantile * from_u64(all)).ceil().max(1.0);
        let mut seen = 0;
        let found = steps.iter().find(|(_, count)| {
            seen += count;
            from_u64(seen) >= rank
        });
        found.map(|(bound, _)| *bound).filter(|us| us.is_finite())
    };
    (all > 0).then(|| at(0.5).zip(at(0.99)))?
}

fn joined(parts: &[Slot]) -> Slot {
    let mut slot = Slot::UNKNOWN;
    for column in Column::ALL {
        let known: Vec<f32> = parts.iter().filter_map(|part| part.get(*column)).collect();
        if known.is_empty() {
            continue;
        }
        let sum: f32 = known.iter().sum();
        let joined = match column.joining() {
            Joining::Sum => sum,
            Joining::Mean => sum / narrow(from_u64(known.len() as u64)),
            Joining::Most => known.iter().copied().fold(f32::MIN, f32::max),
        };
        slot.set(*column, joined);
    }
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(decisions: u64) -> Reading {
        Reading {
            decisions,
            moved: from_u64(decisions) / 1e6,
            times_ms: Some((from_u64(decisions), 1.0)),
            ..Reading::default()
        }
    }

    fn values(stretch: &Stretch, column: Column) -> &[Option<f32>] {
        let known = stretch.columns.iter().find(|(known, _)| *known == column);
        &known.unwrap().1
    }

    #[test]
    fn a_page_opened_late_sees_what_was_before_it_and_gaps_stay_gaps() {
        let history = History::default();
        assert_eq!(history.newest(Column::Decisions), None);
        for at in (0..=60).filter(|at| !(20..30).contains(at)) {
            history.record(at * 1_000 * 5, reading(at * 500));
        }
        let quarter = history.stretch(Range::Quarter);
        assert_eq!(quarter.until_ms, 60 * FINE_MS);
        let decisions = values(&quarter, Column::Decisions);
        assert_eq!(decisions.len(), 180);
        assert!(
            decisions[..120].iter().all(Option::is_none),
            "before the start"
        );
        assert_eq!(decisions[120], Some(100.0));
        assert_eq!(&decisions[139..149], &[None; 10], "nobody looked then");
        // What was counted meanwhile, over the whole time.
        assert_eq!(decisions[149], Some(100.0));
        assert_eq!(history.newest(Column::P50), Some(30_000.0));
        assert_eq!(values(&quarter, Column::HitRatio), &[None; 180]);
    }

    #[test]
    fn coarse_slots_are_means_sums_and_the_worst() {
        let history = History::default();
        for at in 0..=720 {
            history.record(at * FINE_MS, reading(at * 5));
        }
        let watch = history.stretch(Range::Watch);
        assert_eq!((watch.step_ms, watch.columns.len()), (30_000, COLUMNS));
        let known = |column| values(&watch, column).iter().flatten().copied();
        assert_eq!(known(Column::Decisions).count(), 120);
        assert!(known(Column::Decisions).all(|rate| (rate - 1.0).abs() < 1e-6));
        assert!(known(Column::Moved).all(|moved| (moved - 30e-6).abs() < 1e-8));
        assert_eq!(known(Column::P50).next(), Some(17.5));
        assert_eq!(history.stretch(Range::Hour).columns[0].1.len(), SLOTS);
    }

    #[test]
    fn quantiles_of_decisions_are_of_those_in_between() {
        let now = [(1.0, 150), (2.0, 101), (f64::INFINITY, 7)];
        let before = [(1.0, 50), (2.0, 100), (f64::INFINITY, 7)];
        assert_eq!(quantiles_us(&now, &before), Some((1.0, 1.0)));
        assert_eq!(quantiles_us(&now, &now), None);
        assert_eq!(quantiles_us(&now, &[]), None, "some are beyond all bounds");
    }
}
