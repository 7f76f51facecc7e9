//! The one writer of versions: purges in, tables that hold them.
//!
//! It keeps each entry until no cache can have anything older than it, puts what has become too much under fewer and wider
//! entries, and makes a new table where one has become too small. Time is an argument.

mod widen;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foldhash::fast::FixedState;

use super::lines::MAX_NUMBER;
use super::object;
use super::paced::{Paced, SLICES, due_at, slices_at};
use super::purge::{Kind, Purge};
use super::selector::Selector;
use super::{Fresh, Versions, WHOLE_HOST};
use crate::hash::KeyHash;
use crate::model::printable;
use crate::time::Moment;

/// What entries are forgotten by, in ms: an hour.
const HOUR_MS: u64 = 3_600_000;

/// Room of the first table, in entries.
const FIRST_ROOM: usize = 1_024;

/// How much of a directory's name is kept, in characters.
const MAX_TEXT: usize = 128;

/// How much a ledger holds, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most entries. At the bound, those of the fullest directories become one each.
    pub entries: usize,
    /// How long a cache may serve what it has, and another have it from that one, in ms: what is older than this is forgotten.
    pub life_ms: u64,
}

impl Default for Bounds {
    /// A million entries, and a week and ten minutes.
    fn default() -> Self {
        Self {
            entries: 1 << 20,
            life_ms: 7 * 24 * HOUR_MS + 600_000,
        }
    }
}

/// What came of something that a ledger was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Done {
    /// Whether [`Ledger::versions`] is another table now.
    pub is_replaced: bool,
    /// What became wider than it was asked for: a purge of more, which costs misses and serves nothing stale.
    pub widened: Vec<String>,
    /// How many entries were made into wider ones.
    pub widened_entries: usize,
    /// How many entries were forgotten.
    pub forgotten: usize,
}

/// One hash with its number, and where it belongs.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: KeyHash,
    /// A sequence, or seconds of a soft purge.
    number: u64,
    is_soft: bool,
    place: Place,
}

/// Where an entry belongs: what it may be made wider to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// An object, in the directory with this hash.
    Object { directory: KeyHash, has_query: bool },
    /// A prefix of a host.
    Prefix { host: KeyHash, depth: usize },
    /// A host.
    Host,
    /// A tag.
    Tag,
    /// A namespace.
    Namespace,
}

/// A directory of objects that were purged.
#[derive(Debug)]
struct Directory {
    host: KeyHash,
    depth: usize,
    text: Box<str>,
}

/// A purge that comes into force slice by slice.
#[derive(Debug)]
struct Pacing {
    purge: Purge,
    entries: Vec<Entry>,
    /// When it was taken in, and how old it was then.
    taken: (Moment, u64),
    slices: u8,
}

impl Pacing {
    fn age_ms(&self, now: Moment) -> u64 {
        let (at, age_ms) = self.taken;
        age_ms.saturating_add(now.since(at))
    }

    /// When its next slice is due.
    fn due(&self) -> Moment {
        let (at, age_ms) = self.taken;
        let due_ms = due_at(self.slices, self.purge.over_ms);
        at.plus(due_ms.saturating_sub(age_ms))
    }
}

type Map<V> = HashMap<KeyHash, V, FixedState>;

/// The writer of versions; see the module.
#[derive(Debug)]
pub struct Ledger {
    bounds: Bounds,
    versions: Arc<Versions>,
    /// By the hour in which their purges were made; those of before time began have numbers below 0.
    hours: BTreeMap<i64, Vec<Entry>>,
    count: Count,
    directories: Map<Directory>,
    pacing: Vec<Pacing>,
}

/// How many entries there are for each table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    hard: usize,
    soft: usize,
    /// Of prefixes and hosts.
    wide: usize,
}

impl Count {
    fn add(&mut self, entry: &Entry) {
        if entry.is_soft {
            self.soft += 1;
        } else {
            self.hard += 1;
        }
        if matches!(entry.place, Place::Prefix { .. } | Place::Host) {
            self.wide += 1;
        }
    }

    fn all(self) -> usize {
        self.hard + self.soft
    }
}

