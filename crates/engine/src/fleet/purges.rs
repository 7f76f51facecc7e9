//! Purges that a fleet shares: what a member makes of the log that all append to.
//!
//! The log is appended to by comparing: whoever appends has heard all that is before. So its numbers, which whoever appends
//! gives, rise along it, as they do in a sidecar that is alone. A bus may lose its log, or the end of it, with purges that
//! were answered and are in force; those who heard them have them still. Such a purge is said *again*, with a number above
//! all that its sayer knows; and so is a purge whose number is not above what a member knew when it heard it, for there it
//! made nothing newer. Each is said again once, whoever says it.
//!
//! What is to be said again follows from what was heard, in its order. So it is the same after a restart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most purges that are remembered; what is before is not heard anew, and not said again.
const MOST: usize = 65_536;

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// Which log: a bus that lost its log begins another.
    pub log: u64,
    /// From 1; 0 is before the first.
    pub at: u64,
}

/// A purge in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Where it is.
    pub place: Place,
    /// Its sequence, which versions are of.
    pub version: u64,
    /// A hash of all of it: tells apart what was given the same number.
    pub mark: u64,
    /// The mark of the purge that it says again; 0 where it says something new.
    pub again_of: u64,
}

/// How a member finds the log when it comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Found {
    /// Which it is.
    pub log: u64,
    /// The first place that it still has, one behind the last where it has none.
    pub first: u64,
    /// The last place; 0 of an empty one.
    pub last: u64,
    /// The mark of what is at the place that the member heard last, if there is anything.
    pub there: Option<u64>,
}

/// Where a member begins to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Begin {
    /// The first place that it wants.
    pub from: u64,
    /// Whether it has heard what this log has not, so that all of it is heard anew.
    pub is_anew: bool,
    /// Whether purges that it has not heard are gone from the log.
    pub misses_some: bool,
}

/// What a purge of the log is to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heard {
    /// It is in force already.
    Known,
    /// Others are missing before it.
    Gap,
    /// It is to be in force.
    New,
}

/// What a member knows of the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Follower {
    /// What was heard last.
    place: Place,
    /// The last place when it came, while it follows.
    found: Option<u64>,
    /// What was heard, in the order in which it came into force, and whether it made nothing newer.
    entries: VecDeque<(Entry, bool)>,
    /// What is known, while it is heard anew: its mark, and where it is among the entries.
    known: BTreeMap<u64, usize>,
    /// What cannot be said again: nobody here has it any more.
    given_up: BTreeSet<u64>,
    /// Whether anything may have to be said again.
    has_again: bool,
}

impl Follower {
    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The mark of what it heard last; `None` before that, and where that was no purge.
    fn mark(&self) -> Option<u64> {
        let last = self.entries.back()?.0;
        (last.place == self.place).then_some(last.mark)
    }

    /// It comes to the log, for the first time or after it was cut off.
    pub fn come(&mut self, found: Found) -> Begin {
        self.found = Some(found.last);
        self.known.clear();
        let is_new = self.place == Place::default();
        let has_same_log = found.log == self.place.log && found.last >= self.place.at;
        // What the log has forgotten cannot be compared, and is no sign of anything.
        let is_forgotten = self.place.at < found.first;
        let is_same = self.mark().is_none_or(|mark| found.there == Some(mark));
        let fits = has_same_log && (is_forgotten || is_same);
        if is_new || fits {
            let next = self.place.at + 1;
            self.place.log = found.log;
            self.place.at = next.max(found.first) - 1;
            return Begin {
                from: next.max(found.first),
                is_anew: false,
                misses_some: found.first > next,
            };
        }
        let marks = self.entries.iter().map(|(entry, _)| entry.mark);
        self.known = marks.zip(0..).collect();
        self.has_again = true;
        // What is before that is not remembered, and would be taken for news.
        let oldest = self.entries.front().map(|(entry, _)| entry.place);
        let oldest = oldest.filter(|place| place.log == found.log);
        let from = oldest.map_or(1, |place| place.at).max(found.first).max(1);
        self.place = Place {
            log: found.log,
            at: from - 1,
        };
        Begin {
            from,
            is_anew: true,
            misses_some: found.first > 1 && from == found.first,
        }
    }

    /// It is cut off.
    pub fn leave(&mut self) {
        self.found = None;
    }

