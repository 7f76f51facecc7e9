//! Guards: what must hold of the requests that a candidate decides, and what was measured of that.

use crate::control::cohorts::Fared;
use crate::number::from_u64;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Half of the answers have their first byte sooner than this.
    P50Ms,
    /// 99 of 100 answers have.
    P99Ms,
    /// Attempts that failed, of 100.
    ErrorPercent,
    /// Answers from a cache, of 100 that could be.
    HitPercent,
    /// Answers that had to be fetched, of 100 attempts that were answered.
    FetchPercent,
    /// Decisions that too much load gave to the next node or site, of 100.
    SpillPercent,
    /// Decisions that name no node where the other policy would, of 100.
    RefusedPercent,
    /// Decisions by a rung of the degradation ladder, of 100.
    DegradedPercent,
}

/// A bound on a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Guard {
    /// What is measured.
    pub metric: Metric,
    /// The worst that it may be, in its unit; `None` for no such bound.
    pub limit: Option<f64>,
    /// How much worse it may be than what it is for requests that the candidate does not decide: in percent of that for
    /// times, in percentage points for the others. `None` for no such bound.
    pub worse_by: Option<f64>,
    /// Fewest samples, of either side where both are looked at, that say anything.
    pub min_samples: u64,
    /// How far back is looked, in ms.
    pub window_ms: u64,
}

/// What a guard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The bound holds.
    Pass,
    /// It does not.
    Fail,
    /// Too little was seen to say.
    Inconclusive,
}

/// What a guard says, and of what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// What it says.
    pub verdict: Verdict,
    /// The metric where the candidate decides; `None` where nothing was seen.
    pub candidate: Option<f64>,
    /// The metric where it does not.
    pub control: Option<f64>,
    /// How many samples it rests on where the candidate decides.
    pub samples: u64,
    /// And where it does not.
    pub control_samples: u64,
}

impl Metric {
    /// All of them, in the order of documents.
    pub const ALL: [Self; 8] = [
        Self::P50Ms,
        Self::P99Ms,
        Self::ErrorPercent,
        Self::HitPercent,
        Self::FetchPercent,
        Self::SpillPercent,
        Self::RefusedPercent,
        Self::DegradedPercent,
    ];

    /// The word for it in documents and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P50Ms => "p50_ms",
            Self::P99Ms => "p99_ms",
            Self::ErrorPercent => "error_percent",
            Self::HitPercent => "hit_percent",
            Self::FetchPercent => "fetch_percent",
            Self::SpillPercent => "spill_percent",
            Self::RefusedPercent => "refused_percent",
            Self::DegradedPercent => "degraded_percent",
        }
    }

    /// Whether it is a time: then what is worse is told in percent.
    pub const fn is_time(self) -> bool {
        matches!(self, Self::P50Ms | Self::P99Ms)
    }

    /// Whether less of it is worse.
    const fn is_good(self) -> bool {
        matches!(self, Self::HitPercent)
    }

    /// Its value and how many samples that rests on.
    fn of(self, fared: &Fared) -> (Option<f64>, u64) {
        let attempts = fared.answered + fared.failed;
        let looked_up = fared.hits + fared.misses;
        let decided = &fared.decided;
        let percent = |part: u64, all: u64| {
            let value = (all > 0).then(|| 100.0 * from_u64(part) / from_u64(all));
            (value, all)
        };
        match self {
            Self::P50Ms => (fared.p50_ms, fared.timed),
            Self::P99Ms => (fared.p99_ms, fared.timed),
            Self::ErrorPercent => percent(fared.failed, attempts),
            Self::HitPercent => percent(fared.hits, looked_up),
            Self::FetchPercent => percent(fared.misses, fared.answered),
            Self::SpillPercent => percent(decided.spilled, decided.all),
            Self::RefusedPercent => percent(decided.refused, decided.all),
            Self::DegradedPercent => percent(decided.degraded, decided.all),
        }
    }
}

impl Verdict {
    /// The word for it in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl Guard {
    /// What it says of requests that a candidate does not decide, and of those that it does.
    pub fn judge(&self, [control, candidate]: &[Fared; 2]) -> Judgement {
        let (value, samples) = self.metric.of(candidate);
        let (usual, control_samples) = self.metric.of(control);
        let enough = |count: u64| count >= self.min_samples.max(1);
        let is_within = |value: f64, bound: f64| {
            if self.metric.is_good() {
                value >= bound
            } else {
                value <= bound
            }
        };
        let by_limit = self.limit.map(|limit| {
            let value = value.filter(|_| enough(samples));
            value.map(|value| is_within(value, limit))
        });
        let by_control = self.worse_by.map(|worse_by| {
            let both = value.zip(usual);
            let both = both.filter(|_| enough(samples) && enough(control_samples));
            both.map(|(value, usual)| is_within(value, self.worst(usual, worse_by)))
        });
        let held = [by_limit, by_control].into_iter().flatten();
        // One bound that is broken is enough; one that cannot be told of leaves the others' word open.
        let verdict = held.fold(Verdict::Pass, |verdict, holds| match (verdict, holds) {
            (Verdict::Fail, _) | (_, Some(false)) => Verdict::Fail,
            (Verdict::Inconclusive, _) | (_, None) => Verdict::Inconclusive,
            (Verdict::Pass, Some(true)) => Verdict::Pass,
        });
        Judgement {
            verdict,
            candidate: value,
            control: usual,
            samples,
            control_samples,
        }
    }