impl Ledger {
    /// One that knows of no purge.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            versions: Arc::new(Versions::with_room([FIRST_ROOM; 3])),
            hours: BTreeMap::new(),
            count: Count::default(),
            directories: Map::default(),
            pacing: Vec::new(),
        }
    }

    /// How long entries are to be kept from now on, in ms.
    pub fn keep_for(&mut self, life_ms: u64) {
        self.bounds.life_ms = life_ms;
    }

    /// Lets every object have this version at least: what was purged is not known any more.
    pub fn raise_floor(&mut self, version: u64) {
        self.versions.floor.raise(Fresh {
            version,
            not_older_than_s: 0,
        });
    }

    /// What requests look at.
    pub fn versions(&self) -> &Arc<Versions> {
        &self.versions
    }

    /// How much it holds.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The purges that come into force slice by slice, and the share of each that is in force, 0 to 1.
    pub fn pacing(&self) -> impl Iterator<Item = (u64, f64)> {
        let all = f64::from(SLICES);
        let pacing = self.pacing.iter();
        pacing.map(move |it| (it.purge.sequence, f64::from(it.slices) / all))
    }

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.count.all()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many selectors are coming into force slice by slice.
    pub fn paced(&self) -> usize {
        self.pacing.iter().map(|it| it.purge.selectors.len()).sum()
    }

    /// Takes in a purge that was made `age_ms` ago. It is in force when this returns, or its first slice is.
    pub fn apply(&mut self, now: Moment, age_ms: u64, purge: &Purge) -> Done {
        if purge.over_ms > age_ms && purge.kind == Kind::Hard {
            return self.begin_pacing(now, age_ms, purge);
        }
        let hour = hour_of(now, age_ms);
        let mut done = Done::default();
        let wanted = purge.selectors.len();
        if self.count.all() + wanted > self.bounds.entries {
            self.make_room(wanted, &mut done);
        }
        let entries = self.entries(purge);
        for entry in &entries {
            self.count.add(entry);
        }
        let fits = self.versions.has_room_for(self.count);
        for entry in entries.iter().filter(|_| fits) {
            self.versions.put(entry);
        }
        self.hours.entry(hour).or_default().extend(entries);
        if !fits {
            self.rebuild(&mut done);
        }
        done
    }

    /// Lets slices come into force and forgets what is too old.
    pub fn tick(&mut self, now: Moment) -> Done {
        let mut done = Done::default();
        self.advance(now, &mut done);
        // Of an hour of which the youngest has lived long enough.
        let kept_from = hour_of(now, self.bounds.life_ms);
        let kept = self.hours.split_off(&kept_from);
        let old = std::mem::replace(&mut self.hours, kept);
        done.forgotten = old.values().map(Vec::len).sum();
        if done.forgotten > 0 {
            self.rebuild(&mut done);
        }
        done
    }

    /// When a slice is due next; `None` while nothing is paced.
    pub fn next_slice(&self) -> Option<Moment> {
        self.pacing.iter().map(Pacing::due).min()
    }

    fn begin_pacing(&mut self, now: Moment, age_ms: u64, purge: &Purge) -> Done {
        let entries = self.entries(purge);
        for entry in &entries {
            self.versions.note_kind(entry);
        }
        self.pacing.push(Pacing {
            purge: purge.clone(),
            entries,
            taken: (now, age_ms),
            slices: slices_at(age_ms, purge.over_ms),
        });
        self.publish_paced();
        Done {
            is_replaced: true,
            ..Done::default()
        }
    }

    /// A table with the purges that are paced now.
    fn publish_paced(&mut self) {
        let mut paced = Vec::new();
        for it in &self.pacing {
            for entry in &it.entries {
                paced.push(Paced::new(entry.hash, it.purge.sequence, it.slices));
            }
        }
        self.versions = Arc::new(self.versions.pacing(paced));
    }

    fn advance(&mut self, now: Moment, done: &mut Done) {
        for it in &mut self.pacing {
            it.slices = slices_at(it.age_ms(now), it.purge.over_ms);
            self.versions.advance(it.purge.sequence, it.slices);
        }
        let (over, going): (Vec<Pacing>, Vec<Pacing>) = std::mem::take(&mut self.pacing)
            .into_iter()
            .partition(|it| it.slices >= SLICES);
        self.pacing = going;
        for it in &over {
            let whole = Purge {
                over_ms: 0,
                ..it.purge.clone()
            };
            // The last of what it covers may be stored until now.
            let put = self.apply(now, 0, &whole);
            done.widened.extend(put.widened);
            done.widened_entries += put.widened_entries;
        }
        if !over.is_empty() {
            self.publish_paced();
            done.is_replaced = true;
        }
    }

    fn entries(&mut self, purge: &Purge) -> Vec<Entry> {
        let selectors = purge.selectors.iter();
        selectors
            .map(|selector| self.entry(purge, selector))
            .collect()
    }

    fn entry(&mut self, purge: &Purge, selector: &Selector) -> Entry {
        let hash = selector.hash(&purge.namespace);
        let place = match selector {
            Selector::Path { host, path } => self.object(host, path, false),
            Selector::Query { host, path, .. } => self.object(host, path, true),
            Selector::Prefix { host, prefix } => Place::Prefix {
                host: object::host(host),
                depth: object::depth(prefix),
            },
            Selector::Host(_) => Place::Host,
            Selector::Tag(_) => Place::Tag,
            Selector::Namespace => Place::Namespace,
        };
        let (number, is_soft) = match purge.kind {
            Kind::Hard => (purge.sequence, false),
            Kind::Soft { not_older_than_s } => (not_older_than_s, true),
        };
        Entry {
            hash,
            number: number.clamp(1, MAX_NUMBER),
            is_soft,
            place,
        }
    }

    fn object(&mut self, host: &str, path: &str, has_query: bool) -> Place {
        let (folder, _name) = path.rsplit_once('/').unwrap_or_default();
        let host_hash = object::host(host);
        let depth = object::depth(folder);
        // Deeper than any prefix can be named: the host then stands for it.
        let is_named = (1..=object::MAX_DEPTH).contains(&depth);
        let directory = if is_named {
            object::prefix(host_hash, folder)
        } else {
            host_hash
        };
        self.directories
            .entry(directory)
            .or_insert_with(|| Directory {
                host: host_hash,
                depth: if is_named { depth } else { 0 },
                text: if is_named {
                    printable(&format!("{host}{folder}/"), MAX_TEXT).into()
                } else {
                    printable(&format!("{host}/"), MAX_TEXT).into()
                },
            });
        Place::Object {
            directory,
            has_query,
        }
    }

    fn recount(&mut self) {
        self.count = Count::default();
        for entry in self.hours.values().flatten() {
            self.count.add(entry);
        }
    }

    /// A table with just what there is, and as much room again.
    fn rebuild(&mut self, done: &mut Done) {
        self.drop_repeated();
        let used: HashSet<KeyHash, FixedState> = self
            .hours
            .values()
            .flatten()
            .filter_map(|it| match it.place {
                Place::Object { directory, .. } => Some(directory),
                _ => None,
            })
            .collect();
        self.directories.retain(|hash, _| used.contains(hash));
        let Count { hard, soft, wide } = self.count;
        let most = self.bounds.entries;
        let room = [hard, soft, wide].map(|it| (2 * it).min(most).max(FIRST_ROOM).max(it));
        let next = Versions::with_room(room);
        next.floor.raise(self.versions.floor.get());
        for entry in self.hours.values().flatten() {
            next.put(entry);
        }
        for entry in self.pacing.iter().flat_map(|it| &it.entries) {
            next.note_kind(entry);
        }
        self.versions = Arc::new(next);
        self.publish_paced();
        done.is_replaced = true;
    }
}

