//! A site on trial: what it was left for, and whether its answers show that it is well again.

use super::round::Round;
use crate::model::names;
use crate::score::{ERROR_PENALTY_MS, ScoreModel, SiteEstimates, Terms};
use crate::signal::observation::Outcome;
use crate::signal::trial::SLICE;
use crate::time::Moment;

/// How long a round lasts at least, in ms: a site that is tried with many requests a second is not judged by one moment.
const ROUND_MS: u64 = 10_000;

/// How often answers and times of a round may double, to 640 answers and 11 minutes.
const MOST_DOUBLINGS: u8 = 6;

/// A site that was not left again within this time after it came back is trusted as at first, in ms.
const CALM_MS: u64 = 1_800_000;

/// A site that nobody asked for anything for so long has no clients in reach: nothing is known of it any more, in ms.
const SILENCE_MS: u64 = 600_000;

/// A round that would take more than four times as long as this at its pace, in ms, is brought on by a wider slice of keys, and
/// once more when as long again has passed: of two requests a second the usual slice would bring its answers in eight minutes.
const WIDENS_AFTER_MS: u64 = 30_000;

/// How much wider than at first a slice is, by how often it was widened: 1 %, 4 % and 16 % of keys.
const WIDTHS: [u16; 3] = [1, 4, 16];

/// The least rise that a site is tried for, and the most that it may show at its return, where the policy's margin is less,
/// in ms: what differs by less is hardly measured.
pub(super) const LEAST_MARGIN_MS: f32 = 2.0;

/// The term that a site was left for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blame {
    /// Its nodes are slow.
    Service,
    /// Its nodes are busy.
    Queue,
    /// Its caches miss.
    Miss,
    /// It fails.
    Error,
}

names! { Blame {
    Service = "service",
    Queue = "queue",
    Miss = "miss",
    Error = "error",
} }

/// What became of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrialStep {
    /// The site was left, and is tried from now on.
    Begun,
    /// A round went well: the site is used again.
    Passed,
    /// None of its nodes may be named any more: their breakers and probes speak for it.
    Out,
    /// Nobody asked it anything for ten minutes.
    Silent,
    /// An operator reset the breaker of one of its nodes.
    Reset,
}

names! { TrialStep {
    Begun = "begun",
    Passed = "passed",
    Out = "out",
    Silent = "silent",
    Reset = "reset",
} }

impl Blame {
    /// The term that has risen most above what is usual.
    pub(super) fn of(terms: &Terms, usual: &Terms) -> Self {
        let rises = [
            (Self::Service, terms.service - usual.service),
            (Self::Queue, terms.queue - usual.queue),
            (Self::Miss, terms.miss - usual.miss),
            (Self::Error, terms.error - usual.error),
        ];
        let most = rises.iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
        most.map_or(Self::Service, |(blame, _)| *blame)
    }
}

/// A site on trial.
#[derive(Debug, Clone)]
pub(super) struct OnTrial {
    /// What it was left for.
    pub(super) blame: Blame,
    /// When.
    pub(super) since: Moment,
    /// What share of all keys it had.
    pub(super) share: f64,
    /// What its nodes answered last.
    pub(super) round: Round,
    /// How often the slice was widened for it.
    widened: usize,
}

/// Returns of late.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Returns {
    count: u8,
    last: Moment,
}

impl Returns {
    /// A site was left: how often that is too soon after a return.
    pub(super) fn left(&mut self, now: Moment) {
        if now.since(self.last) > CALM_MS {
            self.count = 0;
        }
    }

    pub(super) fn came_back(&mut self, now: Moment) {
        self.count = self.count.saturating_add(1);
        self.last = now;
    }

    pub(super) fn doublings(self) -> u8 {
        self.count.min(MOST_DOUBLINGS)
    }
}

/// What a trial is judged by: what decisions know of the tier, and how nodes say they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standard<'a> {
    pub(super) usual: SiteEstimates,
    pub(super) model: &'a ScoreModel,
    pub(super) margin_ms: f32,
    /// How many times a service time requests wait.
    pub(super) waits: f64,
}

impl OnTrial {
    pub(super) fn new(now: Moment, (blame, share): (Blame, f64)) -> Self {
        Self {
            blame,
            since: now,
            share,
            round: Round::at(now),
            widened: 0,
        }
    }

    /// Counts an answer of one of the site's nodes.
    pub(super) fn add(&mut self, now: Moment, outcome: &Outcome, is_good: bool) {
        self.round.add(now, outcome, is_good);
    }

    /// With how many of the keys it is tried.
    pub(super) fn slice(&self) -> u16 {
        let width = WIDTHS.get(self.widened).copied();
        debug_assert!(width.is_some(), "no wider than the widest");
        SLICE * width.unwrap_or(1)
    }

    /// Widens the slice where the round comes on too slowly.
    pub(super) fn widen(&mut self, now: Moment, doublings: u8) {
        let quarters = now.since(self.round.since) / (WIDENS_AFTER_MS << doublings);
        let (answers, needed) = (self.round.answers().0, self.round.needed(doublings));
        let is_late = u64::from(answers) * 4 < u64::from(needed) * quarters.min(4);
        if is_late && self.widened + 1 < WIDTHS.len() && quarters > self.widened as u64 {
            self.widened += 1;
        }
    }

