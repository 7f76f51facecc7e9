//! The keys of decisions made here, for the outcomes that will be told of them: the sidecar, which did not make them, cannot know.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use tradewind_engine::hash::KeyHash;

/// Decisions by number, each of which has one place; a later one takes it. Of those that are told of too late the key is not known.
#[derive(Debug)]
pub(super) struct Keys {
    places: Box<[Place]>,
}

/// A decision's number and its key. The number is 0 while the key is written.
#[derive(Debug, Default)]
struct Place {
    number: AtomicU64,
    key: AtomicU64,
}

impl Keys {
    /// Room for so many decisions.
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: (0..most.max(1)).map(|_| Place::default()).collect(),
        }
    }

    /// Keeps the key of the decision of this number.
    pub(super) fn put(&self, number: u64, key: KeyHash) {
        if let Some(place) = self.place(number) {
            place.number.store(0, Ordering::Relaxed);
            fence(Ordering::Release);
            place.key.store(key.0, Ordering::Relaxed);
            place.number.store(number, Ordering::Release);
        }
    }

    /// The key of the decision of this number, if it is kept still.
    pub(super) fn get(&self, number: u64) -> Option<KeyHash> {
        let place = self.place(number)?;
        let is_its = || place.number.load(Ordering::Acquire) == number;
        if !is_its() {
            return None;
        }
        let key = place.key.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        is_its().then_some(KeyHash(key))
    }

    fn place(&self, number: u64) -> Option<&Place> {
        let count = u64::try_from(self.places.len()).ok()?;
        self.places.get(usize::try_from(number % count).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_until_their_place_is_another_decisions() {
        let keys = Keys::new(4);
        assert_eq!(keys.get(7), None);
        for number in 5..10 {
            keys.put(number, KeyHash(number * 3));
        }
        let found: Vec<_> = (5..10).map(|number| keys.get(number)).collect();
        let wanted = [None, Some(18), Some(21), Some(24), Some(27)];
        assert_eq!(found, wanted.map(|key| key.map(KeyHash)));
    }

    /// Two writers and a reader at few places: what is read is the key of that number, or nothing.
    #[test]
    fn no_key_is_taken_for_anothers() {
        let keys = Keys::new(2);
        let key_of = |number: u64| KeyHash(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        std::thread::scope(|scope| {
            for first in [1_u64, 2] {
                let keys = &keys;
                scope.spawn(move || {
                    for number in (first..40_000).step_by(2) {
                        keys.put(number, key_of(number));
                    }
                });
            }
            for number in 1..40_000 {
                if let Some(found) = keys.get(number) {
                    assert_eq!(found, key_of(number));
                }
            }
        });
        assert_eq!(keys.get(39_999), Some(key_of(39_999)));
    }
}
