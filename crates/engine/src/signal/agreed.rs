//! What reporters agree on: counts and times told by several, read as if one had told them.
//!
//! One or two reporters are believed as they are, their words added up. From three on each is a voice of its own, and what
//! counts is the median over voices, weighted by what each has told and capped so that none weighs more than a third: one
//! of three may say what it likes, in whatever number, and the value stays between those of the other two.
//!
//! A voice needs ten answers, or a tenth of what the loudest has told: three curious people with a browser must not outvote
//! the proxy that carries the traffic, nor may one that floods make voices of the others impossible.
//!
//! Room: up to six reporters are told apart, all further ones share a seat. A voice of counts takes 64 bytes; one of
//! times some 0.5 kB for usual times, 7 kB for times of every length there is.

use hdrhistogram::Histogram;

use super::latency::{Steps, Window};
use super::observation::Reporter;
use super::ratio::Counts;
use super::voices::{Voices, Word};
use crate::number::{from_u64, to_u64};
use crate::time::Moment;

/// Reporters told apart for one node or site: more than agree in practice, few enough for ten thousand nodes.
const SEATS: usize = 6;

/// Answers that make a voice of a reporter; fewer do only where nobody has told [`LOUDER`] times as much.
const VOICE_FROM: u64 = 10;
const LOUDER: u64 = 10;

/// How many times a voice has told of, and some of their quantiles.
type Times<const N: usize> = (u64, [Option<f64>; N]);

/// Voices from which on the median counts.
pub const JURY: usize = 3;

impl Word for Counts {
    fn last(&self) -> Moment {
        Self::last(self)
    }
}

impl Word for Window {
    fn last(&self) -> Moment {
        Self::last(self)
    }
}

/// Counts of two kinds, by reporter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgreedCounts {
    voices: Voices<Counts, SEATS>,
    window_ms: u64,
    last: Moment,
}

impl AgreedCounts {
    /// Counts `good` and `bad` more that `reporter` told of.
    pub fn add(
        &mut self,
        (now, window_ms): (Moment, u64),
        reporter: Reporter,
        (good, bad): (u32, u32),
    ) {
        let counts = self.voices.of(now, window_ms, reporter);
        counts.add(now, window_ms, good, bad);
        (self.window_ms, self.last) = (window_ms, now);
    }

    /// Takes back bad ones that `reporter` told of and that were not bad.
    pub fn take_back(&mut self, (now, window_ms): (Moment, u64), reporter: Reporter, bad: u32) {
        if let Some(counts) = self.voices.known(reporter) {
            counts.take_back(now, window_ms, bad);
        }
    }

    /// Good and bad within the window that ends now: of all, in the ratio that was agreed on.
    pub fn sums(&self, now: Moment, window_ms: u64) -> (u64, u64) {
        let words = self.voices.iter().map(|(_, counts)| {
            let (good, bad) = counts.sums(now, window_ms);
            (good, bad)
        });
        agreed_sums(words)
    }

    /// The same of the last window in which anything was counted, however long ago.
    pub fn known(&self) -> (u64, u64) {
        self.sums(self.last, self.window_ms)
    }

    /// By how much the ratio of good ones rose within that window; see [`Counts::rise`].
    pub fn rise(&self) -> f64 {
        let current = |counts: &Counts| counts.turned_to(self.last, self.window_ms);
        let mut rises: Vec<(f64, u64)> = Vec::new();
        let mut all = Counts::default().turned_to(self.last, self.window_ms);
        let loudest = self.loudest();
        for (_, counts) in self.voices.iter() {
            let counts = current(counts);
            all.absorb(&counts);
            let (good, bad) = counts.known();
            if is_voice(good + bad, loudest) {
                rises.push((counts.rise(), 1));
            }
        }
        if rises.len() < JURY {
            return all.rise();
        }
        median(&mut rises)
    }

    /// When something was last counted.
    pub fn last(&self) -> Moment {
        self.last
    }

