//! What reporters say of a node's answers, and when enough of them agree that it fails.
//!
//! Each reporter is counted by itself. A node fails when more than half of those that have seen it lately say so: one of
//! three that says all is down, whether it lies or is cut off itself, ejects nothing.
//!
//! Only what was told since the accuser's failures began speaks to them. Who last spoke before has seen nothing of them,
//! and does not defend the node for long: after five times the longest of its last pauses, 1.3 s at least, its silence
//! counts as none of its business. So a hearing ends by itself, and a reporter of little traffic is still waited for.
//!
//! Why the longest pause and not the mean: requests come at random or in bursts, and a lone accuser is right only when the
//! silence of all others is no chance. Five mean pauses, the mean being of eight, were exceeded by two at once every few
//! hours at each node. Five times the longest is some twelve mean pauses of random traffic, and both of two are silent for so
//! long once in three million pauses; of even traffic it is five.
//!
//! A new term of the breaker forgets what was said and not who has a say: else whoever speaks first after it is alone.

use super::breaker::Cause;
use super::slowness::SlowAnswers;
use crate::policy::document::BreakerDocument;
use crate::signal::agreed::agreed_sums;
use crate::signal::observation::Reporter;
use crate::signal::ratio::Counts;
use crate::signal::voices::{Voices, Word};
use crate::time::Moment;

/// Reporters heard for one node, each by itself; further ones share a voice. A witness takes 128 bytes.
const WITNESSES: usize = 16;

/// How long everybody has to speak to an accusation: proxies tell in batches, up to a second apart.
pub const HEARING_MS: u64 = 1_300;

/// How many times the longest of its last pauses somebody may be silent and still have a say.
const PAUSES: u64 = 5;

/// With each word since, a pause counts less by one in so many: the longest is of the last sixteen or so. But by no more
/// than a few times what passed since the last word, so that a burst does not make forget the pause before it.
const FADES_BY: u64 = 16;
const FADES_PASSED: u64 = 4;

/// Longest pause that is taken for usual, in ms: who speaks less often is waited for ten minutes.
const LONGEST_PAUSE_MS: u64 = 120_000;

/// Failures since then, and nothing else, that make somebody join an accusation; one may be chance.
const JOINS_FROM: u32 = 2;

/// Reporters from which on slowness is agreed on, and not that of all answers together.
const JURY: usize = 3;

/// What all reporters say of one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Testimony {
    witnesses: Voices<Witness, WITNESSES>,
    /// The times that all together tell.
    slow: SlowAnswers,
    /// Whether somebody may be accusing the node: then time alone can decide.
    is_accused: bool,
}

/// What one reporter says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Witness {
    consecutive_failures: u32,
    /// When the first of those was told.
    failing_since: Moment,
    last_success: Option<Moment>,
    /// When it last spoke, in whichever term; no earlier than the present one began.
    last: Moment,
    /// The longest of the last times from one batch of words to the next, in ms; 0 before its first word.
    pause_ms: u64,
    counts: Counts,
    slow: SlowAnswers,
}

impl Word for Witness {
    fn last(&self) -> Moment {
        self.last
    }
}

impl Testimony {
    /// Counts an answer of the node.
    pub fn add(
        &mut self,
        now: Moment,
        (reporter, success): (Reporter, bool),
        settings: &BreakerDocument,
    ) {
        let window_ms = settings.window.as_ms();
        let witness = self.witnesses.of(now, window_ms, reporter);
        witness.speaks(now, window_ms);
        if success {
            witness.consecutive_failures = 0;
            witness.last_success = Some(now);
        } else {
            if witness.consecutive_failures == 0 {
                witness.failing_since = now;
            }
            witness.consecutive_failures = witness.consecutive_failures.saturating_add(1);
            self.is_accused = true;
        }
        let (good, bad) = (u32::from(success), u32::from(!success));
        witness.counts.add(now, window_ms, good, bad);
    }

    /// Takes back failures that a reporter told of and that were not the node's.
    pub fn take_back(
        &mut self,
        now: Moment,
        (reporter, failures): (Reporter, u32),
        settings: &BreakerDocument,
    ) {
        if let Some(witness) = self.witnesses.known(reporter) {
            witness.consecutive_failures = witness.consecutive_failures.saturating_sub(failures);
            witness
                .counts
                .take_back(now, settings.window.as_ms(), failures);
        }
    }

    /// Counts an answer's time.
    pub fn timed(
        &mut self,
        now: Moment,
        (reporter, slow): (Reporter, bool),
        settings: &BreakerDocument,
    ) {
        self.slow.add(now, slow);
        let witness = self.witnesses.of(now, settings.window.as_ms(), reporter);
        witness.slow.add(now, slow);
    }

