//! The last decisions, so that an outcome told later can be laid at the right door, and is believed once.

use super::positions::Mapping;
use crate::geo::group::Group;
use crate::hash::KeyHash;
use crate::model::{LaneIndex, NodeIndex};
use crate::policy::ClassNumber;
use crate::signal::observation::{DecisionNumber, Dispatch, Named};
use crate::time::Moment;

/// Decisions kept: a power of two. Several seconds of a busy sidecar, in 10 MB.
const KEPT: usize = 1 << 17;

/// Who numbers decisions: the workers, and whoever decides from a copy.
const NUMBERERS: usize = 257;

/// How long after a decision its outcome is believed: attempts end within seconds, whole downloads within a minute mostly,
/// and what is told later still is no news.
const BELIEVED_MS: u64 = 60_000;

/// A decision that is not kept any more is old if those that took its place are older than this; else the traffic is
/// just large.
const OLD_MS: u64 = 10_000;

/// Outcomes believed of a decision whose answer may be used for several requests.
const USES: u8 = 255;

/// What an outcome needs to know of its decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Recent {
    pub(super) number: DecisionNumber,
    /// The lane that decided; the first where it was made from a copy.
    pub(super) lane: LaneIndex,
    /// The key it was ranked by; of one that was made from a copy what is told of it, if anything.
    pub(super) key: Option<KeyHash>,
    /// The generation of the snapshot it was made on; not known of one that was made from a copy.
    pub(super) generation: Option<u64>,
    /// Whom the client shares its way to sites with.
    pub(super) group: Option<Group>,
    /// The content class.
    pub(super) class: ClassNumber,
    /// The nodes named, in order.
    pub(super) named: Named,
    /// When it was made, or came to be known of.
    pub(super) at: Moment,
    told: Told,
}

/// Of which attempts an outcome was told.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Told {
    /// By number, from 1.
    attempts: u8,
    /// Nodes by their place in the list, whatever was said of the attempt's number.
    places: u8,
    /// Those of them that were told without a number.
    unnumbered: u8,
    /// Those of them that were told of twice.
    twice: u8,
    /// Uses left, of an answer that may be used for several requests.
    uses: u8,
}

/// What is thought of an outcome, by its receipt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Claim {
    /// It is of this decision, and the first to be told of its attempt.
    Good(Recent),
    /// Nothing is known of the decision, or it did not name the node: as good as without a receipt.
    Unknown,
    /// Its decision was made too long ago.
    Old,
    /// It was told before.
    Repeated,
}

impl Recent {
    /// Whether what was told last is the first that was told of it. An answer that is used for several requests has a first
    /// word of each: the attempt that is no further one.
    pub(super) fn is_first_word(&self, is_further: bool) -> bool {
        if self.told.uses > 0 {
            return !is_further;
        }
        self.told.places.count_ones() <= 1 && self.told.twice == 0
    }
}

#[cfg(test)]
impl Recent {
    /// A decision of which nothing but its lane and its time matters.
    pub(super) fn of_lane(lane: LaneIndex, at: Moment) -> Self {
        Self {
            number: DecisionNumber(0),
            lane,
            key: None,
            generation: None,
            group: None,
            class: ClassNumber(0),
            named: Named::default(),
            at,
            told: Told::default(),
        }
    }
}

/// Each decision has one place, by its number; a later one with the same place takes it. All who number decisions have as
/// many places.
#[derive(Debug, Default)]
pub(super) struct RecentDecisions {
    places: Vec<Option<Recent>>,
    /// By numberer: one more than its part of the places; 0 for those who have none yet.
    parts: Vec<u16>,
    /// How many have a part.
    count: u16,
}

impl RecentDecisions {
    /// Keeps a decision. One that was made from a copy may be told of twice; what was told of its attempts is not forgotten.
    pub(super) fn insert(&mut self, now: Moment, dispatch: &Dispatch) {
        let is_known = dispatch.number.is_of_copy() && self.of(dispatch.number).is_some();
        if is_known {
            return;
        }
        self.put(Recent {
            number: dispatch.number,
            lane: dispatch.lane,
            key: Some(dispatch.key),
            generation: Some(dispatch.generation),
            group: dispatch.group,
            class: dispatch.class,
            named: dispatch.named,
            at: now,
            told: Told {
                uses: if dispatch.is_reusable { USES } else { 0 },
                ..Told::default()
            },
        });
    }

