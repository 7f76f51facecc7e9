//! How much of what a node is asked it sheds: a sign of load, told by its answers.
//!
//! 429 and `shed` say "too much": of the node's work, or of one client's. Counted by requests the two
//! look alike; counted by distinct keys and groups of clients they do not. A node that is overloaded sheds whatever is
//! asked by whomever; a client over its limit is shed for what it asks, at every node alike. So what is counted here is
//! *how many different* keys and groups were shed, of those seen, by bitmaps of fixed size (linear counting, Whang,
//! Vander-Zanden, Taylor 1990), and whoever reads the share compares it with the node's neighbours.

use crate::hash::KeyHash;
use crate::number::from_u64;
use crate::time::Moment;

/// Half of the window, in ms: short, because a node that sheds all must lose its keys within seconds.
const HALF_MS: u64 = 2_000;

/// Words of 64 bits of a bitmap: 1,024 keys are counted to within some 3 %, several thousand still in order.
const KEY_WORDS: usize = 16;
const GROUP_WORDS: usize = 4;

/// What a node sheds; takes memory only while it does.
#[derive(Debug, Clone, Default)]
pub struct Shedding {
    halves: Option<Box<[Half; 2]>>,
    since: Moment,
}

/// What was seen in half a window.
#[derive(Debug, Clone, Copy, Default)]
struct Half {
    shed_keys: Bitmap<KEY_WORDS>,
    served_keys: Bitmap<KEY_WORDS>,
    shed_groups: Bitmap<GROUP_WORDS>,
    all_groups: Bitmap<GROUP_WORDS>,
}

/// How much of what it was asked a node sheds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Share {
    /// Different keys seen, shed or served.
    pub seen: f64,
    /// Different keys that were shed.
    pub shed: f64,
    /// The share of keys that were shed, 0 to 1.
    pub of_keys: f64,
    /// The share of groups of clients of which something was shed, 0 to 1.
    pub of_groups: f64,
}

impl Shedding {
    /// Takes in an answer to a request for `key` by a client of `group`.
    pub fn note(&mut self, now: Moment, (key, group): (KeyHash, Option<u32>), is_shed: bool) {
        self.turn(now);
        if self.halves.is_none() && is_shed {
            self.halves = Some(Box::default());
            self.since = now;
        }
        let Some([half, _]) = self.halves.as_deref_mut() else {
            return;
        };
        let group = mixed(group.map_or(0, |group| u64::from(group) + 1));
        half.all_groups.add(group);
        if is_shed {
            half.shed_keys.add(key.0);
            half.shed_groups.add(group);
        } else {
            half.served_keys.add(key.0);
        }
    }

    /// The share within the last four seconds at most; `None` when nothing was shed.
    pub fn share(&self, now: Moment) -> Option<Share> {
        let [young, old] = self.halves.as_deref()?;
        let old = (now.since(self.since) < 2 * HALF_MS).then_some(old)?;
        let shed = young.shed_keys.or(&old.shed_keys).count();
        let seen = shed + young.served_keys.or(&old.served_keys).count();
        let shed_groups = young.shed_groups.or(&old.shed_groups).count();
        let all_groups = young.all_groups.or(&old.all_groups).count();
        Some(Share {
            seen,
            shed,
            of_keys: shed / seen.max(1.0),
            of_groups: (shed_groups / all_groups.max(1.0)).min(1.0),
        })
        .filter(|share| share.shed > 0.0)
    }

    /// Whether anything was shed of late, as far as that is known without counting.
    pub fn is_active(&self) -> bool {
        self.halves.is_some()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.halves = None;
    }

    fn turn(&mut self, now: Moment) {
        let passed = now.since(self.since);
        if passed < HALF_MS {
            return;
        }
        let Some([young, old]) = self.halves.as_deref_mut() else {
            return;
        };
        *old = std::mem::take(young);
        self.since = now;
        // A whole half without any means that it is over.
        if passed >= 2 * HALF_MS || old.shed_keys.is_empty() {
            self.halves = None;
        }
    }
}

/// A set of hashes, of which only the size is known.
#[derive(Debug, Clone, Copy)]
struct Bitmap<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Default for Bitmap<WORDS> {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl<const WORDS: usize> Bitmap<WORDS> {
    fn add(&mut self, hash: u64) {
        let at = usize::try_from((hash >> 6) % WORDS as u64).unwrap_or(0);
        if let Some(word) = self.0.get_mut(at) {
            *word |= 1 << (hash & 63);
        }
    }

    fn or(&self, other: &Self) -> Self {
        let mut both = *self;
        for (word, more) in both.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
        both
    }

    fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// How many different hashes: `-m ln(1 - x/m)` for `x` of `m` bits.
    fn count(&self) -> f64 {
        let bits = from_u64(64 * WORDS as u64);
        let set: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        -bits * libm::log(1.0 - f64::from(set).min(bits - 1.0) / bits)
    }
}

/// A small number as a hash.
fn mixed(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers in ten seconds: of each ten, so many are shed, by a client of its own group if it is only one.
    fn share(shed_of_ten: u64, one_client: bool) -> Option<Share> {
        let mut shedding = Shedding::default();
        for at in 0..2_000_u64 {
            let is_shed = at % 10 < shed_of_ten;
            let group = if one_client && is_shed {
                7
            } else {
                (at % 97 % 5) as u32
            };
            let key = KeyHash(mixed(at) ^ at << 40);
            shedding.note(Moment(at * 5), (key, Some(group)), is_shed);
        }
        shedding.share(Moment(10_000))
    }

    #[test]
    fn a_node_sheds_for_all_groups_and_a_client_is_shed_alone() {
        assert_eq!(share(0, false), None);
        let node = share(6, false).unwrap();
        assert!(
            (0.55..0.65).contains(&node.of_keys) && node.of_groups > 0.9,
            "{node:?}"
        );
        let client = share(1, true).unwrap();
        assert!((0.05..0.15).contains(&client.of_keys), "{client:?}");
        assert!((0.1..0.25).contains(&client.of_groups), "{client:?}");
    }

    #[test]
    fn one_key_asked_again_and_again_is_one() {
        let mut shedding = Shedding::default();
        for at in 0..1_000_u64 {
            shedding.note(Moment(at), (KeyHash(5), None), true);
            shedding.note(Moment(at), (KeyHash(mixed(at) ^ at << 40), None), false);
        }
        let share = shedding.share(Moment(1_000)).unwrap();
        assert!(share.shed < 1.5 && share.of_keys < 0.01, "{share:?}");
    }

    #[test]
    fn it_is_forgotten_within_seconds() {
        let mut shedding = Shedding::default();
        shedding.note(Moment(0), (KeyHash(1), None), true);
        assert!(shedding.share(Moment(3_999)).is_some());
        assert_eq!(shedding.share(Moment(4_000)), None);
        for at in [1_000, 2_500, 5_000] {
            shedding.note(Moment(at), (KeyHash(2), None), false);
        }
        assert!(!shedding.is_active());
    }
}