    /// Why the node should be left alone, if more than half of those who have seen it say so.
    pub fn verdict(&self, now: Moment, settings: &BreakerDocument) -> Option<Cause> {
        let heard = self.heard(now, settings);
        heard.clone().find_map(|accuser| {
            let cause = accuser.accuses(now, settings)?;
            let (mut voices, mut accusing) = (0, 0);
            for witness in heard.clone() {
                let joins = if cause == Cause::SuccessRate {
                    // A ratio is of the whole window, so everybody has spoken since it began.
                    Some(witness.accuses(now, settings).is_some())
                } else {
                    witness.joins(now, accuser.failing_since, settings)
                };
                voices += u32::from(joins.is_some());
                accusing += u32::from(joins == Some(true));
            }
            (2 * accusing > voices).then_some(cause)
        })
    }

    /// The verdict, where somebody accuses the node; without a look at anybody where nobody does.
    pub fn verdict_in_time(&mut self, now: Moment, settings: &BreakerDocument) -> Option<Cause> {
        if !self.is_accused {
            return None;
        }
        let verdict = self.verdict(now, settings);
        let accuses = |witness: &Witness| {
            witness.consecutive_failures > 0 || witness.accuses(now, settings).is_some()
        };
        let is_accused = self.heard(now, settings).any(accuses);
        self.is_accused = is_accused;
        verdict
    }

    /// How many have seen the node within the window.
    pub fn jury(&self, now: Moment, settings: &BreakerDocument) -> usize {
        self.heard(now, settings).count()
    }

    /// Successes and failures within the window, of all reporters together, in the ratio that they agree on.
    pub fn sums(&self, now: Moment, settings: &BreakerDocument) -> (u64, u64) {
        let window_ms = settings.window.as_ms();
        let witnesses = self.witnesses.iter();
        agreed_sums(witnesses.map(|(_, witness)| witness.counts.sums(now, window_ms)))
    }

    /// Successes and failures that reporters told last, of all together, however long ago.
    pub fn told(&self) -> (u64, u64) {
        let sums = self
            .witnesses
            .iter()
            .map(|(_, witness)| witness.counts.known());
        sums.fold((0, 0), |(a, b), (good, bad)| (a + good, b + bad))
    }

    /// The lowest success ratio that more than half of the reporters would agree to: the median of theirs. `None` when
    /// nobody has seen enough.
    pub fn agreed_success_ratio(&self, now: Moment, settings: &BreakerDocument) -> Option<f64> {
        let window_ms = settings.window.as_ms();
        let mut ratios: Vec<f64> = Vec::new();
        for (_, witness) in self.witnesses.iter() {
            let (good, bad) = witness.counts.sums(now, window_ms);
            if good + bad >= u64::from(settings.request_volume) {
                let [good, all] = [good, good + bad].map(crate::number::from_u64);
                ratios.push(good / all);
            }
        }
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied()
    }

    /// Whether the node has been far slower than usual for three windows: as more than half of its reporters tell, where
    /// there are three or more.
    pub fn is_lastingly_slow(&self, now: Moment) -> bool {
        let heard = self.witnesses.iter().map(|(_, witness)| witness.slow);
        let heard = heard.filter(|slow| slow.is_heard(now));
        let voices = heard.clone().count();
        if voices < JURY {
            return self.slow.is_lasting(now);
        }
        2 * heard.filter(|slow| slow.is_lasting(now)).count() > voices
    }

    /// Forgets who has been silent for too long to have a say: the node is left, and nobody can be heard meanwhile.
    pub fn dismiss_silent(&mut self, now: Moment, settings: &BreakerDocument) {
        let window_ms = settings.window.as_ms();
        self.witnesses
            .keep(|witness| witness.has_a_say(now, window_ms));
    }

    /// Forgets what was said, and not who has a say: a new term of the breaker begins.
    pub fn begin_term(&mut self, now: Moment) {
        self.witnesses.keep(|witness| {
            *witness = Witness {
                last: now,
                pause_ms: witness.pause_ms,
                ..Witness::default()
            };
            witness.pause_ms > 0
        });
        self.slow = SlowAnswers::default();
        self.is_accused = false;
    }

    fn heard<'w>(
        &'w self,
        now: Moment,
        settings: &BreakerDocument,
    ) -> impl Iterator<Item = &'w Witness> + Clone + use<'w> {
        let window_ms = settings.window.as_ms();
        let witnesses = self.witnesses.iter().map(|(_, witness)| witness);
        witnesses.filter(move |witness| witness.has_a_say(now, window_ms))
    }
}

