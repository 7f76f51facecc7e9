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
struct Wave {
    /// Percent of the members, above 0 to 100.
    percent: f64,
    /// How long after the text was published, in ms.
    after_ms: u64,
}

/// How long it takes unless something else is wanted, until all have a text.
pub const USUALLY_WITHIN_MS: u64 = 60_000;

/// One in twenty at once, a quarter after half of the time, and then all.
fn waves(within_ms: u64) -> [Wave; 3] {
    [(5.0, 0), (25.0, within_ms / 2), (100.0, within_ms)]
        .map(|(percent, after_ms)| Wave { percent, after_ms })
}

/// Where a member is among all for a text, 0 to 1: it takes part in the first wave whose share is above that.
fn place(member: MemberId, text: u64) -> f64 {
    // 53 bits are what a number of this kind holds.
    from_u64(member.rank(text) >> 11) / from_u64(1 << 53)
}

/// How long a member waits after it heard of a text that all are to have within so long, in ms.
pub fn waits_ms(member: MemberId, text: u64, within_ms: u64) -> u64 {
    let place = place(member, text) * 100.0;
    let waves = waves(within_ms);
    let wave = waves.iter().find(|wave| place < wave.percent);
    wave.map_or(within_ms, |wave| wave.after_ms)
}

/// What all are to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pointer {
    /// Its place in the history of all that were published: a later one is larger.
    pub revision: u64,
    /// A hash of its texts.
    pub texts: u64,
}

/// How a member stands to what was published last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has it, or nothing was ever published.
    InForce,
    /// Its wave has not come, or it is on its way.
    Waits,
    /// It was refused here.
    Refused,
    /// The bus has an older one than is in force here, or another of the same revision: it has lost some.
    Lost,
}

/// Furthest that a revision may be above the highest that is known. One that is further would leave no numbers for those to come.
pub const MAX_AHEAD: u64 = 1 << 20;

/// Largest revision.
pub const MAX_REVISION: u64 = 1 << 40;

/// What a member has of what is published. Revisions only rise: what a bus says that has lost some is not followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Follower {
    in_force: Pointer,
    /// What an earlier run had in force, whose texts are to be looked at again.
    is_resumed: bool,
    /// The last that was refused here.
    refused: u64,
    /// The highest that was ever heard of.
    highest: u64,
    next: Option<(Pointer, Moment)>,
    /// What the bus has.
    heard: Option<Pointer>,
}

impl Follower {
    /// One that had a revision in force in an earlier run, 0 for none.
    pub fn resume(revision: u64) -> Self {
        Self {
            in_force: Pointer { revision, texts: 0 },
            is_resumed: true,
            highest: revision,
            ..Self::default()
        }
    }

    /// The revision in force; 0 where none is of the fleet.
    pub fn revision(&self) -> u64 {
        self.in_force.revision
    }

    /// The highest revision that was ever heard of here.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether a revision can be one: not far above those that are known.
    pub fn is_believable(&self, revision: u64) -> bool {
        let most = match self.highest {
            0 => MAX_REVISION,
            known => MAX_REVISION.min(known.saturating_add(MAX_AHEAD)),
        };
        (1..=most).contains(&revision)
    }

    /// Hears what the bus has, which its wave has after `waits_ms`; whether it is to be taken at some time. Of one that is under
    /// way already nothing is heard twice, so that its time stays.
    pub fn hear(&mut self, now: Moment, pointer: Pointer, waits_ms: u64) -> bool {
        self.heard = Some(pointer);
        self.highest = self.highest.max(pointer.revision);
        // The bus has one: what else was waited for is there no more.
        self.next = self.next.filter(|(next, _)| *next == pointer);
        if std::mem::take(&mut self.is_resumed) && pointer.revision == self.in_force.revision {
            // It may not have been kept, or something else may have come into force since.
            self.next = Some((pointer, now));
            return true;
        }
        let is_known = self.next.is_some();
        if is_known || pointer.revision <= self.in_force.revision.max(self.refused) {
            return false;
        }
        self.next = Some((pointer, now.plus(waits_ms)));
        true
    }

