//! A round of answers from a site on trial, and what it shows.
//!
//! Each reporter is counted by itself, and the middle one is believed: one of three neither brings back a site that fails, nor
//! keeps one away that is well. The middle of few answers misses what all together would show, so three and more must tell
//! twice as many. One or two are believed as they are; but of two, both count alike.

use crate::signal::agreed::{JURY, middle};
use crate::signal::latency::Window;
use crate::signal::observation::Outcome;
use crate::signal::voices::{Voices, Word};
use crate::time::Moment;

/// Reporters told apart at one site; further ones share a voice.
const SEATS: usize = 6;

/// Answers that a round asks for the first time, and twice as many of three reporters or more: a slice of 1 % of 40 requests
/// a second brings them in 25 s, and a site that fails once in five is found out by nine of ten rounds.
const ANSWERS: u32 = 10;

/// Hits without which service times and hit ratios are not judged: keys that were elsewhere meanwhile are fetched first, and
/// that says nothing; that something is stored does. Of several reporters no one's word is enough for it.
const HITS: u32 = 3;

/// Fetches without which their times are not judged, and a site that was left for its misses is not: unless it has as many
/// hits as is usual.
const FETCHES: u64 = 10;

/// Answers of the present round, by reporter.
#[derive(Debug, Clone, Default)]
pub(super) struct Round {
    pub(super) since: Moment,
    voices: Voices<Told, SEATS>,
}

/// What one reporter tells of a round.
#[derive(Debug, Clone, Default)]
struct Told {
    answers: u32,
    failures: u32,
    /// Answers that needed no fetch, as far as is told.
    hits: u32,
    /// Their times.
    times: Window,
    /// The times of those that did.
    fetches: Window,
    last: Moment,
}

impl Word for Told {
    fn last(&self) -> Moment {
        self.last
    }
}

impl Round {
    pub(super) fn at(since: Moment) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    /// Counts an answer of one of the site's nodes.
    pub(super) fn add(&mut self, now: Moment, outcome: &Outcome, is_good: bool) {
        // A round is as long as it takes: nobody leaves a seat, and nothing the window.
        let told = self.voices.of(now, u64::MAX, outcome.reporter);
        told.last = now;
        told.answers = told.answers.saturating_add(1);
        told.failures = told.failures.saturating_add(u32::from(!is_good));
        let fetched = outcome.cache.is_fetch();
        told.hits = told.hits.saturating_add(u32::from(is_good && !fetched));
        if is_good && outcome.first_byte_us > 0 {
            let times = if fetched {
                &mut told.fetches
            } else {
                &mut told.times
            };
            times.record(now, u64::MAX, outcome.first_byte_us);
        }
    }

    fn told(&self) -> impl Iterator<Item = &Told> + Clone {
        self.voices.iter().map(|(_, told)| told)
    }

    /// Answers of all together, and those of them that failed.
    pub(super) fn answers(&self) -> (u32, u32) {
        self.told()
            .fold((0, 0), |(answers, failures): (u32, u32), told| {
                let answers = answers.saturating_add(told.answers);
                (answers, failures.saturating_add(told.failures))
            })
    }

    /// Answers without which it shows nothing.
    pub(super) fn needed(&self, doublings: u8) -> u32 {
        let is_jury = self.told().count() >= JURY;
        ANSWERS << (doublings + u8::from(is_jury))
    }

    /// The share of answers that failed, as agreed on.
    pub(super) fn failed_ratio(&self) -> f64 {
        let ratio = |told: &Told| f64::from(told.failures) / f64::from(told.answers.max(1));
        middle(self.told().map(ratio)).unwrap_or(0.0)
    }

    /// The share of answers that needed no fetch, as agreed on.
    pub(super) fn hit_ratio(&self) -> f64 {
        let ratio = |told: &Told| f64::from(told.hits) / f64::from(told.answers.max(1));
        middle(self.told().map(ratio)).unwrap_or(0.0)
    }

    /// The time that half of the fetches do not exceed, in microseconds, as agreed on; `None` before there are enough.
    pub(super) fn fetch_us(&self) -> Option<f64> {
        let fetches: u64 = self.told().map(|told| told.fetches.count()).sum();
        let medians = self.told().filter_map(|told| told.fetches.quantile_us(0.5));
        middle(medians).filter(|_| fetches >= FETCHES)
    }

    /// The time that half of the hits do not exceed, in microseconds, as agreed on; `None` before there are enough.
    pub(super) fn median_us(&self) -> Option<f64> {
        let is_alone = self.told().count() == 1;
        let most = if is_alone { HITS } else { HITS - 1 };
        let hits: u32 = self.told().map(|told| told.hits.min(most)).sum();
        let medians = self.told().filter_map(|told| told.times.quantile_us(0.5));
        middle(medians).filter(|_| hits >= HITS)
    }
}