/// The hour in which something was made that is `age_ms` old.
fn hour_of(now: Moment, age_ms: u64) -> i64 {
    let made = i128::from(now.0) - i128::from(age_ms);
    i64::try_from(made.div_euclid(i128::from(HOUR_MS))).unwrap_or(i64::MIN)
}

impl Versions {
    fn has_room_for(&self, count: Count) -> bool {
        count.hard <= self.hard.room()
            && count.soft <= self.soft.room()
            && count.wide <= self.depths.room()
    }

    fn put(&self, entry: &Entry) {
        // First where to look, then what is to be found there: nobody looks in vain.
        self.note_kind(entry);
        if entry.is_soft {
            self.kinds.soft.store(true, Ordering::Relaxed);
            self.soft.raise(entry.hash, entry.number);
        } else {
            self.hard.raise(entry.hash, entry.number);
        }
    }

    /// Lets entries of a kind be looked for.
    fn note_kind(&self, entry: &Entry) {
        match entry.place {
            Place::Object { has_query, .. } => {
                if has_query {
                    self.kinds.of_queries.store(true, Ordering::Relaxed);
                }
            }
            Place::Prefix { host, depth } => {
                self.depths.raise(host, 1 << depth);
            }
            Place::Host => {
                self.depths.raise(entry.hash, WHOLE_HOST);
            }
            Place::Tag => self.kinds.of_tags.store(true, Ordering::Relaxed),
            Place::Namespace => self.kinds.of_namespaces.store(true, Ordering::Relaxed),
        }
    }

    fn advance(&self, sequence: u64, slices: u8) {
        let paced = self.paced.iter().filter(|it| it.sequence == sequence);
        paced.for_each(|it| it.advance(slices));
    }
}