impl Witness {
    /// It is heard: how long it was silent is known.
    fn speaks(&mut self, now: Moment, window_ms: u64) {
        let pause_ms = now.since(self.last).min(LONGEST_PAUSE_MS);
        if self.pause_ms == 0 {
            // As good a guess as any.
            self.pause_ms = window_ms.max(1);
        } else if pause_ms > 0 {
            let fades_ms = (self.pause_ms / FADES_BY).min(FADES_PASSED * pause_ms);
            self.pause_ms = pause_ms.max(self.pause_ms - fades_ms);
        }
        self.last = now;
    }

    /// Whether it has spoken of the node so lately that it may do so again.
    fn has_a_say(&self, now: Moment, window_ms: u64) -> bool {
        self.pause_ms > 0 && now.since(self.last) <= window_ms.max(self.patience_ms())
    }

    fn accuses(&self, now: Moment, settings: &BreakerDocument) -> Option<Cause> {
        if self.consecutive_failures >= settings.consecutive_failures {
            return Some(Cause::ConsecutiveFailures);
        }
        let (good, bad) = self.counts.sums(now, settings.window.as_ms());
        let [good, all] = [good, good + bad].map(crate::number::from_u64);
        let enough = all >= f64::from(settings.request_volume);
        (enough && good * 100.0 < all * settings.success_rate_percent).then_some(Cause::SuccessRate)
    }

    /// What it says to failures that another has seen since then: that it fails, that it does not, or nothing. Whose word
    /// is still to be waited for does not join.
    fn joins(&self, now: Moment, since: Moment, settings: &BreakerDocument) -> Option<bool> {
        if self.accuses(now, settings).is_some() {
            return Some(true);
        }
        let is_well = self.last_success.is_some_and(|at| at >= since);
        if is_well || self.counts.last() < since {
            let is_waited_for = now.since(since) < self.patience_ms();
            return (is_well || is_waited_for).then_some(false);
        }
        (self.consecutive_failures >= JOINS_FROM).then_some(true)
    }