    /// Whether the round shows that the site is well; `None` before it shows anything. A round that shows the opposite ends.
    pub(super) fn judge(
        &mut self,
        now: Moment,
        doublings: u8,
        standard: &Standard<'_>,
    ) -> Option<bool> {
        let round = &self.round;
        let is_long = now.since(round.since) >= ROUND_MS << doublings;
        if !is_long || round.answers().0 < round.needed(doublings) {
            return None;
        }
        let Standard { usual, model, .. } = standard;
        let failed = round.failed_ratio();
        let error_ms = (failed - f64::from(usual.error_ratio)).max(0.0)
            * f64::from(ERROR_PENALTY_MS * model.error_weight);
        let median_us = round.median_us();
        // Where nothing fails, that it is well is shown by hits, except of a site that was left for failing.
        if median_us.is_none() && failed <= 0.0 && self.blame != Blame::Error {
            return None;
        }
        let service_ms = median_us.map_or(f64::from(usual.service_ms), |us| us / 1_000.0);
        let slower_ms = (service_ms - f64::from(usual.service_ms)).max(0.0);
        let slower_ms = slower_ms * f64::from(model.service_weight);
        let queue_ms = service_ms * standard.waits * f64::from(model.queue_weight);
        // Keys that were elsewhere are fetched first, so what share misses says nothing; how long they take does.
        let fetched = round.fetch_us();
        let hits_enough = round.hit_ratio() >= f64::from(usual.hit_ratio);
        if self.blame == Blame::Miss && fetched.is_none() && !hits_enough {
            return None;
        }
        let fetch_ms = fetched.map_or(f64::from(usual.fetch_ms), |us| us / 1_000.0 - service_ms);
        let misses = f64::from(1.0 - usual.hit_ratio) * f64::from(model.miss_weight);
        let miss_ms = (fetch_ms - f64::from(usual.fetch_ms)).max(0.0) * misses;
        let worse_ms = error_ms + slower_ms + queue_ms + miss_ms;
        let is_well = worse_ms <= f64::from(standard.margin_ms);
        if !is_well {
            self.round = Round::at(now);
            self.widened = 0;
        }
        Some(is_well)
    }

    pub(super) fn is_silent(&self, now: Moment) -> bool {
        self.round.answers().0 == 0 && now.since(self.round.since) >= SILENCE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeIndex;
    use crate::signal::observation::{AttemptResult, CacheResult, Reporter};

    /// Who tells how many good answers, how many bad ones, and how long each took in microseconds.
    type Words = (u16, u32, u32, u32);

    fn judged(words: &[Words]) -> Option<bool> {
        let mut trial = OnTrial::new(Moment(0), (Blame::Service, 0.1));
        for (reporter, good, bad, first_byte_us) in words {
            let outcome = Outcome {
                decision: None,
                attempt: 1,
                reporter: Reporter(*reporter),
                node: NodeIndex(0),
                result: AttemptResult::Ok,
                status: 200,
                first_byte_us: *first_byte_us,
                cache: CacheResult::Hit,
                bytes: 0,
                client_round_trip_us: 0,
                key: None,
            };
            for at in 0..(good + bad) {
                trial.add(Moment(1_000), &outcome, at < *good);
            }
        }
        let model = ScoreModel {
            network_weight: 1.0,
            base_ms: 1.0,
            ms_per_km: 0.01,
            service_weight: 1.0,
            queue_weight: 1.0,
            miss_weight: 1.0,
            fetch_ms: 40.0,
            error_weight: 1.0,
            ms_per_usd: 0.0,
            bias_ms: Vec::new(),
        };
        let usual = SiteEstimates {
            service_ms: 5.0,
            queue_ms: 0.0,
            hit_ratio: 0.9,
            fetch_ms: 40.0,
            error_ratio: 0.001,
        };
        let standard = Standard {
            usual,
            model: &model,
            margin_ms: 10.0,
            waits: 0.0,
        };
        trial.judge(Moment(ROUND_MS), 0, &standard)
    }

    #[test]
    fn one_or_two_are_believed_from_ten_answers_on() {
        assert_eq!(judged(&[(1, 9, 0, 5_000)]), None);
        assert_eq!(judged(&[(1, 10, 0, 5_000)]), Some(true));
        assert_eq!(judged(&[(1, 8, 2, 5_000)]), Some(false));
        assert_eq!(judged(&[(1, 5, 0, 5_000), (2, 5, 0, 5_000)]), Some(true));
        assert_eq!(judged(&[(1, 5, 0, 5_000), (2, 4, 1, 5_000)]), Some(false));
    }

    /// All answers of a round were added up: one of three decided for all by telling more than the others.
    #[test]
    fn one_of_three_neither_brings_a_site_back_nor_keeps_it_away() {
        let of_three = |honest: (u32, u32, u32), liar: (u32, u32, u32)| {
            let (good, bad, us) = honest;
            let words = [1, 2].map(|who| (who, good, bad, us));
            judged(&[words[0], words[1], (3, liar.0, liar.1, liar.2)])
        };
        let well = (7, 0, 5_000);
        for lie in [(0, 7, 1), (0, 50_000, 1), (7, 0, 600_000_000)] {
            assert_eq!(of_three(well, lie), Some(true), "{lie:?}");
        }
        for truth in [(0, 7, 0), (5, 2, 5_000), (7, 0, 150_000)] {
            for lie in [(7, 0, 5_000), (50_000, 0, 1)] {
                assert_eq!(of_three(truth, lie), Some(false), "{truth:?} {lie:?}");
            }
        }
        assert_eq!(of_three((3, 0, 5_000), (4, 0, 5_000)), None, "too few yet");
    }
}
