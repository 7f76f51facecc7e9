//! What was purged, as the sidecar tells of it, for decisions made here: by the engine's own ledger, so that an object has the
//! version that the sidecar would give it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use super::heard::Heard;
use tradewind_engine::freshness::floors::NodeFloors;
use tradewind_engine::freshness::purge::MAX_PACED;
use tradewind_engine::freshness::{Bounds, Ledger, Versions};
use tradewind_engine::time::Moment;
use tradewind_wire::proto::{FollowedFloors, FollowedPurges};
use tradewind_wire::{clock, purge};

/// The sidecar tells once a second that there are no more purges than it told of. When it has not for so long, there may be.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// How often it is looked whether that is so, and at least what comes into force slice by slice.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AT_MOST: Duration = Duration::from_millis(10);

/// How often what is too old is looked for.
const FORGET_EVERY: Duration = Duration::from_mins(10);

/// What was purged.
#[derive(Debug)]
pub(super) struct Purges {
    book: Mutex<Book>,
    /// What decisions look at; `None` before the first purge.
    versions: ArcSwapOption<Versions>,
    /// How far nodes are that are named only once they have done a purge.
    floors: ArcSwap<NodeFloors>,
    is_known: AtomicBool,
    /// When the sidecar said last that it told of all.
    heard: Heard,
}

/// The one writer's own.
#[derive(Debug)]
struct Book {
    ledger: Ledger,
    /// Another one, while the sidecar tells of all that it has from the beginning, and whether the last purge that is known here was
    /// among that.
    anew: Option<(Ledger, bool)>,
    /// The last purge that was told when the sidecar said that it was all.
    head: u64,
    /// What the ledger's time is counted from.
    began: Instant,
    forget_at: Instant,
}

impl Purges {
    /// Room for so many entries; nothing is known.
    pub(super) fn new(entries: usize, now: Instant) -> Self {
        let bounds = Bounds {
            entries,
            ..Bounds::default()
        };
        Self {
            book: Mutex::new(Book {
                ledger: Ledger::new(bounds),
                anew: None,
                head: 0,
                began: now,
                forget_at: now + FORGET_EVERY,
            }),
            versions: ArcSwapOption::empty(),
            floors: ArcSwap::default(),
            is_known: AtomicBool::new(false),
            heard: Heard::default(),
        }
    }

    /// The versions of objects; `None` before the first purge.
    #[inline]
    pub(super) fn versions(&self) -> Guard<Option<Arc<Versions>>> {
        self.versions.load()
    }

    /// How far nodes are that are named only once they have done a purge.
    pub(super) fn floors(&self) -> Guard<Arc<NodeFloors>> {
        self.floors.load()
    }

    /// Whether all purges are known that the sidecar knew of a few seconds ago.
    #[inline]
    pub(super) fn are_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// How long ago the sidecar said last that it told of all; `None` if it never did.
    pub(super) fn heard_ago(&self, now: Instant) -> Option<Duration> {
        self.heard.ago(now)
    }

    /// The last purge of which nothing before is missing here; 0 for none.
    pub(super) fn head(&self) -> u64 {
        self.book().head
    }

    /// How many entries there are.
    pub(super) fn entries(&self) -> usize {
        self.book().ledger.len()
    }

    /// Takes what the sidecar tells.
    pub(super) fn take(&self, told: &FollowedPurges, now: Instant) {
        let mut book = self.book();
        book.take(told, now);
        // First the floors: a node that has not done a purge is left out no later than that purge counts.
        if let Some(floors) = &told.floors {
            self.floors.store(Arc::new(read_floors(floors)));
        }
        self.publish(&book);
        drop(book);
        if told.is_all {
            self.heard.now(now);
            self.is_known.store(true, Ordering::Relaxed);
        }
    }

    /// Lets slices come into force, forgets what is too old, and notes when the sidecar was not heard for too long. How long until
    /// there is something to do again.
    fn tick(&self, now: Instant) -> Duration {
        let is_late = |ago: Duration| ago > KNOWN_FOR;
        if self.heard.ago(now).is_none_or(is_late) {
            self.is_known.store(false, Ordering::Relaxed);
        }
        let mut book = self.book();
        let at = book.moment(now);
        let is_due = book.ledger.next_slice().is_some_and(|due| due <= at);
        if is_due || now >= book.forget_at {
            if now >= book.forget_at {
                book.forget_at = now + FORGET_EVERY;
            }
            book.ledger.tick(at);
            self.publish(&book);
        }
        let until = |due: Moment| Duration::from_millis(due.since(at));
        let slice = book.ledger.next_slice().map_or(LOOK_EVERY, until);
        slice.clamp(LOOK_AT_MOST, LOOK_EVERY)
    }

