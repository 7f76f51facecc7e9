//! Texts for a whole fleet, in waves: first a few members take a new one, then more, then all.
//!
//! Who is in which wave is computed from a member's name and the text, as with rollouts: nobody has to agree on it, and it is
//! others each time. A member counts from when it heard of the text, by its own clock. Nothing but purges and drains is ever
//! everywhere at once (Cloudflare's outages of 2025-11-18 and 2025-12-05 were configuration that was).

use super::MemberId;
use crate::number::from_u64;
use crate::time::Moment;

/// A wave: the share of members that have the text from then on, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wave {
    /// Percent of the members, above 0 to 100.
    pub percent: f64,
    /// How long after the text was heard of, in ms.
    pub after_ms: u64,
}

/// The waves unless others are given: one in twenty at once, a quarter after half a minute, all after a minute.
pub const USUAL: [Wave; 3] = [
    Wave {
        percent: 5.0,
        after_ms: 0,
    },
    Wave {
        percent: 25.0,
        after_ms: 30_000,
    },
    Wave {
        percent: 100.0,
        after_ms: 60_000,
    },
];

/// Where a member is among all for a text, 0 to 1: it takes part in the first wave whose share is above that.
pub fn place(member: MemberId, text: u64) -> f64 {
    // 53 bits are what a number of this kind holds.
    from_u64(member.rank(text) >> 11) / from_u64(1 << 53)
}

/// How long a member waits after it heard of a text, in ms; `None` where no wave has it.
pub fn waits_ms(member: MemberId, text: u64, waves: &[Wave]) -> Option<u64> {
    let place = place(member, text) * 100.0;
    let wave = waves.iter().filter(|wave| place < wave.percent);
    wave.map(|wave| wave.after_ms).min()
}

/// A text that all are to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer {
    /// Its place in the history of all that were published: a later one is larger.
    pub revision: u64,
    /// A hash of the text.
    pub text: u64,
}

/// What a member has of one kind of text. Revisions only rise: what a bus says that has lost some is not followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Follower {
    in_force: u64,
    /// The last that was refused here.
    refused: u64,
    next: Option<(Pointer, Moment)>,
}

impl Follower {
    /// One that had a revision in force in an earlier run.
    pub fn resume(in_force: u64) -> Self {
        Self {
            in_force,
            ..Self::default()
        }
    }

    /// The revision in force; 0 where none is of the fleet.
    pub fn in_force(&self) -> u64 {
        self.in_force
    }

    /// The last revision that was refused here, if that is later than the one in force.
    pub fn refused(&self) -> Option<u64> {
        (self.refused > self.in_force).then_some(self.refused)
    }

    /// Hears of a text, which its wave has after `waits_ms`; whether it is to be taken at some time. Of one that is under way
    /// already nothing is heard twice, so that its time stays.
    pub fn hear(&mut self, now: Moment, pointer: Pointer, waits_ms: u64) -> bool {
        let next = self.next.map_or(0, |(next, _)| next.revision);
        let latest = self.in_force.max(self.refused).max(next);
        if pointer.revision <= latest {
            return false;
        }
        self.next = Some((pointer, now.plus(waits_ms)));
        true
    }

    /// The text whose time has come.
    pub fn due(&self, now: Moment) -> Option<Pointer> {
        let (next, due) = self.next?;
        (due <= now).then_some(next)
    }

    /// What became of a text that was due.
    pub fn done(&mut self, revision: u64, is_in_force: bool) {
        if self.next.is_some_and(|(next, _)| next.revision <= revision) {
            self.next = None;
        }
        let known = if is_in_force {
            &mut self.in_force
        } else {
            &mut self.refused
        };
        *known = revision.max(*known);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEMBERS: u64 = 2_000;

    fn member(number: u64) -> MemberId {
        MemberId::of_name(&format!("sidecar-{number}"))
    }

    /// F6: at no time have more members a text than its wave allows, and in the end all.
    #[test]
    fn a_wave_is_never_exceeded_and_all_come_in_the_end() {
        for text in [1, 2, 0xfeed] {
            let waits: Vec<u64> = (0..MEMBERS)
                .map(|number| waits_ms(member(number), text, &USUAL).unwrap())
                .collect();
            for (until_ms, percent) in [(29_999, 5.0), (59_999, 25.0), (60_000, 100.0)] {
                let has = waits.iter().filter(|waits| **waits <= until_ms).count() as u64;
                let share = 100.0 * from_u64(has) / from_u64(MEMBERS);
                // A share of a hash: within three deviations of a draw.
                assert!((share - percent).abs() < 2.5, "{share} at {until_ms}");
            }
        }
        let first = |text| -> Vec<u64> {
            let all = 0..MEMBERS;
            all.filter(|number| waits_ms(member(*number), text, &USUAL) == Some(0))
                .collect()
        };
        assert_ne!(
            first(1),
            first(2),
            "it is not always the same who are first"
        );
    }

    #[derive(Debug, Clone)]
    enum Act {
        Hears { revision: u64, waits_ms: u64 },
        Passes(u64),
        Takes { is_good: bool },
        Restarts,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (1..6_u64, 0..3_000_u64)
                .prop_map(|(revision, waits_ms)| Act::Hears { revision, waits_ms }),
            (1..2_000_u64).prop_map(Act::Passes),
            any::<bool>().prop_map(|is_good| Act::Takes { is_good }),
            Just(Act::Restarts),
        ]
    }

    proptest! {
        /// F6: whatever is heard, in any order and often, the revision in force never falls, what was refused is never in force, and
        /// nothing is taken before its time.
        #[test]
        fn revisions_only_rise(acts in prop::collection::vec(act(), 0..60)) {
            let mut follower = Follower::default();
            let mut now = Moment(0);
            let mut earliest = std::collections::BTreeMap::new();
            let mut refused = std::collections::BTreeSet::new();
            for act in acts {
                let before = follower.in_force();
                match act {
                    Act::Hears { revision, waits_ms } => {
                        if follower.hear(now, Pointer { revision, text: revision }, waits_ms) {
                            earliest.insert(revision, now.plus(waits_ms));
                        }
                    }
                    Act::Passes(ms) => now = now.plus(ms),
                    Act::Takes { is_good } => {
                        if let Some(due) = follower.due(now) {
                            prop_assert!(earliest[&due.revision] <= now);
                            follower.done(due.revision, is_good);
                            if !is_good {
                                refused.insert(due.revision);
                            }
                        }
                    }
                    Act::Restarts => {
                        follower = Follower::resume(follower.in_force());
                        // It may be tried once more by another process, of another release.
                        refused.clear();
                    }
                }
                prop_assert!(follower.in_force() >= before);
                prop_assert!(!refused.contains(&follower.in_force()));
            }
        }
    }
}