    /// How long its word is waited for.
    fn patience_ms(&self) -> u64 {
        (PAUSES * self.pause_ms).max(HEARING_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When, by whom, whether it went well, how often.
    type Word = (u64, u16, bool, usize);

    fn testimony(of: &[Word]) -> Testimony {
        let settings = BreakerDocument::default();
        let mut testimony = Testimony::default();
        for (at, reporter, success, times) in of {
            for _ in 0..*times {
                testimony.add(Moment(*at), (Reporter(*reporter), *success), &settings);
            }
        }
        testimony
    }

    fn told(of: &[(u16, bool, usize)]) -> Option<Cause> {
        let at_once: Vec<_> = of
            .iter()
            .map(|told| (1_000, told.0, told.1, told.2))
            .collect();
        testimony(&at_once).verdict(Moment(1_500), &BreakerDocument::default())
    }

    #[test]
    fn five_failures_in_a_row_are_enough() {
        assert_eq!(told(&[(0, true, 50), (0, false, 4)]), None);
        assert_eq!(told(&[(0, false, 5)]), Some(Cause::ConsecutiveFailures));
    }

    #[test]
    fn a_low_ratio_is_enough_from_the_least_volume_on() {
        let interleaved = |pairs: usize| -> Vec<(u16, bool, usize)> {
            std::iter::repeat_n([(0, false, 1), (0, true, 2)], pairs)
                .flatten()
                .collect()
        };
        assert_eq!(told(&interleaved(6)), None, "18 requests say nothing");
        assert_eq!(told(&interleaved(7)), Some(Cause::SuccessRate));
    }

    #[test]
    fn one_liar_among_three_is_not_believed_and_two_are() {
        assert_eq!(told(&[(0, true, 5), (1, true, 5), (2, false, 5_000)]), None);
        let two = told(&[(0, true, 5), (1, false, 9), (2, false, 9)]);
        assert_eq!(two, Some(Cause::ConsecutiveFailures));
        assert_eq!(
            told(&[(0, true, 5), (1, false, 5)]),
            None,
            "one against one"
        );
    }

    #[test]
    fn a_crowd_beyond_the_seats_is_one_voice() {
        let many: Vec<_> = (0..100).map(|k| (k, k >= 16, 9)).collect();
        assert_eq!(told(&many), Some(Cause::ConsecutiveFailures));
        let many: Vec<_> = (0..100).map(|k| (k, k < 16, 9)).collect();
        assert_eq!(told(&many), None);
    }

    /// A voice whose last word was older than the failure defended the node for ten seconds.
    #[test]
    fn who_spoke_last_before_the_failures_defends_for_five_pauses_only() {
        let settings = BreakerDocument::default();
        // Two that are asked ten times a second were well content; then only the third is asked, and it fails.
        let well = (1..=90).flat_map(|step| [1, 2].map(|who| (step * 100, who, true, 1)));
        let failing = [(9_100, 3, false, 3), (9_500, 3, false, 4)];
        let told: Vec<_> = well.chain(failing).collect();
        let testimony = testimony(&told);
        assert_eq!(testimony.verdict(Moment(10_300), &settings), None);
        let verdict = testimony.verdict(Moment(10_400), &settings);
        assert_eq!(verdict, Some(Cause::ConsecutiveFailures));
    }

    #[test]
    fn who_is_seldom_asked_is_waited_for() {
        let settings = BreakerDocument::default();
        let well = (1..=30).flat_map(|step| [1, 2].map(|who| (step * 2_000, who, true, 1)));
        let failing = [(60_100, 3, false, 500), (66_000, 3, false, 1)];
        let told: Vec<_> = well.chain(failing).collect();
        let testimony = testimony(&told);
        assert_eq!(testimony.verdict(Moment(68_000), &settings), None);
        let verdict = testimony.verdict(Moment(72_000), &settings);
        assert_eq!(verdict, Some(Cause::ConsecutiveFailures));
    }

    /// Bursts of requests made ten milliseconds the usual pause, and nobody a defender between them.
    #[test]
    fn who_is_asked_in_bursts_is_waited_for_between_them() {
        let settings = BreakerDocument::default();
        let burst =
            |at: u64| (0..100).flat_map(move |n| [1, 2].map(|who| (at + 10 * n, who, true, 1)));
        let well = [0, 30_000, 60_000].into_iter().flat_map(burst);
        let failing = [(61_500, 3, false, 500), (95_000, 3, false, 500)];
        let told: Vec<_> = well.chain(failing).collect();
        let testimony = testimony(&told);
        assert_eq!(testimony.verdict(Moment(95_000), &settings), None);
        let verdict = testimony.verdict(Moment(240_000), &settings);
        assert_eq!(verdict, Some(Cause::ConsecutiveFailures));
    }

    /// A new term began with nobody known, and whoever spoke first was the only one to be heard.
    #[test]
    fn who_had_a_say_before_a_new_term_is_waited_for_in_it() {
        let settings = BreakerDocument::default();
        let well = (1..=30).flat_map(|step| [1, 2].map(|who| (step * 1_000, who, true, 1)));
        let well: Vec<_> = well.collect();
        let mut testimony = testimony(&well);
        testimony.dismiss_silent(Moment(30_500), &settings);
        testimony.begin_term(Moment(30_500));
        testimony.begin_term(Moment(90_500));
        for _ in 0..500 {
            testimony.add(Moment(90_600), (Reporter(3), false), &settings);
        }
        assert_eq!(testimony.verdict(Moment(90_600), &settings), None);
        let verdict = testimony.verdict(Moment(99_000), &settings);
        assert_eq!(verdict, Some(Cause::ConsecutiveFailures));
    }

    #[test]
    fn who_has_seen_nothing_but_failures_since_joins_the_accuser() {
        let settings = BreakerDocument::default();
        let verdict = |failures| {
            let told = [
                (0, 1, true, 50),
                (0, 2, true, 50),
                (500, 3, false, 5),
                (900, 2, false, failures),
            ];
            testimony(&told).verdict(Moment(1_000), &settings)
        };
        assert_eq!(
            verdict(1),
            None,
            "it may be chance, and another is waited for"
        );
        assert_eq!(verdict(2), Some(Cause::ConsecutiveFailures));
    }

    #[test]
    fn one_of_three_that_tells_of_slow_answers_is_not_believed_and_two_are() {
        let settings = BreakerDocument::default();
        let slow = |liars: u16| {
            let mut testimony = testimony(&[(0, 1, true, 1), (0, 2, true, 1), (0, 3, true, 1)]);
            for step in 0..200 {
                for reporter in 1..=3 {
                    let word = (Reporter(reporter), reporter <= liars);
                    testimony.timed(Moment(step * 100), word, &settings);
                }
            }
            testimony.is_lastingly_slow(Moment(20_000))
        };
        assert_eq!(
            [slow(0), slow(1), slow(2), slow(3)],
            [false, false, true, true]
        );
    }
}