    /// Takes what the bus has once more, because something else may be in force.
    pub fn again(&mut self, now: Moment) {
        let heard = self
            .heard
            .filter(|it| it.revision >= self.in_force.revision);
        if let (Some(heard), None) = (heard, self.next) {
            self.next = Some((heard, now));
        }
    }

    /// When what is waited for is to be taken.
    pub fn when(&self) -> Option<Moment> {
        self.next.map(|(_, due)| due)
    }

    /// What the time has come for.
    pub fn due(&self, now: Moment) -> Option<Pointer> {
        let (next, due) = self.next?;
        (due <= now).then_some(next)
    }

    /// It could not be had: it is tried again.
    pub fn put_off(&mut self, revision: u64, until: Moment) {
        if let Some((next, due)) = &mut self.next
            && next.revision == revision
        {
            *due = until;
        }
    }

    /// It is in force here.
    pub fn took(&mut self, pointer: Pointer) {
        self.settle(pointer.revision);
        self.highest = self.highest.max(pointer.revision);
        if pointer.revision >= self.in_force.revision {
            self.in_force = pointer;
        }
    }

    /// It was refused here.
    pub fn refused(&mut self, revision: u64) {
        self.settle(revision);
        self.refused = revision.max(self.refused);
    }

    fn settle(&mut self, revision: u64) {
        self.next = self.next.filter(|(next, _)| next.revision > revision);
    }

    /// How it stands to what was published last.
    pub fn standing(&self) -> Standing {
        if self.next.is_some() {
            return Standing::Waits;
        }
        let Some(heard) = self.heard else {
            return Standing::InForce;
        };
        match heard.revision.cmp(&self.in_force.revision) {
            // It is neither in force nor waited for.
            Ordering::Greater => Standing::Refused,
            // Tried once more after something else was, and refused then.
            Ordering::Equal if self.refused == heard.revision => Standing::Refused,
            Ordering::Equal if heard.texts == self.in_force.texts => Standing::InForce,
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
                .map(|number| waits_ms(member(number), text, 60_000))
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
            all.filter(|number| waits_ms(member(*number), text, 60_000) == 0)
                .collect()
        };
        assert_ne!(
            first(1),
            first(2),
            "it is not always the same who are first"
        );
    }

    /// A revision, and another one of its number as a bus may have it that lost some.
    fn pointer((revision, fork): (u64, u64)) -> Pointer {
        Pointer {
            revision,
            texts: revision * 10 + fork,
        }
    }

