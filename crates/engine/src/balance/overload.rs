//! Which requests are turned away where there is no room for all: those of low priority first, critical ones last.
//!
//! One number for each node, its *level*, says it all. From 0 to 256 it is the share of low requests that are shed there,
//! in 256ths; from 256 to 512 that of normal ones, all low ones being shed; beyond, that of critical ones. So whatever moves
//! the level, nothing is shed at a node while anything of less priority passes there.
//!
//! The level is solved for, not steered to: what a node would be used were nothing shed is what it tells over the share that
//! passed, and what of that is above the bound must go.

use crate::number::to_u64;
use crate::policy::Priority;

/// All requests of one priority, in 256ths.
const ALL: u16 = 256;

/// The highest level: nothing passes.
pub const MAX_LEVEL: u16 = 3 * ALL;

/// How much less is shed a second later at most, in 256ths of a priority: caches and queues fill again in slices.
const RELEASE: u16 = 16;

/// Above this level of a priority too little of it passes to know how much of it is asked for.
const UNSEEN: u16 = 240;

/// What is kept of the rates asked for after a second; the rest is what was seen in it.
const KEEP: f64 = 0.7;

/// What is kept of the demand after a second while something is shed: utilisation is told with noise.
const KEEP_DEMAND: f64 = 0.5;

/// Most work that is taken to wait at a node, in seconds: callers give up, and what they gave up is not done.
const MAX_BACKLOG_S: f64 = 2.0;

/// How much of what a node can do is kept free at most until waiting work is done.
const CATCHING_UP: f64 = 0.5;

/// For how long the same requests are shed, in ms; then lots are drawn anew.
pub const TURN_MS: u64 = 5_000;

/// The soonest that a caller is told to come back, in seconds: not within its turn, for it would be shed again.
const RETRY_FROM_S: u8 = 5;

/// Over how many seconds callers come back.
const RETRY_SPREAD_S: u8 = 11;

/// The share of requests with this priority that a node at `level` sheds, in 256ths.
pub fn share(level: u16, priority: Priority) -> u16 {
    level
        .saturating_sub(ALL * u16::from(priority.rank()))
        .min(ALL)
}

/// Whether a node at `level` sheds the request of this priority that has drawn `lot`.
pub fn is_shed(level: u16, priority: Priority, lot: u8) -> bool {
    u16::from(lot) < share(level, priority)
}

/// When the caller whose request was shed should come back, in seconds from now, by a lot: 5 to 15.
pub fn retry_after_s(lot: u8) -> u8 {
    RETRY_FROM_S + lot % RETRY_SPREAD_S
}

/// What was seen of a node in the last second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Second {
    /// Requests that were sent to it, by the rank of their priority.
    pub sent: [u32; Priority::ALL.len()],
    /// Its utilisation, where it is known.
    pub utilisation: Option<f64>,
    /// Whether others could take over what it has too much.
    pub others_have_room: bool,
}

/// What a node sheds, and what that rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overload {
    level: u16,
    /// Requests a second that it is asked for, by the rank of their priority, shed or not.
    asked: [f64; Priority::ALL.len()],
    /// The share of them that passed in the last second, and in the one before.
    passed: [f64; 2],
    /// What it would be used were nothing shed; `None` where that is not known.
    demand: Option<f64>,
    /// Work that waits there, in seconds.
    backlog_s: f64,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            level: 0,
            asked: [0.0; Priority::ALL.len()],
            passed: [1.0; 2],
            demand: None,
            backlog_s: 0.0,
        }
    }
}

impl Overload {
    /// The level.
    pub fn level(&self) -> u16 {
        self.level
    }

    /// The utilisation that it would have were nothing shed; `None` where nothing is, or it is not known.
    pub fn demand(&self) -> Option<f64> {
        self.demand.filter(|_| self.level > 0)
    }

    /// The share of its requests that it sheds, 0 to 1.
    pub fn shed_ratio(&self) -> f64 {
        1.0 - self.passing()
    }