    /// What each reporter that has told something `since` then says by itself, in the window that [`AgreedCounts::known`] is
    /// of; nothing where they are too few to disagree with.
    pub fn words(&self, since: Moment) -> impl Iterator<Item = (Reporter, (u64, u64))> {
        let loudest = self.loudest();
        let sums = |counts: &Counts| counts.sums(self.last, self.window_ms);
        let words: Vec<_> = self
            .voices
            .iter()
            .map(|(who, counts)| (who, counts.last(), sums(counts)))
            .filter(|(.., (good, bad))| is_voice(good + bad, loudest))
            .collect();
        let heard = if words.len() < JURY {
            Vec::new()
        } else {
            words
        };
        let heard = heard.into_iter().filter(move |(_, last, _)| *last >= since);
        heard.filter_map(|(who, _, counts)| Some((who?, counts)))
    }

    fn loudest(&self) -> u64 {
        let counts = self.voices.iter().map(|(_, counts)| {
            let (good, bad) = counts.sums(self.last, self.window_ms);
            good + bad
        });
        counts.max().unwrap_or(0)
    }
}

/// Good and bad of several voices: all of them, in the ratio agreed on.
pub fn agreed_sums(words: impl Iterator<Item = (u64, u64)> + Clone) -> (u64, u64) {
    let add = |(a, b): (u64, u64), (good, bad)| (a + good, b + bad);
    let (good, bad) = words.clone().fold((0, 0), add);
    let loudest = words.clone().map(|(good, bad)| good + bad).max();
    let loudest = loudest.unwrap_or(0);
    let mut ratios: Vec<(f64, u64)> = words
        .map(|(good, bad)| (good, good + bad))
        .filter(|(_, all)| is_voice(*all, loudest))
        .map(|(good, all)| (from_u64(good) / from_u64(all), all))
        .collect();
    if ratios.len() < JURY {
        return (good, bad);
    }
    let all = good + bad;
    let good = to_u64((median(&mut ratios) * from_u64(all)).round()).min(all);
    (good, all - good)
}

/// Times of one kind at one place, by reporter.
#[derive(Debug, Clone, Default)]
pub struct AgreedTimes {
    voices: Voices<Window, SEATS>,
    half_window_ms: u64,
    last: Moment,
}

impl AgreedTimes {
    /// Records a time in microseconds that `reporter` told; 0 counts as 1, more than ten minutes as ten minutes.
    pub fn record(
        &mut self,
        (now, half_window_ms): (Moment, u64),
        reporter: Reporter,
        time_us: u32,
    ) {
        let voice = self.voices.of(now, 2 * half_window_ms, reporter);
        voice.record(now, half_window_ms, time_us);
        (self.half_window_ms, self.last) = (half_window_ms, now);
    }

    /// Takes in a histogram in microseconds that `reporter` made itself, as if it held no more than `most` times.
    pub fn merge(
        &mut self,
        (now, half_window_ms): (Moment, u64),
        reporter: Reporter,
        (times_us, most): (&Histogram<u64>, u64),
    ) {
        let voice = self.voices.of(now, 2 * half_window_ms, reporter);
        voice.merge(now, half_window_ms, (times_us, most));
        (self.half_window_ms, self.last) = (half_window_ms, now);
    }

    /// The time in microseconds that a share `quantile` of the recorded ones does not exceed, as agreed on; `None` when
    /// nothing was recorded.
    pub fn quantile_us(&self, quantile: f64) -> Option<f64> {
        let [value] = self.quantiles_us([quantile]);
        value
    }

    /// Several of them; `quantiles` rise.
    pub fn quantiles_us<const N: usize>(&self, quantiles: [f64; N]) -> [Option<f64>; N] {
        let heard: Vec<&Window> = self.heard().map(|(_, voice)| voice).collect();
        let loudest = heard.iter().map(|voice| voice.count()).max().unwrap_or(0);
        let is_one = |voice: &&&Window| is_voice(voice.count(), loudest);
        let voices: Vec<Times<N>> = if heard.len() < JURY {
            Vec::new()
        } else {
            let voices = heard.iter().filter(is_one);
            voices
                .map(|voice| (voice.count(), voice.quantiles_us(quantiles)))
                .collect()
        };
        if voices.len() < JURY {
            return Steps::of(heard.into_iter()).quantiles(quantiles);
        }
        std::array::from_fn(|at| {
            let word = |(count, values): &Times<N>| {
                let value = values.get(at).copied().flatten()?;
                Some((value, *count))
            };
            let mut words: Vec<(f64, u64)> = voices.iter().filter_map(word).collect();
            (!words.is_empty()).then(|| median(&mut words))
        })
    }

