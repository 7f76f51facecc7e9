//! Texts for a whole fleet, in waves: first a few members take a new one, then more, then all.
//!
//! Who is in which wave is computed from a member's name and the text, as with rollouts: nobody has to agree on it, and it is
//! others each time. A member counts from when it heard of the text, by its own clock; one that comes later, by its age. Nothing but purges and drains is ever
//! everywhere at once (Cloudflare's outages of 2025-11-18 and 2025-12-05 were configuration that was).

use std::cmp::Ordering;

use super::MemberId;
use crate::number::from_u64;
use crate::time::Moment;

/// A wave: the share of members that have the text from then on, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wave {
    /// Percent of the members, above 0 to 100.
    pub percent: f64,
    /// How long after the text was published, in ms.
    pub after_ms: u64,
}

/// How long it takes unless something else is wanted, until all have a text.
pub const USUALLY_WITHIN_MS: u64 = 60_000;

/// One in twenty at once, a quarter after half of the time, and then all.
pub fn waves(within_ms: u64) -> [Wave; 3] {
    [(5.0, 0), (25.0, within_ms / 2), (100.0, within_ms)]
        .map(|(percent, after_ms)| Wave { percent, after_ms })
}

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
    /// The revision of the other kind of text that it was tried with, which must be in force before it: a policy may name what
    /// only a new topology has, and the other way about. 0 for none.
    pub needs: u64,
}

/// A text that is in force: its revision, and a hash of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InForce {
    /// 0 where no text of the fleet is.
    pub revision: u64,
    /// Of the text.
    pub text: u64,
}

/// How a member stands to what was published last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has it, or nothing was ever published.
    InForce,
    /// Its wave has not come, or it is on its way.
    Waits,
    /// Another text must be in force before: the revision of that.
    Needs(u64),
    /// It was refused here.
    Refused,
    /// The bus has an older one than is in force here, or another of the same revision: it has lost some.
    Lost,
}

/// What a member has of one kind of text. Revisions only rise: what a bus says that has lost some is not followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Follower {
    in_force: InForce,
    /// The last that was refused here.
    refused: u64,
    next: Option<(Pointer, Moment)>,
    /// What the bus has.
    heard: Option<Pointer>,
}

impl Follower {
    /// One that had a text in force in an earlier run.
    pub fn resume(in_force: InForce) -> Self {
        Self {
            in_force,
            ..Self::default()
        }
    }

    /// The text in force.
    pub fn in_force(&self) -> InForce {
        self.in_force
    }

    /// The highest revision that is known here.
    pub fn highest(&self) -> u64 {
        let heard = self.heard.map_or(0, |heard| heard.revision);
        self.in_force.revision.max(self.refused).max(heard)
    }

    /// Hears of a text, which its wave has after `waits_ms`; whether it is to be taken at some time. Of one that is under way
    /// already nothing is heard twice, so that its time stays.
    pub fn hear(&mut self, now: Moment, pointer: Pointer, waits_ms: u64) -> bool {
        self.heard = Some(pointer);
        let next = self.next.map_or(0, |(next, _)| next.revision);
        let latest = self.in_force.revision.max(self.refused).max(next);
        if pointer.revision <= latest {
            return false;
        }
        self.next = Some((pointer, now.plus(waits_ms)));
        true
    }

    /// When the text that is waited for is to be taken, if it has what it needs: so much is in force of the other kind.
    pub fn when(&self, other: u64) -> Option<Moment> {
        let next = self.next.filter(|(next, _)| next.needs <= other);
        next.map(|(_, due)| due)
    }

    /// The text whose time has come.
    pub fn due(&self, now: Moment, other: u64) -> Option<Pointer> {
        let is_due = self.when(other).is_some_and(|due| due <= now);
        self.next.map(|(next, _)| next).filter(|_| is_due)
    }

    /// It could not be had: it is tried again.
    pub fn put_off(&mut self, revision: u64, until: Moment) {
        if let Some((next, due)) = &mut self.next
            && next.revision == revision
        {
            *due = until;
        }
    }

    /// A text is in force here.
    pub fn took(&mut self, pointer: Pointer) {
        self.settle(pointer.revision);
        if pointer.revision > self.in_force.revision {
            self.in_force = InForce {
                revision: pointer.revision,
                text: pointer.text,
            };
        }
    }

    /// A text was refused here.
    pub fn refused(&mut self, revision: u64) {
        self.settle(revision);
        self.refused = revision.max(self.refused);
    }

    fn settle(&mut self, revision: u64) {
        self.next = self.next.filter(|(next, _)| next.revision > revision);
    }