    /// Takes an outcome of an attempt (0 for one without a number) at a node for told. `key` is what its teller says of it, for a decision
    /// that was not made here.
    pub(super) fn claim(
        &mut self,
        now: Moment,
        number: DecisionNumber,
        (node, attempt): (NodeIndex, u8),
        key: Option<KeyHash>,
    ) -> Claim {
        if number.is_of_copy() {
            return self.claim_of_copy(now, number, (node, attempt), key);
        }
        let place = self.place_of(number);
        let Some(Some(recent)) = place.and_then(|place| self.places.get_mut(place)) else {
            return Claim::Unknown;
        };
        if recent.number != number {
            let was_before = recent.number.0 > number.0;
            return if was_before && now.since(recent.at) > OLD_MS {
                Claim::Old
            } else {
                Claim::Unknown
            };
        }
        if now.since(recent.at) > BELIEVED_MS {
            return Claim::Old;
        }
        let Some(place) = recent.named.place(node) else {
            return Claim::Unknown;
        };
        if recent.told.again(place, attempt) {
            Claim::Repeated
        } else {
            Claim::Good(*recent)
        }
    }

    /// The same of a decision made from a copy: it is heard of for the first time, and kept from now on. Its key is what whoever made
    /// it says first.
    fn claim_of_copy(
        &mut self,
        now: Moment,
        number: DecisionNumber,
        (node, attempt): (NodeIndex, u8),
        key: Option<KeyHash>,
    ) -> Claim {
        let mut recent = self.of(number).unwrap_or(Recent {
            number,
            lane: LaneIndex::First,
            key,
            generation: None,
            group: None,
            class: ClassNumber(0),
            named: Named::default(),
            at: now,
            told: Told::default(),
        });
        if now.since(recent.at) > BELIEVED_MS {
            return Claim::Old;
        }
        // Which nodes it named is learned as they are told of.
        let place = recent.named.place(node).or_else(|| {
            recent.named = Named::new(recent.named.iter().chain([node]));
            recent.named.place(node)
        });
        let Some(place) = place else {
            return Claim::Unknown;
        };
        let again = recent.told.again(place, attempt);
        self.put(recent);
        if again {
            Claim::Repeated
        } else {
            Claim::Good(recent)
        }
    }

    /// What is kept of the decision of this number.
    fn of(&self, number: DecisionNumber) -> Option<Recent> {
        let place = self.place_of(number)?;
        let kept = self.places.get(place).copied().flatten();
        kept.filter(|recent| recent.number == number)
    }

    /// Positions are others now. Nodes that are gone are told of no more.
    pub(super) fn carry(&mut self, mapping: &Mapping) {
        for recent in self.places.iter_mut().flatten() {
            recent.named = recent.named.renamed(|node| mapping.node(node));
            recent.class = mapping.class(recent.class);
        }
    }

    fn put(&mut self, recent: Recent) {
        let place = self.place_of(recent.number).or_else(|| {
            self.welcome(recent.number);
            self.place_of(recent.number)
        });
        if let Some(kept) = place.and_then(|place| self.places.get_mut(place)) {
            *kept = Some(recent);
        }
    }

    /// Makes room for the decisions of somebody new. At each power of two everybody's part halves.
    fn welcome(&mut self, number: DecisionNumber) {
        self.parts.resize(NUMBERERS, 0);
        let before = parts_of(self.count);
        self.count += 1;
        if let Some(part) = self.parts.get_mut(numberer(number)) {
            *part = self.count;
        }
        if self.places.is_empty() || parts_of(self.count) != before {
            let kept = std::mem::replace(&mut self.places, vec![None; KEPT]);
            for recent in kept.into_iter().flatten() {
                self.put(recent);
            }
        }
    }

