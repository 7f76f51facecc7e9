//! Many entries under few: a ledger at its bound purges more than it was asked to, which costs misses and serves nothing stale.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{Done, Entry, Ledger, Map, Place};
use crate::freshness::Fresh;
use crate::hash::KeyHash;

/// At its bound a ledger makes so many of its entries, one in this, into wider ones: fewer, and it would be at its bound again at
/// once.
const FREED_AT_BOUND: usize = 4;

/// Most texts of what was widened that are told at once.
const MAX_TOLD: usize = 16;

/// What entries may be put under together.
struct Group {
    hash: KeyHash,
    place: Place,
    text: String,
}

/// What stands for groups, soft and hard apart, and the hour that it is of.
type Standing = HashMap<(KeyHash, bool), (i64, Entry), FixedState>;

impl Ledger {
    /// Makes entries fewer: first those that later ones made needless, then by putting objects under their directories and
    /// prefixes under their hosts, the fullest first. If all that is not enough, everything is stale.
    pub(super) fn make_room(&mut self, wanted: usize, done: &mut Done) {
        self.drop_repeated();
        let goal = self.bounds.entries
            - (self.bounds.entries / FREED_AT_BOUND)
                .max(wanted)
                .min(self.bounds.entries);
        for widen in [Self::directory_of, Self::host_of] {
            if self.count.all() > goal {
                self.widen(goal, widen, done);
            }
        }
        if self.count.all() > goal {
            let highest = |is_soft: bool| {
                let all = self.hours.values().flatten();
                let numbers = all.filter(|it| it.is_soft == is_soft).map(|it| it.number);
                numbers.max().unwrap_or(0)
            };
            self.versions.floor.raise(Fresh {
                version: highest(false),
                not_older_than_s: highest(true),
            });
            done.widened_entries += self.count.all();
            done.widened.push("everything".to_owned());
            self.hours.clear();
        }
        self.rebuild(done);
    }

    /// Of entries of one hash the highest number is needed, for as long as the newest of them.
    pub(super) fn drop_repeated(&mut self) {
        let mut highest: HashMap<(KeyHash, bool), u64, FixedState> = HashMap::default();
        for entry in self.hours.values().flatten() {
            let number = highest.entry((entry.hash, entry.is_soft)).or_default();
            *number = entry.number.max(*number);
        }
        for entries in self.hours.values_mut().rev() {
            entries.retain_mut(|entry| {
                let number = highest.remove(&(entry.hash, entry.is_soft));
                entry.number = number.unwrap_or(entry.number);
                number.is_some()
            });
        }
        self.recount();
    }

    /// Puts the entries of the fullest groups into one each, until there are no more than `goal`.
    fn widen(
        &mut self,
        goal: usize,
        group_of: fn(&Self, &Entry) -> Option<Group>,
        done: &mut Done,
    ) {
        let mut sizes: Map<usize> = Map::default();
        for entry in self.hours.values().flatten() {
            if let Some(group) = group_of(self, entry) {
                *sizes.entry(group.hash).or_default() += 1;
            }
        }
        let mut fullest: Vec<(usize, KeyHash)> =
            sizes.iter().map(|(hash, size)| (*size, *hash)).collect();
        fullest.sort_unstable_by(|one, other| other.cmp(one));
        let mut left = self.count.all();
        let chosen: Map<usize> = fullest
            .into_iter()
            .take_while(|(size, _)| {
                let is_needed = left > goal && *size > 1;
                left = left.saturating_sub(size - 1);
                is_needed
            })
            .map(|(size, hash)| (hash, size))
            .collect();
        let hours = std::mem::take(&mut self.hours);
        // From the newest hour: what stands for a group is kept as long as the newest of it would be.
        let mut standing = Standing::default();
        for (hour, entries) in hours.into_iter().rev() {
            let mut kept = Vec::new();
            for entry in entries {
                let group = group_of(self, &entry).filter(|it| chosen.contains_key(&it.hash));
                let Some(group) = group else {
                    kept.push(entry);
                    continue;
                };
                done.widened_entries += 1;
                let stands = standing.entry((group.hash, entry.is_soft));
                let (_hour, wide) = stands.or_insert_with(|| {
                    if done.widened.len() < MAX_TOLD {
                        done.widened.push(group.text.clone());
                    }
                    (
                        hour,
                        Entry {
                            hash: group.hash,
                            place: group.place,
                            ..entry
                        },
                    )
                });
                wide.number = wide.number.max(entry.number);
            }
            self.hours.insert(hour, kept);
        }
        let mut standing: Vec<(i64, Entry)> = standing.into_values().collect();
        standing.sort_unstable_by_key(|(hour, entry)| (*hour, entry.number, entry.hash));
        for (hour, entry) in standing {
            self.hours.entry(hour).or_default().push(entry);
        }
        self.recount();
    }

    /// The directory of an object.
    fn directory_of(&self, entry: &Entry) -> Option<Group> {
        let Place::Object { directory, .. } = entry.place else {
            return None;
        };
        let known = self.directories.get(&directory)?;
        let place = match known.depth {
            0 => Place::Host,
            depth => Place::Prefix {
                host: known.host,
                depth,
            },
        };
        Some(Group {
            hash: directory,
            place,
            text: known.text.to_string(),
        })
    }

    /// The host of an object or a prefix.
    fn host_of(&self, entry: &Entry) -> Option<Group> {
        let host = match entry.place {
            Place::Object { directory, .. } => self.directories.get(&directory)?.host,
            Place::Prefix { host, .. } => host,
            _ => return None,
        };
        Some(Group {
            hash: host,
            place: Place::Host,
            text: "a whole host".to_owned(),
        })
    }
}
