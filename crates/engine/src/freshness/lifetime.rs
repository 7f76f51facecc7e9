//! How long caches may keep what they have, where that is to follow how often it changes.
//!
//! Of an object that changes `λ` times a second without anybody being told, and that caches keep for `T`, a share of
//! `λT / 2` of what they answer is older than it should be, as long as that share is small. Whoever tolerates a share of `σ`
//! may keep it for `T = 2σ / λ`.
//!
//! What caches find when they ask about it again tells `λ`: of `n` times that they asked about something of an age of `A`, `k`
//! times it had changed, so `e^(-λA)` is `1 - k/n`. It is asked about by the first request after `T`, which is later the fewer
//! there are: of `m` requests in that time `n` are the first after one and `m - n` found it in the cache, so `A` is
//! `T m / (m - n)`. Half a change and one time more are added, so that few findings speak softly and no number of them
//! says that it never changes. What was purged is asked for under another version and is found by nobody: where every change
//! is purged, nothing is ever found changed, and `T` becomes the longest that is allowed.

use std::fmt;

use crate::document::DurationMs;
use crate::number::{from_u64, to_u64};

/// Steps of a [`Pace`] in a doubling.
const STEPS: f64 = 4.0;

/// How far an estimate must be from a pace to become another one, in steps.
const MARGIN: f64 = 0.75;

/// How often what is asked for changes without a purge, in quarters of an octave, so that it holds still while what it is made
/// from trembles. The default is that nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pace(u8);

/// What caches found, and how they served.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Findings {
    /// How often what was asked about again was still current, and how often it had changed.
    pub current: u64,
    /// See `current`.
    pub changed: u64,
    /// For how long caches might keep it then, in ms, in the mean.
    pub mean_ttl_ms: f64,
    /// How often caches answered with what they had, without asking about it.
    pub kept: u64,
}

impl Findings {
    /// How long an object stays as it is without a purge, in ms; `None` while nothing was found.
    fn interval_ms(&self) -> Option<f64> {
        let found = from_u64(self.current + self.changed);
        if found < 1.0 || self.mean_ttl_ms <= 0.0 {
            return None;
        }
        let changed = (from_u64(self.changed) + 0.5) / (found + 1.0);
        let kept = from_u64(self.kept) + 1.0;
        let age_ms = self.mean_ttl_ms * (kept + found) / kept;
        Some(age_ms / -libm::log1p(-changed))
    }
}

impl Pace {
    /// The pace that these findings speak for; the same as before where they are near it, or say nothing.
    #[must_use]
    pub fn after(self, findings: &Findings) -> Self {
        let Some(interval_ms) = findings.interval_ms() else {
            return self;
        };
        let exact = (STEPS * libm::log2(interval_ms)).clamp(1.0, 255.0);
        if self.0 > 0 && (exact - f64::from(self.0)).abs() < MARGIN {
            return self;
        }
        Self(u8::try_from(to_u64(libm::round(exact))).unwrap_or(u8::MAX))
    }

    /// As a byte, for those who are told.
    pub fn to_byte(self) -> u8 {
        self.0
    }

    /// The pace that a byte stands for.
    pub fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// The time between two changes, in ms; `None` while it is not known.
    pub fn interval_ms(self) -> Option<f64> {
        (self.0 > 0).then(|| libm::exp2(f64::from(self.0) / STEPS))
    }
}

/// How long caches may keep something at least and at most, and how much of what they answer may be old.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adaptive {
    /// In ms; also while nothing is known.
    pub min_ms: u32,
    /// In ms; not below `min_ms`.
    pub max_ms: u32,
    /// The share of what caches answer that may be older than it should be, 0 to 1.
    pub staleness: f64,
}

impl Adaptive {
    /// How long caches may keep what changes at this pace, in ms.
    pub fn ttl_ms(&self, pace: Pace) -> u32 {
        let Some(interval_ms) = pace.interval_ms() else {
            return self.min_ms;
        };
        let ttl_ms = to_u64(2.0 * self.staleness * interval_ms);
        u32::try_from(ttl_ms)
            .unwrap_or(u32::MAX)
            .clamp(self.min_ms, self.max_ms.max(self.min_ms))
    }
}