    /// A purge of an earlier run, in the order in which they came into force; `last` is the largest number before it.
    pub fn resume(&mut self, entry: Entry, last: u64) {
        self.has_again = true;
        self.place = entry.place;
        self.push(entry, last);
    }

    /// Hears a purge; `last` is the largest number that it knows.
    pub fn hear(&mut self, entry: Entry, last: u64) -> Heard {
        if entry.place.log != self.place.log || entry.place.at <= self.place.at {
            return Heard::Known;
        }
        if entry.place.at > self.place.at + 1 {
            return Heard::Gap;
        }
        self.place = entry.place;
        if self.is_remembered(&entry) {
            return Heard::Known;
        }
        self.push(entry, last);
        Heard::New
    }

    /// Whether a purge that is heard anew is known. In a log that was made anew with what the old one had, each is at another place.
    fn is_remembered(&mut self, entry: &Entry) -> bool {
        let known = self.known.get(&entry.mark);
        if let Some((known, _)) = known.and_then(|at| self.entries.get_mut(*at)) {
            known.place = entry.place;
            return true;
        }
        let oldest = self.entries.front().map(|(entry, _)| entry.version);
        !self.known.is_empty()
            && self.entries.len() >= MOST
            && oldest.is_some_and(|oldest| entry.version < oldest)
    }

    /// The log has no more what is before this place.
    pub fn skip_to(&mut self, place: Place) {
        if place.log == self.place.log && place.at > self.place.at + 1 {
            self.place.at = place.at - 1;
        }
    }

    /// These cannot be said again.
    pub fn give_up(&mut self, marks: impl IntoIterator<Item = u64>) {
        self.given_up.extend(marks);
    }

    /// Passes by what is no purge, at this place.
    pub fn pass(&mut self, place: Place) {
        if place.log == self.place.log && place.at == self.place.at + 1 {
            self.place = place;
        }
    }

    fn push(&mut self, entry: Entry, last: u64) {
        let is_under = entry.version <= last;
        self.has_again |= is_under;
        self.entries.push_back((entry, is_under));
        // While they are heard anew they keep their places here.
        while self.entries.len() > MOST && self.known.is_empty() {
            self.entries.pop_front();
        }
    }

    /// Whether it came to the log and was not cut off since.
    pub fn is_following(&self) -> bool {
        self.found.is_some()
    }

    /// The log has more, up to this place at least: what was appended was not behind the last.
    pub fn expect(&mut self, last: u64) {
        self.found = self.found.map(|found| found.max(last));
    }

    /// Whether it follows and has heard all that was there when it came.
    pub fn is_up_to_date(&self) -> bool {
        self.found.is_some_and(|last| self.place.at >= last)
    }

    /// The place behind which it may append, if it may.
    pub fn may_append(&self) -> Option<u64> {
        self.is_up_to_date().then_some(self.place.at)
    }

    /// The marks of what is to be said again, the first first; none while it is not up to date.
    pub fn to_say_again(&mut self) -> Vec<u64> {
        if !self.has_again || !self.is_up_to_date() {
            return Vec::new();
        }
        self.known.clear();
        let mut again = Vec::new();
        // Those that are in the log, as far as it is known.
        let mut standing: Vec<Entry> = Vec::new();
        let is_before =
            |entry: &Entry, place: Place| entry.place.log == place.log && entry.place.at < place.at;
        for (entry, is_under) in &self.entries {
            while let Some(last) = standing.pop_if(|last| !is_before(last, entry.place)) {
                again.push(last.mark);
            }
            standing.push(*entry);
            if *is_under {
                again.push(entry.mark);
            }
        }
        let end = Place {
            at: self.place.at + 1,
            ..self.place
        };
        while let Some(last) = standing.pop_if(|last| !is_before(last, end)) {
            again.push(last.mark);
        }
        let said: BTreeSet<u64> = self
            .entries
            .iter()
            .map(|(entry, _)| entry.again_of)
            .collect();
        again.retain(|mark| !said.contains(mark) && !self.given_up.contains(mark));
        again.sort_unstable();
        again.dedup();
        self.has_again = !again.is_empty();
        let order = self.entries.iter().map(|(entry, _)| entry.mark);
        order
            .filter(|mark| again.binary_search(mark).is_ok())
            .collect()
    }
}