    fn publish(&self, book: &Book) {
        let versions = book.ledger.versions();
        let published = self.versions.load();
        let is_same = published
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(it, versions));
        let is_nothing = published.is_none()
            && book.ledger.is_empty()
            && book.ledger.paced() == 0
            && versions.floor().version == 0;
        if !is_same && !is_nothing {
            self.versions.store(Some(Arc::clone(versions)));
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn moment(&self, now: Instant) -> Moment {
        let since = now.saturating_duration_since(self.began);
        Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn take(&mut self, told: &FollowedPurges, now: Instant) {
        let now = self.moment(now);
        if told.is_anew && self.head > 0 {
            // What is known here stays until it is known whether the sidecar has lost that, and is not held twice if it has not.
            self.anew = Some((Ledger::new(self.ledger.bounds()), false));
        }
        for it in &told.purges {
            let Some(purged) = &it.purged else { continue };
            let mut purge = purge::purge(purged);
            let head = self.head;
            let ledgers = [
                Some(&mut self.ledger),
                self.anew.as_mut().map(|(ledger, has_last)| {
                    *has_last |= purged.sequence == head;
                    ledger
                }),
            ];
            for ledger in ledgers.into_iter().flatten() {
                if purged.everything {
                    ledger.raise_floor(purged.sequence);
                    continue;
                }
                if ledger.paced() + purge.selectors.len() > MAX_PACED {
                    // As the sidecar does: at once is safe, and a ramp less.
                    purge.over_ms = 0;
                }
                ledger.apply(now, it.age_ms, &purge);
            }
        }
        if told.is_all {
            if let Some((ledger, true)) = self.anew.take() {
                self.ledger = ledger;
            }
            self.head = told.head;
        }
        if told.floor > 0 {
            self.ledger.raise_floor(told.floor);
        }
        if told.life_ms > 0 {
            self.ledger.keep_for(told.life_ms);
        }
    }
}

/// Looks after what comes into force and what is forgotten, for as long as the client lives.
pub(super) async fn run(purges: Arc<Purges>) {
    loop {
        let wait = purges.tick(clock::now());
        tokio::time::sleep(wait).await;
    }
}

fn read_floors(told: &FollowedFloors) -> NodeFloors {
    let nodes = told.nodes.iter().map(|node| node.as_str().into());
    NodeFloors::new(nodes.zip(told.sequences.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_engine::freshness::object::Object;
    use tradewind_wire::proto::purge_selector::Of;
    use tradewind_wire::proto::{FollowedPurge, PurgeSelector, Purged};

    fn purged(sequence: u64, url: &str) -> FollowedPurge {
        let selector = PurgeSelector {
            of: Some(Of::Url(url.to_owned())),
            exact_query: false,
        };
        FollowedPurge {
            purged: Some(Purged {
                sequence,
                selectors: vec![selector],
                ..Purged::default()
            }),
            age_ms: 0,
        }
    }

    fn all(purges: Vec<FollowedPurge>, is_anew: bool) -> FollowedPurges {
        let sequences = purges.iter().map(|it| it.purged.as_ref().unwrap().sequence);
        FollowedPurges {
            head: sequences.max().unwrap_or(0),
            purges,
            is_all: true,
            is_anew,
            ..FollowedPurges::default()
        }
    }

    fn version(purges: &Purges, path: &str) -> u64 {
        let object = Object {
            host: "h",
            path,
            ..Object::default()
        };
        let versions = purges.versions();
        let fresh = versions.as_ref().map(|it| it.look_up(&object));
        fresh.unwrap_or_default().version
    }

    #[test]
    fn what_was_told_is_in_force_and_known_until_nothing_is_heard() {
        let now = clock::now();
        let purges = Purges::new(1 << 20, now);
        assert!(!purges.are_known() && purges.versions().is_none());
        purges.take(&all(Vec::new(), true), now);
        assert!(purges.are_known() && purges.versions().is_none());
        purges.take(&all(vec![purged(7, "https://h/a")], false), now);
        assert_eq!((version(&purges, "/a"), version(&purges, "/b")), (7, 0));
        assert_eq!((purges.head(), purges.entries()), (7, 1));
        purges.tick(now + KNOWN_FOR);
        assert!(purges.are_known());
        purges.tick(now + KNOWN_FOR + Duration::from_millis(2));
        assert!(!purges.are_known(), "it was not heard for too long");
        assert_eq!(version(&purges, "/a"), 7, "what is known stays");
    }

    #[test]
    fn a_sidecar_that_begins_anew_takes_nothing_back() {
        let now = clock::now();
        let purges = Purges::new(1 << 20, now);
        let both = || vec![purged(7, "https://h/a"), purged(8, "https://h/b")];
        purges.take(&all(both(), true), now);
        // It has all of it still: nothing is held twice.
        purges.take(
            &all([both(), vec![purged(9, "https://h/c")]].concat(), true),
            now,
        );
        assert_eq!((purges.head(), purges.entries()), (9, 3));
        // It has lost its log.
        purges.take(&all(Vec::new(), true), now);
        assert_eq!(purges.head(), 0);
        purges.take(&all(vec![purged(12, "https://h/b")], false), now);
        let versions = ["/a", "/b", "/c"].map(|path| version(&purges, path));
        assert_eq!(versions, [7, 12, 9]);
        // In parts, which count as they come.
        let part = FollowedPurges {
            is_all: false,
            ..all(vec![purged(13, "https://h/d")], true)
        };
        purges.take(&part, now);
        assert_eq!((version(&purges, "/d"), purges.head()), (13, 12));
    }

    #[test]
    fn a_floor_is_of_everything_and_slices_come_by_themselves() {
        let now = clock::now();
        let purges = Purges::new(1 << 20, now);
        let told = FollowedPurges {
            floor: 5,
            ..all(Vec::new(), true)
        };
        purges.take(&told, now);
        assert_eq!(version(&purges, "/any"), 5);
        let mut slow = purged(9, "https://h/slow");
        slow.purged.as_mut().unwrap().over = Some(purge::duration(64_000));
        purges.take(&all(vec![slow], false), now);
        let due = purges.tick(now);
        assert!(due <= LOOK_EVERY, "{due:?}");
        purges.tick(now + Duration::from_secs(65));
        assert_eq!(version(&purges, "/slow"), 9);
    }
}
