//! What the guards of a rollout said lately: a point every few seconds for each, so that a page opened now has a past.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use tradewind_engine::lifecycle::Rolling;
use tradewind_engine::model::Digest;
use tradewind_engine::number::narrow;
use tradewind_engine::rollout::Progress;

/// From one point to the next, in ms.
const STEP_MS: u64 = 5_000;

/// Points that are kept: ten minutes. With the 16 guards that a policy has at most they take 46 kB.
const MOST: usize = 120;

/// What the guards said, of the candidate that there is or was last.
#[derive(Debug, Default)]
pub struct GuardHistory(Mutex<Kept>);

/// Which rollout: a candidate may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Which {
    digest: Digest,
    started_unix_ms: u64,
}

impl Which {
    fn of(rolling: &Rolling) -> Self {
        Self {
            digest: rolling.digest(),
            started_unix_ms: rolling.started_unix_ms,
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    which: Option<Which>,
    /// When the last point was, ms since 1970.
    at_unix_ms: u64,
    points: VecDeque<Vec<Point>>,
}

/// What one guard saw.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    candidate: Option<f32>,
    control: Option<f32>,
    worst: Option<f32>,
}

/// What one guard saw lately, the oldest first; what was not known is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// From one value to the next, in ms.
    pub step_ms: u64,
    /// When the last was seen, ms since 1970.
    pub until_unix_ms: u64,
    /// Where the new policy decides.
    pub candidate: Vec<Option<f32>>,
    /// Where it does not.
    pub control: Vec<Option<f32>>,
    /// The worst that it might have been.
    pub worst: Vec<Option<f32>>,
}

impl GuardHistory {
    /// Takes note of what the guards of a candidate say, if it is time again. Of another rollout it begins anew.
    pub fn note(&self, now_unix_ms: u64, rolling: &Rolling) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.note(now_unix_ms, Which::of(rolling), &rolling.progress);
    }

    /// What each guard of a candidate saw, in their order; nothing of another rollout.
    pub fn series(&self, rolling: &Rolling) -> Vec<Series> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.series(Which::of(rolling))
    }
}

impl Kept {
    fn note(&mut self, now_unix_ms: u64, which: Which, progress: &Progress) {
        if self.which != Some(which) {
            *self = Self {
                which: Some(which),
                ..Self::default()
            };
        }
        let is_due = now_unix_ms.saturating_sub(self.at_unix_ms) >= STEP_MS;
        if !is_due || progress.judgements().is_empty() {
            return;
        }
        let judged = progress.settings().guards.iter().zip(progress.judgements());
        let points = judged.map(|(guard, judgement)| Point {
            candidate: judgement.candidate.map(narrow),
            control: judgement.control.map(narrow),
            worst: guard.bound(judgement.control).map(narrow),
        });
        if self.points.len() >= MOST {
            self.points.pop_front();
        }
        self.points.push_back(points.collect());
        self.at_unix_ms = now_unix_ms;
    }

    fn series(&self, which: Which) -> Vec<Series> {
        if self.which != Some(which) {
            return Vec::new();
        }
        let guards = self.points.back().map_or(0, Vec::len);
        let series = (0..guards).map(|guard| {
            let of = |value: fn(&Point) -> Option<f32>| {
                let points = self.points.iter();
                points
                    .map(|points| points.get(guard).and_then(value))
                    .collect()
            };
            Series {
                step_ms: STEP_MS,
                until_unix_ms: self.at_unix_ms,
                candidate: of(|point| point.candidate),
                control: of(|point| point.control),
                worst: of(|point| point.worst),
            }
        });
        series.collect()
    }
}

#[cfg(test)]
mod tests {
    use tradewind_engine::control::cohorts::Fared;
    use tradewind_engine::rollout::{Guard, Metric, Seen, Settings, Stage, WhenInconclusive};

    use super::*;

    fn started(started_unix_ms: u64) -> Which {
        Which {
            digest: Digest::of(b"a policy"),
            started_unix_ms,
        }
    }

    /// A candidate whose p50 is this, beside 100 ms.
    fn progress(p50_ms: Option<f64>) -> Progress {
        let settings = Settings {
            cohort: None,
            stages: vec![Stage {
                buckets: 500,
                hold_ms: 3_600_000,
            }],
            guards: vec![Guard {
                metric: Metric::P50Ms,
                limit: None,
                worse_by: Some(25.0),
                min_samples: 1,
                window_ms: 60_000,
            }],
            max_hold_ms: 0,
            when_inconclusive: WhenInconclusive::Pause,
            auto_rollback: false,
            start_jitter_ms: 0,
        };
        let fared = |p50_ms| Fared {
            timed: 100,
            p50_ms,
            ..Fared::default()
        };
        let mut progress = Progress::new(0, settings, 0.0);
        let seen = Seen {
            fared: vec![[fared(Some(100.0)), fared(p50_ms)]],
            broken: None,
        };
        progress.step(1, seen);
        progress
    }

    #[test]
    fn a_point_comes_every_five_seconds_and_the_oldest_goes() {
        let mut kept = Kept::default();
        for second in 0..2_000 {
            let p50_ms = (second > 10).then_some(120.0);
            kept.note(1_000_000 + second * 1_000, started(1), &progress(p50_ms));
            if second == 10 {
                assert_eq!(kept.series(started(1))[0].candidate, [None, None, None]);
            }
        }
        let series = kept.series(started(1));
        assert_eq!((series.len(), series[0].candidate.len()), (1, MOST));
        assert_eq!(series[0].candidate.last(), Some(&Some(120.0)));
        assert_eq!(series[0].control.last(), Some(&Some(100.0)));
        assert_eq!(series[0].worst.last(), Some(&Some(125.0)));
        assert_eq!(series[0].until_unix_ms, 1_000_000 + 1_995_000);
    }

    #[test]
    fn another_rollout_begins_anew() {
        let mut kept = Kept::default();
        kept.note(10_000, started(1), &progress(Some(1.0)));
        let again = started(2);
        assert!(kept.series(again).is_empty());
        kept.note(20_000, again, &progress(Some(2.0)));
        assert_eq!(kept.series(again)[0].candidate, [Some(2.0)]);
        assert!(kept.series(started(1)).is_empty());
    }
}
