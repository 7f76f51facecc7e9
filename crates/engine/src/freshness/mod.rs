//! Freshness: which version of an object may be served, whatever caches hold.
//!
//! A purge has a sequence, its place in the log of purges. The version of an object is the sequence of the last purge that
//! covers it, 0 before the first: by its URL, a prefix of whole segments, its host, a tag or its namespace. A proxy that puts the
//! version into the keys of its caches has an object purged in all of them at once, because nobody asks for the old one again;
//! tiers agree without an order among them, and what is left behind dies of age. Nodes are ranked without the version, so an
//! object stays where it is.
//!
//! What purges say of an object only rises, and every table here is a maximum over purges: the same purges in any order, some of them twice, come to
//! the same (`docs/freshness.md`). [`Versions`] is what requests look at; a [`Ledger`] is the one place that writes to it.

pub mod floors;
pub mod ledger;
pub mod lifetime;
mod lines;
pub mod object;
mod paced;
pub mod purge;
pub mod selector;
pub mod tiers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::hash::KeyHash;
use lines::{Lines, Merge};
use object::Object;
use paced::Paced;

pub use ledger::{Bounds, Ledger};
pub use lines::MAX_NUMBER as MAX_SEQUENCE;

/// What may be served of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fresh {
    /// Its version: the sequence of the last purge that covers it; 0 for one that never was purged.
    pub version: u64,
    /// What was stored before this, in seconds of Unix time, is to be revalidated before it is served; 0 for nothing.
    pub not_older_than_s: u64,
}

/// The versions of all objects. It is read by every worker while the ledger that it is of goes on to write: what is read of an
/// object is what held a moment ago or what holds now, never less than what purges say. It may be more, where hashes share a
/// line; in the ledger's next table it is less again, which is a miss more and nothing stale.
#[derive(Debug)]
pub struct Versions {
    /// Versions, by the hash of what a purge named.
    hard: Arc<Lines>,
    /// The seconds of soft purges, in the same way.
    soft: Arc<Lines>,
    /// For each host, as bits: at which depths prefixes of it were purged, and at 0 whether it was itself.
    depths: Arc<Lines>,
    kinds: Arc<Kinds>,
    /// Purges that come into force slice by slice.
    paced: Arc<[Paced]>,
    floor: Floor,
}

/// What holds of every object at least.
#[derive(Debug, Default)]
struct Floor {
    version: AtomicU64,
    not_older_than_s: AtomicU64,
}

impl Floor {
    fn get(&self) -> Fresh {
        Fresh {
            version: self.version.load(Ordering::Relaxed),
            not_older_than_s: self.not_older_than_s.load(Ordering::Relaxed),
        }
    }

    fn raise(&self, to: Fresh) {
        self.version.fetch_max(to.version, Ordering::Relaxed);
        let seconds = &self.not_older_than_s;
        seconds.fetch_max(to.not_older_than_s, Ordering::Relaxed);
    }
}

/// Kinds of purges that there were at all: what never was need not be looked for.
#[derive(Debug, Default)]
struct Kinds {
    of_queries: AtomicBool,
    of_tags: AtomicBool,
    of_namespaces: AtomicBool,
    soft: AtomicBool,
}

/// The bit of a host that was purged itself.
const WHOLE_HOST: u64 = 1;

impl Versions {
    /// Empty tables with room for so many hard entries, soft ones, and hosts that have prefixes.
    fn with_room([hard, soft, wide]: [usize; 3]) -> Self {
        Self {
            hard: Arc::new(Lines::with_room(hard, Merge::Max)),
            soft: Arc::new(Lines::with_room(soft, Merge::Max)),
            depths: Arc::new(Lines::with_room(wide, Merge::Bits)),
            kinds: Arc::default(),
            paced: Arc::new([]),
            floor: Floor::default(),
        }
    }

    /// The same, with other purges that come into force slice by slice.
    fn pacing(&self, paced: Vec<Paced>) -> Self {
        let floor = Floor::default();
        floor.raise(self.floor.get());
        Self {
            hard: Arc::clone(&self.hard),
            soft: Arc::clone(&self.soft),
            depths: Arc::clone(&self.depths),
            kinds: Arc::clone(&self.kinds),
            paced: paced.into(),
            floor,
        }
    }

    /// What holds of every object at least.
    pub fn floor(&self) -> Fresh {
        self.floor.get()
    }

    /// Whether any tag was purged: until then nobody need make those of a request.
    #[inline]
    pub fn has_tags(&self) -> bool {
        self.kinds.of_tags.load(Ordering::Relaxed)
    }

    /// What may be served of an object.
    #[inline]
    pub fn look_up(&self, object: &Object<'_>) -> Fresh {
        let host = object::host(object.host);
        let path = object::path(host, object.path);
        let mut fresh = self.floor.get();
        let soft = self.kinds.soft.load(Ordering::Relaxed);
        let mut covers = |hash: KeyHash| self.take(&mut fresh, hash, (path, soft));
        covers(path);
        let depths = self.depths.get(host);
        if depths & WHOLE_HOST != 0 {
            covers(host);
        }
        if depths > WHOLE_HOST {
            for (_depth, prefix) in object::prefixes(object.path, depths) {
                covers(object::prefix(host, prefix));
            }
        }
        let kinds = &*self.kinds;
        if kinds.of_queries.load(Ordering::Relaxed) {
            covers(object::query(path, object.query));
        }
        if self.has_tags() {
            object.tags.iter().for_each(|tag| covers(*tag));
        }
        if kinds.of_namespaces.load(Ordering::Relaxed) {
            covers(object::namespace(object.namespace));
        }
        fresh
    }

    /// Takes in what purges that named this hash say of the object at `path`.
    #[inline]
    fn take(&self, fresh: &mut Fresh, hash: KeyHash, (path, soft): (KeyHash, bool)) {
        fresh.version = fresh.version.max(self.hard.get(hash));
        if soft {
            fresh.not_older_than_s = fresh.not_older_than_s.max(self.soft.get(hash));
        }
        for paced in self.paced.iter() {
            if paced.hash == hash && paced.has(path) {
                fresh.version = fresh.version.max(paced.sequence);
            }
        }
    }

    /// Heap memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        let tables = [&self.hard, &self.soft, &self.depths];
        tables.into_iter().map(|it| it.memory_bytes()).sum()
    }
}

#[cfg(test)]
mod tests;