    /// Moves the level, once a second. `bound` is the utilisation to be kept, above 0 and at most 1; without one nothing is shed.
    pub fn step(&mut self, second: &Second, bound: Option<f64>) {
        self.count(&second.sent);
        let Some(bound) = bound else {
            self.level = 0;
            return;
        };
        let [before, _] = self.passed;
        self.passed = [self.passing(), before];
        self.note_demand(second.utilisation);
        let wanted = self.wanted(second, bound);
        self.level = if wanted > self.level {
            let is_relieved = second.others_have_room
                && second
                    .utilisation
                    .is_some_and(|utilisation| utilisation < 1.0);
            if is_relieved { self.level } else { wanted }
        } else {
            wanted.max(self.level.saturating_sub(RELEASE))
        };
    }

    /// Learns what is asked for: what was sent over the share that passed.
    fn count(&mut self, sent: &[u32; Priority::ALL.len()]) {
        let by_priority = Priority::ALL.iter().zip(&mut self.asked).zip(sent);
        for ((priority, asked), sent) in by_priority {
            let shed = share(self.level, *priority);
            if shed <= UNSEEN {
                let all = f64::from(*sent) / (1.0 - ratio(shed));
                *asked = *asked * KEEP + all * (1.0 - KEEP);
            }
        }
    }

    /// Of what is asked for, the share of each priority; all of it normal where nobody asked.
    fn parts(&self) -> [f64; Priority::ALL.len()] {
        let all: f64 = self.asked.iter().sum();
        if all > 0.0 {
            self.asked.map(|asked| asked / all)
        } else {
            [0.0, 1.0, 0.0]
        }
    }

    /// The share of what is asked for that passes at its level, 0 to 1.
    fn passing(&self) -> f64 {
        let parts = self.parts();
        let by_priority = Priority::ALL.iter().zip(parts);
        let passes = by_priority.map(|(it, part)| part * (1.0 - ratio(share(self.level, *it))));
        passes.sum()
    }

    fn note_demand(&mut self, utilisation: Option<f64>) {
        let Some(utilisation) = utilisation else {
            self.demand = None;
            return;
        };
        // What is told now may be of the second before: of both, what explains it by less demand.
        let passed = self.passed.iter().copied().fold(1.0 / 64.0, f64::max);
        let demand = utilisation / passed;
        self.demand = Some(match self.demand {
            Some(known) if self.level > 0 => known * KEEP_DEMAND + demand * (1.0 - KEEP_DEMAND),
            _ => demand,
        });
        self.backlog_s = (self.backlog_s + utilisation - 1.0).clamp(0.0, MAX_BACKLOG_S);
    }

    /// The level at which what passes fits.
    fn wanted(&self, second: &Second, bound: f64) -> u16 {
        let is_calm = self.level == 0 && second.utilisation.is_none_or(|u| u <= bound);
        let Some(demand) = self.demand.filter(|demand| *demand > 0.0 && !is_calm) else {
            return 0;
        };
        let [low, normal, critical] = self.parts();
        let bound = bound - self.backlog_s.min(bound * CATCHING_UP);
        let over = 1.0 - bound / demand;
        if over <= low {
            return part(over, low);
        }
        if over <= low + normal {
            return ALL + part(over - low, normal);
        }
        // The reserve is for them; and what they need is seen, not reckoned, once they are all that passes.
        let others = 2 * ALL;
        let wanted = others + part(critical - 1.0 / demand, critical);
        let is_too_much = second.utilisation.is_some_and(|u| u >= 1.0);
        if self.level >= others && is_too_much {
            wanted
        } else {
            wanted.min(self.level.max(others))
        }
    }
}

/// 256ths as a ratio.
fn ratio(shed: u16) -> f64 {
    f64::from(shed) / f64::from(ALL)
}