    /// How many times were recorded in the window.
    pub fn count(&self) -> u64 {
        self.heard().map(|(_, voice)| voice.count()).sum()
    }

    /// All times of the window, whoever told them: for people to look at. What decides is what is agreed on.
    pub fn steps(&self) -> Steps {
        Steps::of(self.heard().map(|(_, voice)| voice))
    }

    /// When the last one was recorded.
    pub fn last(&self) -> Moment {
        self.last
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The median that each reporter tells by itself, in microseconds, and of how many; nothing where they are too few to
    /// disagree with.
    pub fn words(&self) -> impl Iterator<Item = (Reporter, (f64, u64))> {
        let heard: Vec<_> = self.heard().collect();
        let loudest = heard.iter().map(|(_, voice)| voice.count()).max();
        let loudest = loudest.unwrap_or(0);
        let heard: Vec<_> = heard
            .into_iter()
            .filter(|(_, voice)| is_voice(voice.count(), loudest))
            .collect();
        let heard = if heard.len() < JURY {
            Vec::new()
        } else {
            heard
        };
        heard.into_iter().filter_map(|(who, voice)| {
            let [median] = voice.quantiles_us([0.5]);
            Some((who?, (median?, voice.count())))
        })
    }

    /// Those who told something within the window: what others said before it is past.
    fn heard(&self) -> impl Iterator<Item = (Option<Reporter>, &Window)> {
        let window_ms = 2 * self.half_window_ms;
        let lately = move |voice: &&Window| self.last.since(voice.last()) < window_ms.max(1);
        let voices = self.voices.iter();
        voices.filter(move |(_, voice)| lately(voice))
    }
}

/// Whether so many answers make a voice, where the loudest has told of so many.
fn is_voice(answers: u64, loudest: u64) -> bool {
    answers >= VOICE_FROM || (answers > 0 && answers * LOUDER >= loudest)
}

/// The median of values that weigh alike; of an even count the mean of the two in the middle, and `None` of none.
pub fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// The median of values by weight, no weight counting as more than a third of all; between two halves, their middle.
/// There are three values at least, or else a single one counts for all.
fn median(words: &mut [(f64, u64)]) -> f64 {
    let most = cap(words);
    words.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let all: u64 = words.iter().map(|(_, weight)| (*weight).min(most)).sum();
    let mut below = 0;
    let mut words = words.iter().peekable();
    while let Some((value, weight)) = words.next() {
        below += (*weight).min(most);
        if 2 * below == all
            && let Some((next, _)) = words.peek()
        {
            return f64::midpoint(*value, *next);
        }
        if 2 * below >= all {
            return *value;
        }
    }
    0.0
}

/// The largest weight with which none is more than a third of the sum. At most two weights can be above a third of the
/// others' sum, so looking at the two largest is enough.
fn cap(words: &[(f64, u64)]) -> u64 {
    let (mut all, mut first, mut second) = (0_u64, 0, 0);
    for (_, weight) in words {
        all = all.saturating_add(*weight);
        if *weight > first {
            (first, second) = (*weight, first);
        } else {
            second = second.max(*weight);
        }
    }
    if first.saturating_mul(3) <= all {
        return first;
    }
    let with_one = (all - first) / 2;
    if second <= with_one {
        return with_one.max(1);
    }
    (all - first - second).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_MS: u64 = 10_000;

    fn counts(told: &[(u16, u32, u32)]) -> AgreedCounts {
        let mut counts = AgreedCounts::default();
        for (reporter, good, bad) in told {
            let when = (Moment(1_000), WINDOW_MS);
            counts.add(when, Reporter(*reporter), (*good, *bad));
        }
        counts
    }

    #[test]
    fn one_or_two_are_added_up() {
        assert_eq!(counts(&[(1, 90, 10)]).known(), (90, 10));
        assert_eq!(counts(&[(1, 90, 10), (2, 0, 300)]).known(), (90, 310));
    }

    #[test]
    fn one_of_three_moves_the_ratio_no_further_than_the_others_are_apart() {
        for (good, bad) in [(0, 50), (0, 3_000_000), (3_000_000, 0), (12, 0)] {
            let (good, bad) = counts(&[(1, 98, 2), (2, 970, 30), (3, good, bad)]).known();
            let ratio = from_u64(good) / from_u64(good + bad);
            assert!((0.969..=0.981).contains(&ratio), "{ratio}");
        }
    }

    #[test]
    fn a_few_answers_of_strangers_outvote_nobody() {
        let counts = counts(&[(1, 950, 50), (2, 0, 1), (3, 0, 2)]);
        assert_eq!(counts.known(), (950, 53));
    }

    #[test]
    fn where_all_tell_little_each_is_a_voice_still() {
        let (good, bad) = counts(&[(1, 5, 0), (2, 6, 0), (3, 0, 9)]).known();
        assert_eq!((good, bad), (20, 0));
    }

    #[test]
    fn what_somebody_said_before_the_window_is_past() {
        let mut counts = counts(&[(1, 0, 500), (2, 0, 500)]);
        for second in 60..70 {
            let when = (Moment(second * 1_000), WINDOW_MS);
            counts.add(when, Reporter(3), (10, 0));
        }
        assert_eq!(counts.known(), (100, 0));
    }

    #[test]
    fn caps_leave_no_weight_above_a_third() {
        let weights = [1_u64, 2, 10, 50, 999, 1_000_000];
        for a in weights {
            for b in weights {
                for c in weights {
                    for d in weights {
                        let words = [(0.0, a), (0.0, b), (0.0, c), (0.0, d)];
                        let most = cap(&words);
                        let capped = words.map(|(_, weight)| weight.min(most));
                        let all: u64 = capped.iter().sum();
                        assert!(
                            capped.iter().all(|weight| 3 * weight <= all + 2),
                            "{words:?}: {capped:?}"
                        );
                    }
                }
            }
        }
    }

    /// Who told of cold caches and then nothing more differed from the others as their caches went on to warm up.
    #[test]
    fn who_has_been_silent_since_says_nothing() {
        let mut counts = counts(&[(1, 10, 90), (2, 10, 90), (3, 10, 90)]);
        for second in 2..9 {
            for reporter in [1, 2] {
                let when = (Moment(second * 1_000), WINDOW_MS);
                counts.add(when, Reporter(reporter), (90, 10));
            }
        }
        let said = |since| counts.words(Moment(since)).map(|(who, _)| who.0);
        assert_eq!(said(1_000).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(said(1_001).collect::<Vec<_>>(), [1, 2]);
    }

    fn times(told: &[(u16, u32, usize)]) -> AgreedTimes {
        let mut times = AgreedTimes::default();
        for (reporter, time_us, count) in told {
            for _ in 0..*count {
                times.record((Moment(1_000), 5_000), Reporter(*reporter), *time_us);
            }
        }
        times
    }

    #[test]
    fn one_of_three_moves_no_quantile() {
        for lie in [1, 600_000_000] {
            let times = times(&[(1, 2_000, 100), (2, 2_100, 20), (3, lie, 5_000)]);
            for value in times.quantiles_us([0.5, 0.9, 0.99]) {
                let value = value.unwrap();
                assert!((2_000.0..2_200.0).contains(&value), "{value}");
            }
        }
    }

    #[test]
    fn a_histogram_counts_as_no_more_than_was_sent() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 600_000_000, 2).unwrap();
        histogram.record_n(599_000_000, 1_000_000_000).unwrap();
        let mut times = times(&[(1, 2_000, 100)]);
        times.merge((Moment(1_000), 5_000), Reporter(2), (&histogram, 40));
        assert_eq!(times.count(), 140);
        assert!(times.quantile_us(0.5).unwrap() < 2_100.0);
    }
}