    /// The worst that a candidate may be where this is usual; `None` where there is no bound that says so.
    pub fn bound(&self, usual: Option<f64>) -> Option<f64> {
        let by_control = self.worse_by.zip(usual);
        let by_control = by_control.map(|(worse_by, usual)| self.worst(usual, worse_by));
        let bounds = [self.limit, by_control].into_iter().flatten();
        bounds.reduce(|one, other| {
            if self.metric.is_good() {
                one.max(other)
            } else {
                one.min(other)
            }
        })
    }

    /// The worst that is within bounds where this is usual.
    fn worst(&self, usual: f64, worse_by: f64) -> f64 {
        if self.metric.is_time() {
            usual * (1.0 + worse_by / 100.0)
        } else if self.metric.is_good() {
            usual - worse_by
        } else {
            usual + worse_by
        }
    }

    /// What it says in a sentence, with its numbers.
    pub fn in_words(&self, judgement: &Judgement) -> String {
        let unit = if self.metric.is_time() { "ms" } else { "%" };
        let show = |value: Option<f64>| {
            value.map_or("not known".to_owned(), |value| format!("{value:.2} {unit}"))
        };
        let bound = match (self.limit, self.worse_by) {
            (Some(limit), None) => format!("the limit is {limit} {unit}"),
            (limit, worse_by) => {
                let by = if self.metric.is_time() { "%" } else { "points" };
                let beside = worse_by.unwrap_or_default();
                let limit =
                    limit.map_or(String::new(), |limit| format!(", or past {limit} {unit}"));
                format!(
                    "may be {beside} {by} worse than {}{limit}",
                    show(judgement.control)
                )
            }
        };
        let lacks = if judgement.verdict == Verdict::Inconclusive {
            format!("; it takes {} samples on either side", self.min_samples)
        } else {
            String::new()
        };
        format!(
            "{} is {} over {} samples, {bound}{lacks}",
            self.metric.name(),
            show(judgement.candidate),
            judgement.samples
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::cohorts::Decided;

    fn fared(answered: u64, failed: u64, p99_ms: f64) -> Fared {
        Fared {
            decided: Decided {
                all: answered + failed,
                ..Decided::default()
            },
            answered,
            failed,
            hits: answered / 2,
            misses: answered - answered / 2,
            timed: answered,
            p50_ms: Some(p99_ms / 4.0),
            p99_ms: Some(p99_ms),
        }
    }

    fn guard(metric: Metric, limit: Option<f64>, worse_by: Option<f64>) -> Guard {
        Guard {
            metric,
            limit,
            worse_by,
            min_samples: 100,
            window_ms: 60_000,
        }
    }

    #[test]
    fn a_guard_compares_with_its_limit_and_with_those_that_are_not_tried_on() {
        let p99 = guard(Metric::P99Ms, None, Some(25.0));
        let usual = fared(10_000, 10, 100.0);
        let judge = |guard: &Guard, candidate| guard.judge(&[usual, candidate]).verdict;
        assert_eq!(judge(&p99, fared(500, 0, 124.0)), Verdict::Pass);
        assert_eq!(judge(&p99, fared(500, 0, 126.0)), Verdict::Fail);
        let both = guard(Metric::P99Ms, Some(110.0), Some(25.0));
        assert_eq!(judge(&both, fared(500, 0, 120.0)), Verdict::Fail);
        let errors = guard(Metric::ErrorPercent, None, Some(1.0));
        assert_eq!(judge(&errors, fared(500, 5, 100.0)), Verdict::Pass);
        assert_eq!(judge(&errors, fared(500, 6, 100.0)), Verdict::Fail);
        let hits = guard(Metric::HitPercent, Some(60.0), None);
        assert_eq!(judge(&hits, fared(500, 0, 100.0)), Verdict::Fail);
    }

    #[test]
    fn of_two_bounds_the_stricter_counts() {
        let bound = |metric, limit, worse_by, usual| guard(metric, limit, worse_by).bound(usual);
        assert_eq!(
            bound(Metric::P99Ms, None, Some(25.0), Some(100.0)),
            Some(125.0)
        );
        assert_eq!(
            bound(Metric::P99Ms, Some(110.0), Some(25.0), Some(100.0)),
            Some(110.0)
        );
        assert_eq!(
            bound(Metric::P99Ms, Some(110.0), Some(25.0), None),
            Some(110.0)
        );
        assert_eq!(
            bound(Metric::HitPercent, Some(60.0), Some(5.0), Some(90.0)),
            Some(85.0)
        );
        assert_eq!(bound(Metric::ErrorPercent, None, Some(1.0), None), None);
    }

    #[test]
    fn too_little_is_inconclusive_and_no_pass() {
        let errors = guard(Metric::ErrorPercent, Some(5.0), Some(1.0));
        let judge = |control, candidate| errors.judge(&[control, candidate]).verdict;
        let (much, little) = (fared(500, 0, 1.0), fared(99, 0, 1.0));
        assert_eq!(judge(much, little), Verdict::Inconclusive);
        assert_eq!(judge(little, much), Verdict::Inconclusive);
        assert_eq!(judge(much, much), Verdict::Pass);
        // What is past its limit is so whatever can be said of the others.
        assert_eq!(judge(little, fared(500, 50, 1.0)), Verdict::Fail);
        assert_eq!(
            judge(Fared::default(), Fared::default()),
            Verdict::Inconclusive
        );
    }

    #[test]
    fn it_says_what_it_saw() {
        let p99 = guard(Metric::P99Ms, None, Some(25.0));
        let judgement = p99.judge(&[fared(9_000, 0, 100.0), fared(500, 0, 131.5)]);
        assert_eq!(
            p99.in_words(&judgement),
            "p99_ms is 131.50 ms over 500 samples, may be 25 % worse than 100.00 ms"
        );
    }
}