/// How much of `whole` must be shed for `over` to go, in 256ths.
fn part(over: f64, whole: f64) -> u16 {
    if over <= 0.0 || whole <= 0.0 {
        return 0;
    }
    let shed = libm::ceil(over / whole * f64::from(ALL));
    u16::try_from(to_u64(shed)).unwrap_or(ALL).min(ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that can do 100 requests a second, and says a second later how much it is used.
    struct Node {
        overload: Overload,
        utilisation: Option<f64>,
        /// Requests that passed in the last second, by priority.
        passed: [u32; 3],
    }

    impl Node {
        fn new() -> Self {
            Self {
                overload: Overload::default(),
                utilisation: None,
                passed: [0; 3],
            }
        }

        /// A second in which it is asked for so much.
        fn second(&mut self, asked: [u32; 3], others_have_room: bool) {
            let level = self.overload.level();
            for ((passed, asked), priority) in self.passed.iter_mut().zip(asked).zip(Priority::ALL)
            {
                let shed = share(level, *priority);
                *passed = asked - asked * u32::from(shed) / u32::from(ALL);
            }
            let told = self.utilisation;
            self.utilisation = Some(f64::from(self.passed.iter().sum::<u32>()) / 100.0);
            let second = Second {
                sent: self.passed,
                utilisation: told,
                others_have_room,
            };
            self.overload.step(&second, Some(0.9));
        }
    }

    #[test]
    fn nothing_is_shed_below_the_bound_nor_without_a_word_of_load() {
        let mut node = Node::new();
        for _ in 0..60 {
            node.second([20, 50, 20], false);
            assert_eq!(node.overload.level(), 0);
        }
        let second = Second {
            sent: [500, 500, 500],
            utilisation: None,
            others_have_room: false,
        };
        node.overload.step(&second, Some(0.9));
        assert_eq!(node.overload.level(), 0, "nobody knows that it is too much");
        let told = Second {
            utilisation: Some(3.0),
            ..second
        };
        node.overload.step(&told, None);
        assert_eq!(node.overload.level(), 0, "the policy sheds nothing");
    }

    #[test]
    fn twice_of_what_it_can_do_is_brought_to_the_bound_and_no_critical_request_is_shed() {
        let mut node = Node::new();
        let mut served = Vec::new();
        for _ in 0..60 {
            node.second([0, 160, 40], false);
            assert!(node.overload.level() <= 2 * ALL);
            assert_eq!(node.passed[2], 40);
            served.push(node.passed.iter().sum::<u32>());
        }
        let settled = &served[20..];
        assert!(
            settled.iter().all(|passed| (80..=92).contains(passed)),
            "{settled:?}"
        );
    }

    #[test]
    fn the_reserve_is_for_critical_requests_which_are_shed_only_when_they_are_too_many() {
        let mut node = Node::new();
        for _ in 0..60 {
            node.second([10, 10, 95], false);
        }
        assert_eq!(node.passed, [0, 0, 95], "95 fit below 100, not below 90");
        for _ in 0..60 {
            node.second([10, 10, 200], false);
        }
        let [low, normal, critical] = node.passed;
        assert_eq!((low, normal), (0, 0));
        assert!((90..=101).contains(&critical), "{critical}");
    }

    #[test]
    fn when_it_is_over_everything_passes_within_a_minute_and_never_more_than_fits() {
        let mut node = Node::new();
        for _ in 0..30 {
            node.second([20, 140, 40], false);
        }
        let mut seconds = 0;
        while node.overload.level() > 0 {
            node.second([8, 56, 16], false);
            seconds += 1;
            assert!(seconds <= 60, "{}", node.overload.level());
        }
        assert!(seconds >= 10, "in slices: {seconds}");
    }

    #[test]
    fn while_others_have_room_only_what_it_cannot_do_at_all_is_shed() {
        let second = |utilisation| Second {
            sent: [0, 100, 0],
            utilisation: Some(utilisation),
            others_have_room: true,
        };
        let mut overload = Overload::default();
        overload.step(&second(0.97), Some(0.9));
        assert_eq!(overload.level(), 0);
        overload.step(&second(1.2), Some(0.9));
        assert!(overload.level() > ALL, "{}", overload.level());
    }

    #[test]
    fn nothing_of_a_priority_is_shed_while_anything_below_it_passes() {
        for level in 0..=MAX_LEVEL {
            for pair in Priority::ALL.windows(2) {
                let shed = share(level, pair[1]);
                assert!(shed == 0 || share(level, pair[0]) == ALL, "{level}");
            }
        }
        assert_eq!(share(MAX_LEVEL, Priority::Critical), ALL);
        assert!(is_shed(1, Priority::Low, 0) && !is_shed(1, Priority::Low, 1));
    }

    #[test]
    fn callers_come_back_over_ten_seconds_and_never_within_their_turn() {
        let all: std::collections::BTreeSet<u8> = (0..=u8::MAX).map(retry_after_s).collect();
        assert_eq!(all, (5..=15).collect());
        assert!(u64::from(RETRY_FROM_S) * 1_000 >= TURN_MS);
    }
}