    #[derive(Debug, Clone)]
    enum Act {
        Hears { pointer: Pointer, waits_ms: u64 },
        Passes(u64),
        Takes { is_good: bool },
        CannotHave,
        Again,
        Restarts,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            ((1..6_u64, 0..2_u64).prop_map(pointer), 0..3_000_u64)
                .prop_map(|(pointer, waits_ms)| Act::Hears { pointer, waits_ms }),
            (1..2_000_u64).prop_map(Act::Passes),
            any::<bool>().prop_map(|is_good| Act::Takes { is_good }),
            Just(Act::CannotHave),
            Just(Act::Again),
            Just(Act::Restarts),
        ]
    }

    proptest! {
        /// F6: whatever is heard, in any order and often, the revision in force never falls, nothing is taken before its time, nor
        /// what the bus has no more; and what is waited for is what the bus has.
        #[test]
        fn revisions_only_rise(acts in prop::collection::vec(act(), 0..60)) {
            let mut follower = Follower::default();
            let mut now = Moment(0);
            let mut earliest = std::collections::BTreeMap::new();
            let mut bus = None;
            for act in acts {
                let before = follower.revision();
                match act {
                    Act::Hears { pointer, waits_ms } => {
                        bus = Some(pointer);
                        let is_anew = pointer.revision > before;
                        if follower.hear(now, pointer, waits_ms) && is_anew {
                            earliest.insert(pointer.revision, now.plus(waits_ms));
                        }
                    }
                    Act::Passes(ms) => now = now.plus(ms),
                    Act::Takes { is_good } => {
                        if let Some(due) = follower.due(now) {
                            let known = earliest.get(&due.revision).copied();
                            prop_assert!(known.is_none_or(|at| at <= now));
                            prop_assert_eq!(Some(due.revision), bus.map(|bus| bus.revision));
                            if is_good {
                                follower.took(due);
                                prop_assert_eq!(follower.revision(), due.revision.max(before));
                            } else {
                                follower.refused(due.revision);
                            }
                        }
                    }
                    Act::CannotHave => {
                        if let Some(due) = follower.due(now) {
                            follower.put_off(due.revision, now.plus(1));
                            prop_assert_eq!(follower.due(now), None);
                        }
                    }
                    Act::Again => follower.again(now),
                    Act::Restarts => {
                        follower = Follower::resume(follower.revision());
                        earliest.clear();
                    }
                }
                prop_assert!(follower.revision() >= before);
                prop_assert!(follower.highest() >= follower.revision());
                // Whoever waits for nothing due has nothing to wake up for.
                prop_assert!(follower.when().is_none_or(|when| when > now || follower.due(now).is_some()));
            }
        }
    }

    #[test]
    fn how_a_member_stands_is_told() {
        let mut follower = Follower::default();
        let at = Moment(0);
        assert_eq!(
            follower.standing(),
            Standing::InForce,
            "nothing was published"
        );
        follower.hear(at, pointer((1, 0)), 10);
        assert_eq!(follower.standing(), Standing::Waits);
        follower.took(pointer((1, 0)));
        assert_eq!(follower.standing(), Standing::InForce);
        follower.hear(at, pointer((2, 0)), 0);
        follower.refused(2);
        assert_eq!(follower.standing(), Standing::Refused);
        follower.hear(at, pointer((4, 0)), 60_000);
        follower.hear(at, pointer((3, 0)), 60_000);
        assert_eq!(
            follower.due(Moment(90_000)),
            Some(pointer((3, 0))),
            "4 is lost"
        );
        assert_eq!(follower.highest(), 4, "and whoever publishes goes above it");
        follower.took(pointer((3, 0)));
        for lost in [(2, 0), (3, 1)] {
            assert!(!follower.hear(at, pointer(lost), 0));
            assert_eq!(follower.standing(), Standing::Lost, "{lost:?}");
        }
        assert!(follower.hear(at, pointer((5, 0)), 0), "it goes on above");
    }

    /// A bus that lost what had been refused, and then had another: the first was still waited for, and was there no more.
    #[test]
    fn only_what_the_bus_has_is_waited_for() {
        let (mut follower, at) = (Follower::default(), Moment(0));
        follower.hear(at, pointer((4, 0)), 0);
        follower.refused(4);
        follower.hear(at, pointer((1, 0)), 0);
        follower.again(at);
        assert_eq!(follower.due(at), Some(pointer((1, 0))));
        follower.hear(at, pointer((2, 0)), 0);
        assert_eq!(follower.due(at), None);
        follower.hear(at, pointer((5, 0)), 0);
        follower.hear(at, pointer((5, 1)), 0);
        assert_eq!(follower.due(at), Some(pointer((5, 1))));
    }

    #[test]
    fn one_that_begins_again_looks_at_what_it_had() {
        let mut follower = Follower::resume(3);
        assert!(follower.hear(Moment(7), pointer((3, 0)), 60_000));
        assert_eq!(follower.due(Moment(7)), Some(pointer((3, 0))));
        follower.took(pointer((3, 0)));
        assert!(!follower.hear(Moment(8), pointer((3, 0)), 0));
        let mut follower = Follower::resume(3);
        assert!(
            !follower.hear(Moment(7), pointer((2, 0)), 0),
            "never an older one"
        );
        assert_eq!(follower.standing(), Standing::Lost);
    }

    #[test]
    fn a_number_that_would_leave_none_for_others_is_not_believed() {
        let known = Follower::resume(7);
        assert!(known.is_believable(8) && known.is_believable(7 + MAX_AHEAD));
        assert!(!known.is_believable(0) && !known.is_believable(8 + MAX_AHEAD));
        assert!(!Follower::default().is_believable(u64::MAX));
    }
}