    /// How it stands to what was published last; so much is in force of the other kind.
    pub fn standing(&self, other: u64) -> Standing {
        if let Some((next, _)) = self.next {
            let is_missing = next.needs > other;
            return if is_missing {
                Standing::Needs(next.needs)
            } else {
                Standing::Waits
            };
        }
        let Some(heard) = self.heard else {
            return Standing::InForce;
        };
        let has_it = self.in_force.text == heard.text;
        match heard.revision.cmp(&self.in_force.revision) {
            // It is neither in force nor waited for.
            Ordering::Greater => Standing::Refused,
            Ordering::Equal if has_it => Standing::InForce,
            Ordering::Equal | Ordering::Less => Standing::Lost,
        }
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
                .map(|number| waits_ms(member(number), text, &waves(60_000)).unwrap())
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
            all.filter(|number| waits_ms(member(*number), text, &waves(60_000)) == Some(0))
                .collect()
        };
        assert_ne!(
            first(1),
            first(2),
            "it is not always the same who are first"
        );
    }

    /// A revision, and another one of its number as a bus may have it that lost some.
    fn pointer((revision, fork, needs): (u64, u64, u64)) -> Pointer {
        Pointer {
            revision,
            text: revision * 10 + fork,
            needs,
        }
    }

    #[derive(Debug, Clone)]
    enum Act {
        Hears { pointer: Pointer, waits_ms: u64 },
        Passes(u64),
        OtherIsAt(u64),
        Takes { is_good: bool },
        CannotHave,
        Restarts,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (
                (1..6_u64, 0..2_u64, 0..3_u64).prop_map(pointer),
                0..3_000_u64
            )
                .prop_map(|(pointer, waits_ms)| Act::Hears { pointer, waits_ms }),
            (1..2_000_u64).prop_map(Act::Passes),
            (0..3_u64).prop_map(Act::OtherIsAt),
            any::<bool>().prop_map(|is_good| Act::Takes { is_good }),
            Just(Act::CannotHave),
            Just(Act::Restarts),
        ]
    }

    proptest! {
        /// F6: whatever is heard, in any order and often, the revision in force never falls, what was refused is never in force, and
        /// nothing is taken before its time or before what it needs.
        #[test]
        fn revisions_only_rise(acts in prop::collection::vec(act(), 0..60)) {
            let mut follower = Follower::default();
            let mut now = Moment(0);
            let mut other = 0;
            let mut earliest = std::collections::BTreeMap::new();
            let mut refused = std::collections::BTreeSet::new();
            for act in acts {
                let before = follower.in_force();
                match act {
                    Act::Hears { pointer, waits_ms } => {
                        if follower.hear(now, pointer, waits_ms) {
                            earliest.insert(pointer, now.plus(waits_ms));
                        }
                        if pointer.revision < before.revision {
                            prop_assert_eq!(follower.in_force(), before);
                        }
                    }
                    Act::Passes(ms) => now = now.plus(ms),
                    Act::OtherIsAt(revision) => other = revision.max(other),
                    Act::Takes { is_good } => {
                        if let Some(due) = follower.due(now, other) {
                            prop_assert!(earliest[&due] <= now && due.needs <= other);
                            if is_good {
                                follower.took(due);
                                prop_assert_eq!(follower.in_force().text, due.text);
                            } else {
                                follower.refused(due.revision);
                                refused.insert(due.revision);
                            }
                        }
                    }
                    Act::CannotHave => {
                        if let Some(due) = follower.due(now, other) {
                            follower.put_off(due.revision, now.plus(1));
                            prop_assert_eq!(follower.due(now, other), None);
                        }
                    }
                    Act::Restarts => {
                        follower = Follower::resume(follower.in_force());
                        // It may be tried once more by another process, of another release.
                        refused.clear();
                    }
                }
                prop_assert!(follower.in_force().revision >= before.revision);
                prop_assert!(!refused.contains(&follower.in_force().revision));
                prop_assert!(follower.highest() >= follower.in_force().revision);
            }
        }
    }

    #[test]
    fn how_a_member_stands_is_told() {
        let mut follower = Follower::default();
        assert_eq!(
            follower.standing(0),
            Standing::InForce,
            "nothing was published"
        );
        follower.hear(Moment(0), pointer((1, 0, 0)), 10);
        assert_eq!(follower.standing(0), Standing::Waits);
        follower.took(pointer((1, 0, 0)));
        assert_eq!(follower.standing(0), Standing::InForce);
        follower.hear(Moment(0), pointer((2, 0, 3)), 0);
        assert_eq!(follower.standing(2), Standing::Needs(3));
        assert_eq!(follower.standing(3), Standing::Waits);
        follower.refused(2);
        assert_eq!(follower.standing(3), Standing::Refused);
        follower.hear(Moment(0), pointer((3, 0, 0)), 0);
        follower.took(pointer((3, 0, 0)));
        for lost in [(2, 0, 0), (3, 1, 0)] {
            assert!(!follower.hear(Moment(0), pointer(lost), 0));
            assert_eq!(follower.standing(3), Standing::Lost, "{lost:?}");
        }
        assert!(
            follower.hear(Moment(0), pointer((4, 0, 0)), 0),
            "it goes on above"
        );
    }
}