    fn place_of(&self, number: DecisionNumber) -> Option<usize> {
        let part = self.parts.get(numberer(number)).copied().unwrap_or(0);
        let part = usize::from(part).checked_sub(1)?;
        let size = KEPT / parts_of(self.count);
        let mut count = number.0 & ((1 << DecisionNumber::COUNT_BITS) - 1);
        if number.is_of_copy() {
            // The upper bits of the count name the copy: mixing keeps copies apart.
            count = count.wrapping_add((count >> 24).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        let within = usize::try_from(count % size as u64).unwrap_or(0);
        Some(part * size + within)
    }
}

impl Told {
    /// Whether this attempt was told before; now it is.
    fn again(&mut self, place: u8, attempt: u8) -> bool {
        if self.uses > 0 {
            self.uses -= 1;
            return self.uses == 0;
        }
        let node = 1_u8.checked_shl(u32::from(place)).unwrap_or(0);
        let (again, numbered) = match attempt.checked_sub(1) {
            // However often it was tried: without a number there is one word of a node.
            None => (self.places & node != 0, 0),
            Some(earlier) => {
                let numbered = 1_u8 << earlier.min(7);
                // One try again at the same node is usual; with more of them one decision would open a breaker by itself.
                let spoken = self.unnumbered | self.twice;
                let known = self.attempts & numbered != 0 || spoken & node != 0;
                (known, numbered)
            }
        };
        if !again {
            self.attempts |= numbered;
            self.twice |= self.places & node;
            self.places |= node;
            self.unnumbered |= if numbered == 0 { node } else { 0 };
        }
        again
    }
}

/// Into how many parts the places are divided for so many who number decisions.
fn parts_of(count: u16) -> usize {
    usize::from(count.max(1)).next_power_of_two()
}

/// Who numbered it: a worker, or somebody with a copy.
fn numberer(number: DecisionNumber) -> usize {
    if number.is_of_copy() {
        return NUMBERERS - 1;
    }
    usize::try_from(number.0 >> DecisionNumber::COUNT_BITS).unwrap_or(NUMBERERS) % (NUMBERERS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::KeyHash;
    use crate::model::SiteIndex;
    use crate::policy::{Priority, SetNumber};

    const WORKER: u64 = 1 << DecisionNumber::COUNT_BITS;

    /// The loop hears of a copy's decision by its outcomes, and may by each that is told twice.
    #[test]
    fn what_was_told_of_a_copys_decision_is_not_forgotten_when_it_is_heard_of_again() {
        let mut recent = RecentDecisions::default();
        let number = DecisionNumber::COPY | 5;
        recent.insert(Moment(1_000), &dispatch(number));
        assert_eq!(told(&mut recent, number, 10, 1), "good");
        recent.insert(Moment(1_000), &dispatch(number));
        assert_eq!(told(&mut recent, number, 10, 1), "repeated");
        assert_eq!(told(&mut recent, number, 20, 2), "good");
    }

    fn dispatch(number: u64) -> Dispatch {
        Dispatch {
            number: DecisionNumber(number),
            generation: 7,
            lane: LaneIndex::First,
            key: KeyHash(0),
            set: SetNumber(0),
            site: SiteIndex(0),
            node: NodeIndex(10),
            group: None,
            class: ClassNumber(0),
            priority: Priority::Normal,
            hot: false,
            is_trial: false,
            named: Named::new([10, 20, 30].map(NodeIndex)),
            is_reusable: false,
        }
    }

    fn told(recent: &mut RecentDecisions, number: u64, node: u32, attempt: u8) -> &'static str {
        let number = DecisionNumber(number);
        match recent.claim(Moment(1_000), number, (NodeIndex(node), attempt), None) {
            Claim::Good(_) => "good",
            Claim::Unknown => "unknown",
            Claim::Old => "old",
            Claim::Repeated => "repeated",
        }
    }

    #[test]
    fn an_attempt_is_believed_once_whichever_way_it_is_told() {
        let mut recent = RecentDecisions::default();
        for number in 1..=3 {
            recent.insert(Moment(0), &dispatch(number));
        }
        let mut all = |number, told_as: &[(u32, u8)]| {
            let words = told_as
                .iter()
                .map(|(node, attempt)| told(&mut recent, number, *node, *attempt));
            words.collect::<Vec<_>>().join(" ")
        };
        let numbered = [(10, 1), (10, 2), (20, 3), (10, 1), (20, 3), (20, 0)];
        assert_eq!(
            all(1, &numbered),
            "good good good repeated repeated repeated"
        );
        let unnumbered = [(20, 0), (20, 0), (20, 2), (10, 1)];
        assert_eq!(all(2, &unnumbered), "good repeated repeated good");
        assert_eq!(
            all(3, &[(40, 1), (30, 200), (20, 255)]),
            "unknown good repeated"
        );
        assert_eq!(all(4, &[(10, 1)]), "unknown");
    }

    /// One receipt, told of as eight attempts, opened a breaker by itself.
    #[test]
    fn of_one_decision_a_node_is_told_of_twice_at_most() {
        let mut recent = RecentDecisions::default();
        recent.insert(Moment(0), &dispatch(1));
        let words: Vec<_> = (1..=8).map(|at| told(&mut recent, 1, 10, at)).collect();
        let good = words.iter().filter(|word| **word == "good");
        assert_eq!(good.count(), 2, "{words:?}");
        assert_eq!(told(&mut recent, 1, 20, 5), "good", "of another node");
    }

    /// Two workers of unlike load wrote over each other's decisions as soon as one passed the other.
    #[test]
    fn workers_do_not_take_each_others_places() {
        let mut recent = RecentDecisions::default();
        for number in 0..200_000 {
            for worker in 0..3 {
                recent.insert(
                    Moment(0),
                    &dispatch(worker * WORKER + number * (worker + 1)),
                );
            }
        }
        for worker in 0..3 {
            for back in 0..30_000_u64 {
                let number = worker * WORKER + (199_999 - back) * (worker + 1);
                // Those of a worker that counts in threes lie three places apart.
                if back * (worker + 1) < 32_000 {
                    assert_eq!(told(&mut recent, number, 10, 1), "good", "{worker} {back}");
                }
            }
        }
    }

    #[test]
    fn what_was_decided_long_ago_is_no_news_and_what_is_merely_not_kept_may_be() {
        let mut recent = RecentDecisions::default();
        let kept = KEPT as u64;
        recent.insert(Moment(0), &dispatch(5));
        let claim = |recent: &mut RecentDecisions, at, number| {
            recent.claim(Moment(at), DecisionNumber(number), (NodeIndex(10), 1), None)
        };
        assert_eq!(claim(&mut recent, 60_001, 5), Claim::Old);
        recent.insert(Moment(100_000), &dispatch(5 + kept));
        assert_eq!(claim(&mut recent, 101_000, 5), Claim::Unknown);
        assert_eq!(claim(&mut recent, 110_001, 5), Claim::Old);
        assert_eq!(claim(&mut recent, 110_001, 5 + 2 * kept), Claim::Unknown);
    }

    #[test]
    fn answers_that_may_be_used_again_are_told_of_again() {
        let mut recent = RecentDecisions::default();
        let reusable = Dispatch {
            is_reusable: true,
            ..dispatch(1)
        };
        recent.insert(Moment(0), &reusable);
        let good = (0..1_000).filter(|_| told(&mut recent, 1, 10, 1) == "good");
        let good = good.count();
        assert!((250..=256).contains(&good), "{good}");
    }

    #[test]
    fn decisions_made_from_a_copy_are_believed_once_too() {
        let mut recent = RecentDecisions::default();
        recent.insert(Moment(0), &dispatch(1));
        let copied = DecisionNumber::COPY | 3 << 24 | 1;
        assert_eq!(told(&mut recent, copied, 10, 1), "good");
        assert_eq!(told(&mut recent, copied, 20, 2), "good");
        assert_eq!(told(&mut recent, copied, 10, 1), "repeated");
        assert_eq!(told(&mut recent, 1, 10, 1), "good");
    }
}
