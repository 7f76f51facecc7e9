//! Places for those who keep a copy of what decisions are made from, and for those who watch health.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::identity::Caller;

/// Most followers at once, of all workers. Each is looked after once a second. One host has half of them: enough for the workers of
/// a proxy on 32 cores, and as many that still end after a reload.
pub const MAX_FOLLOWERS: usize = 128;

/// Most of those who watch health at once, of all workers.
pub const MAX_WATCHERS: usize = 1_024;

/// How many places each caller may have whatever others do.
const OWN: usize = 4;

/// Places for followers. Nobody gets as many as are left: one caller alone has half of all at the most, and others find some
/// (dynamic thresholds: Choudhury and Hahne, 1998).
#[derive(Debug, Clone)]
pub struct Followers(Arc<Places>);

#[derive(Debug)]
struct Places {
    most: usize,
    taken: Mutex<HashMap<Caller, usize>>,
    refused: AtomicU64,
}

/// A place, given back on drop.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    of: Caller,
}

impl Default for Followers {
    fn default() -> Self {
        Self::of(MAX_FOLLOWERS)
    }
}

impl Followers {
    /// So many places.
    fn of(most: usize) -> Self {
        Self(Arc::new(Places {
            most,
            taken: Mutex::default(),
            refused: AtomicU64::new(0),
        }))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.taken().values().sum()
    }

    /// How many were turned away.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// A place for a caller; `None` when all are taken, or it has its part of them.
    pub fn place(&self, caller: &Caller) -> Option<Place> {
        let of = caller.whole();
        let mut taken = self.0.taken();
        let free = self.0.most.saturating_sub(taken.values().sum());
        let own = taken.get(&of).copied().unwrap_or(0);
        if free == 0 || own >= free.max(OWN) {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *taken.entry(of.clone()).or_default() += 1;
        let places = Arc::clone(&self.0);
        Some(Place { places, of })
    }
}

/// Places for those who watch health, shared out in the same way.
#[derive(Debug, Clone)]
pub struct Watchers(Followers);

impl Default for Watchers {
    fn default() -> Self {
        Self(Followers::of(MAX_WATCHERS))
    }
}

impl Watchers {
    /// A place for a caller; `None` when all are taken, or it has its part of them.
    pub fn place(&self, caller: &Caller) -> Option<Place> {
        self.0.place(caller)
    }
}

impl Places {
    fn taken(&self) -> MutexGuard<'_, HashMap<Caller, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Peer;

    fn user(uid: u32) -> Caller {
        Caller::from(Peer::Unix(Some(uid)))
    }

    /// One caller held all sixteen places there were, and clients of others had no copy to go on with.
    #[test]
    fn one_caller_leaves_places_to_others() {
        let followers = Followers::of(64);
        let all_of = |caller: &Caller| -> Vec<Place> {
            std::iter::from_fn(|| followers.place(caller)).collect()
        };
        let first = all_of(&user(1));
        assert_eq!(first.len(), 32);
        let second = all_of(&user(2));
        assert_eq!(second.len(), 16);
        let many: Vec<Place> = (3..).map_while(|uid| followers.place(&user(uid))).collect();
        assert_eq!(
            (many.len(), followers.count(), followers.refused()),
            (16, 64, 3)
        );
        drop(first);
        assert_eq!(followers.count(), 32);
        assert!(followers.place(&user(99)).is_some());
    }
}