/// A lifetime that was chosen, in words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// Among these.
    pub adaptive: Adaptive,
    /// By this.
    pub pace: Pace,
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Adaptive {
            min_ms,
            max_ms,
            staleness,
        } = self.adaptive;
        let of_ms = |ms: u32| DurationMs::from_ms(u64::from(ms));
        write!(
            f,
            "caches may keep it for {}",
            of_ms(self.adaptive.ttl_ms(self.pace))
        )?;
        match self.pace.interval_ms() {
            None => write!(
                f,
                ", the least, until caches have told of what they asked about again"
            )?,
            Some(interval_ms) => write!(
                f,
                ": what is asked for of its class changes without a purge once in {}",
                DurationMs::from_ms(to_u64(interval_ms / 1_000.0).max(1) * 1_000)
            )?,
        }
        write!(
            f,
            " ({} to {}, {} % of what caches answer may be old)",
            of_ms(min_ms),
            of_ms(max_ms),
            staleness * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_MS: u32 = 86_400_000;

    fn adaptive(staleness: f64) -> Adaptive {
        Adaptive {
            min_ms: 60_000,
            max_ms: 7 * DAY_MS,
            staleness,
        }
    }

    fn findings(current: u64, changed: u64, mean_ttl_ms: f64) -> Findings {
        Findings {
            current,
            changed,
            mean_ttl_ms,
            kept: 100 * (current + changed),
        }
    }

    fn ttl_of(findings: &Findings) -> u32 {
        adaptive(0.01).ttl_ms(Pace::default().after(findings))
    }

    #[test]
    fn it_is_short_until_something_is_known_and_grows_with_what_is() {
        assert_eq!(ttl_of(&Findings::default()), 60_000);
        assert_eq!(ttl_of(&findings(1, 0, 60_000.0)), 60_000);
        let many = ttl_of(&findings(10_000, 0, 60_000.0));
        assert!((10_000_000..40_000_000).contains(&many), "{many}");
        // An hour's objects of which a tenth had changed: one change in 9.5 hours, of which 2 % are 11 minutes.
        let known = ttl_of(&findings(9_000, 1_000, 3_600_000.0));
        assert!((560_000..820_000).contains(&known), "{known}");
    }

    #[test]
    fn where_every_change_is_purged_it_becomes_the_longest() {
        let week_ms = f64::from(7 * DAY_MS);
        assert_eq!(ttl_of(&findings(1_000_000, 0, week_ms)), 7 * DAY_MS);
    }

    #[test]
    fn what_is_asked_for_seldom_was_older_when_caches_asked_about_it() {
        let often = findings(900, 100, 3_600_000.0);
        let seldom = Findings {
            kept: 1_000,
            ..often
        };
        let ratio = f64::from(ttl_of(&seldom)) / f64::from(ttl_of(&often));
        assert!((1.6..2.4).contains(&ratio), "{ratio}");
    }

    #[test]
    fn it_says_why() {
        let chosen = |pace| Chosen {
            adaptive: adaptive(0.01),
            pace,
        };
        let pace = Pace::default().after(&findings(9_000, 1_000, 3_600_000.0));
        let words = chosen(pace).to_string();
        assert!(
            words.contains("without a purge once in ")
                && words.contains("1 % of what caches answer may be old"),
            "{words}"
        );
        let nothing = chosen(Pace::default()).to_string();
        assert!(
            nothing.starts_with("caches may keep it for 1m, the least"),
            "{nothing}"
        );
    }

    proptest! {
        /// Within its bounds whatever is told; longer for who tolerates more, and shorter where more had changed.
        #[test]
        fn it_is_within_its_bounds_and_goes_the_right_way(
            current in 0_u64..1_000_000, changed in 0_u64..1_000_000, more in 1_u64..1_000_000,
            mean_ttl_ms in 1_000.0..1e10_f64, kept in 0_u64..1_000_000,
            (min_ms, wider) in (0_u32..1_000_000, 0_u32..1_000_000_000), staleness in 0.000_1..1.0_f64,
        ) {
            let told = Findings { current, changed, mean_ttl_ms, kept };
            let bounds = Adaptive { min_ms, max_ms: min_ms + wider, staleness };
            let pace = Pace::default().after(&told);
            let ttl_ms = bounds.ttl_ms(pace);
            prop_assert!((min_ms..=min_ms + wider).contains(&ttl_ms));
            let bolder = Adaptive { staleness: staleness * 1.5, ..bounds };
            prop_assert!(bolder.ttl_ms(pace) >= ttl_ms);
            if current + changed > 0 {
                // As many findings, more of which had changed.
                let more = more.min(current);
                let worse = Findings { current: current - more, changed: changed + more, ..told };
                prop_assert!(Pace::default().after(&worse) <= pace);
            }
            // It holds still: the same findings again change nothing.
            prop_assert_eq!(pace.after(&told), pace);
        }
    }

    /// Objects that change by chance, asked for by chance, in a cache that does as it is told: what is answered old stays near
    /// what is tolerated, and the lifetime near the one that theory says.
    #[test]
    fn caches_that_follow_it_answer_as_little_old_as_is_tolerated() {
        let mut state = 7_u64;
        let mut drawn = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (from_u64(state >> 11) + 0.5) / from_u64(1 << 53)
        };
        for (change_s, ask_s) in [(3_600.0, 5.0), (86_400.0, 60.0), (20_000.0, 2_000.0)] {
            let bounds = adaptive(0.02);
            let mut pace = Pace::default();
            let (mut told, mut ttls) = (Findings::default(), (0.0, 0.0));
            let (mut answers, mut old) = (0_u64, 0_u64);
            // When each object was stored, and when it changes next.
            let mut objects = [(f64::NEG_INFINITY, 0.0_f64); 50];
            let mut now = 0.0;
            for round in 0..600_000 {
                now += -libm::log(drawn()) * ask_s / 50.0;
                let at = usize::try_from(to_u64(drawn() * 50.0)).unwrap_or(0);
                let (stored, changes) = &mut objects[at];
                let ttl_ms = f64::from(bounds.ttl_ms(pace));
                let had_changed = *changes < now;
                if now - *stored < ttl_ms / 1_000.0 {
                    told.kept += 1;
                    if round > 300_000 {
                        (answers, old) = (answers + 1, old + u64::from(had_changed));
                    }
                    continue;
                }
                ttls = (ttls.0 + ttl_ms, ttls.1 + 1.0);
                if had_changed {
                    told.changed += 1;
                    *changes = now - libm::log(drawn()) * change_s;
                } else {
                    told.current += 1;
                }
                *stored = now;
                told.mean_ttl_ms = ttls.0 / ttls.1;
                // What is long past counts less and less.
                if told.current + told.changed > 4_000 {
                    told.current /= 2;
                    told.changed /= 2;
                    told.kept /= 2;
                    ttls = (ttls.0 / 2.0, ttls.1 / 2.0);
                }
                pace = pace.after(&told);
            }
            let share = from_u64(old) / from_u64(answers);
            assert!(
                (0.01..0.026).contains(&share),
                "{change_s} s: {share} of answers were old, kept for {} ms",
                bounds.ttl_ms(pace)
            );
        }
    }
}
