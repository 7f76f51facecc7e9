//! What was purged, as the sidecar tells of it, for decisions made here: by the engine's own ledger, so that an object has the
//! version that the sidecar would give it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use prost::Message as _;

use super::heard::Heard;
use tradewind_engine::freshness::floors::NodeFloors;
use tradewind_engine::freshness::purge::MAX_PACED;
use tradewind_engine::freshness::{Bounds, Ledger, Versions};
use tradewind_engine::time::Moment;
use tradewind_wire::proto::{FollowedFloors, FollowedPurge, FollowedPurges, Purged};
use tradewind_wire::{clock, purge};

/// The sidecar tells once a second that there are no more purges than it told of. When it has not for so long, there may be.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// How often it is looked whether that is so, and at least what comes into force slice by slice.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AT_MOST: Duration = Duration::from_millis(10);

/// Bytes of purges that are kept as they were told, for the last good copy on disk; those of before count as a purge of everything
/// for who begins with that.
pub(super) const MAX_KEPT_BYTES: usize = 4 << 20;

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
    told: Told,
    /// Others, while the sidecar tells of all that it has from the beginning, and whether the last purge that is known here was
    /// among that.
    anew: Option<(Ledger, Told, bool)>,
    /// Counts what was taken.
    changes: u64,
    life_ms: u64,
    /// The last purge that was told when the sidecar said that it was all.
    head: u64,
    /// What the ledger's time is counted from.
    began: Instant,
    forget_at: Instant,
}

/// Purges as they were told.
#[derive(Debug, Default)]
struct Told {
    /// Each with when it was made, on the ledger's clock, as far as that goes back; before, so much earlier.
    purges: VecDeque<(Purged, Moment, u64)>,
    bytes: usize,
    /// The last that is not held any more.
    lost: u64,
}

impl Told {
    fn push(&mut self, purged: &Purged, (now, age_ms): (Moment, u64)) {
        self.bytes += purged.encoded_len();
        self.purges.push_back((purged.clone(), now, age_ms));
        while self.bytes > MAX_KEPT_BYTES {
            let Some((gone, _, _)) = self.purges.pop_front() else {
                return;
            };
            self.bytes -= gone.encoded_len();
            self.lost = self.lost.max(gone.sequence);
        }
    }

    /// Those that no cache can have anything older than are not told again.
    fn forget(&mut self, now: Moment, life_ms: u64) {
        while let Some((first, taken, age_ms)) = self.purges.front()
            && age_ms.saturating_add(now.since(*taken)) > life_ms
        {
            self.bytes -= first.encoded_len();
            self.purges.pop_front();
        }
    }
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
                told: Told::default(),
                anew: None,
                changes: 0,
                life_ms: bounds.life_ms,
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

    /// Counts what was taken of purges.
    pub(super) fn changes(&self) -> u64 {
        self.book().changes
    }

    /// What was purged, for who begins anew without a sidecar.
    pub(super) fn to_keep(&self, now: Instant) -> FollowedPurges {
        let book = self.book();
        let now = book.moment(now);
        let purges = book.told.purges.iter();
        let purges = purges.map(|(purged, taken, age_ms)| FollowedPurge {
            purged: Some(purged.clone()),
            age_ms: age_ms.saturating_add(now.since(*taken)),
        });
        FollowedPurges {
            purges: purges.collect(),
            head: book.head,
            floor: book.ledger.versions().floor().version.max(book.told.lost),
            life_ms: book.life_ms,
            ..FollowedPurges::default()
        }
    }

    /// Takes what was kept so long ago. Whether there is more is not known.
    pub(super) fn restore(&self, mut kept: FollowedPurges, age: Duration, now: Instant) {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        for purge in &mut kept.purges {
            purge.age_ms = purge.age_ms.saturating_add(age_ms);
        }
        (kept.is_all, kept.is_anew) = (false, false);
        self.take(&kept, now);
        self.book().head = kept.head;
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
        if told.is_all && told.may_miss {
            self.is_known.store(false, Ordering::Relaxed);
        } else if told.is_all {
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
            let life_ms = book.life_ms;
            book.told.forget(at, life_ms);
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
            let ledger = Ledger::new(self.ledger.bounds());
            self.anew = Some((ledger, Told::default(), false));
        }
        self.changes += told.purges.len() as u64 + u64::from(told.is_anew);
        for it in &told.purges {
            let Some(purged) = &it.purged else { continue };
            let mut purge = purge::purge(purged);
            let head = self.head;
            let both = [
                Some((&mut self.ledger, &mut self.told)),
                self.anew.as_mut().map(|(ledger, told, has_last)| {
                    *has_last |= purged.sequence == head;
                    (ledger, told)
                }),
            ];
            for (ledger, told) in both.into_iter().flatten() {
                told.push(purged, (now, it.age_ms));
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
            if let Some((ledger, told, true)) = self.anew.take() {
                (self.ledger, self.told) = (ledger, told);
            }
            self.head = told.head;
        }
        if told.floor > 0 {
            self.ledger.raise_floor(told.floor);
        }
        if told.life_ms > 0 {
            self.life_ms = told.life_ms;
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
    use tradewind_wire::proto::PurgeSelector;
    use tradewind_wire::proto::purge_selector::Of;

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
    fn what_is_kept_is_in_force_for_who_begins_with_it() {
        let now = clock::now();
        let purges = Purges::new(1 << 20, now);
        let before = purges.changes();
        purges.take(
            &all(
                vec![purged(7, "https://h/a"), purged(8, "https://h/b")],
                true,
            ),
            now,
        );
        assert!(purges.changes() > before);
        let later = now + Duration::from_secs(5);
        let kept = purges.to_keep(later);
        let ages: Vec<u64> = kept.purges.iter().map(|it| it.age_ms).collect();
        assert_eq!((ages, kept.head), (vec![5_000; 2], 8));
        let other = Purges::new(1 << 20, now);
        other.restore(kept, Duration::from_mins(1), now);
        assert_eq!([version(&other, "/a"), version(&other, "/b")], [7, 8]);
        assert!(!other.are_known() && other.head() == 8);
        // What the sidecar says from there on counts.
        other.take(&all(vec![purged(9, "https://h/a")], false), now);
        assert_eq!([version(&other, "/a"), version(&other, "/b")], [9, 8]);
        assert!(other.are_known());
    }

    #[test]
    fn what_is_too_much_to_keep_is_a_purge_of_everything_for_who_begins_with_it() {
        let now = clock::now();
        let purges = Purges::new(1 << 20, now);
        let url = format!("https://h/{}", "a".repeat(8_000));
        let many = (1..=1_000).map(|sequence| purged(sequence, &url)).collect();
        purges.take(&all(many, true), now);
        assert_eq!(version(&purges, "/b"), 0);
        let kept = purges.to_keep(now);
        assert!(
            kept.encoded_len() <= MAX_KEPT_BYTES * 2,
            "{}",
            kept.encoded_len()
        );
        let first = kept.purges[0].purged.as_ref().unwrap().sequence;
        assert_eq!(kept.floor, first - 1);
        let other = Purges::new(1 << 20, now);
        other.restore(kept, Duration::ZERO, now);
        assert_eq!(version(&other, "/b"), first - 1);
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
