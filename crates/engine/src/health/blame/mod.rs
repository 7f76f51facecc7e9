//! Whose fault a failure is: the node's, or that of the object it was asked for.
//!
//! One URL for which the origin answers 500 fails at whatever node is asked; counted against nodes it takes a fleet apart,
//! and all the faster where proxies try again. So failures are kept by key, in a bounded table of suspects, and laid at the
//! object's door when it fails at several nodes that are otherwise well. The rules stand with the `suspect`; this module
//! holds the table, and the list of objects that are known to fail.
//!
//! Bounds: 4,096 suspects in sets of four, of which the one longest unused goes for another; 64 of them are told of
//! as failing. A key that had to go is judged anew, as if it had never failed. A failing object is forgotten ten seconds
//! after it last failed if it was served since, else when it was not asked for in a minute.

mod suspect;

use crate::hash::KeyHash;
use crate::model::NodeIndex;
use crate::signal::observation::{CacheResult, DecisionNumber, Reporter};
use crate::time::Moment;
use suspect::{Fault, Kind, Suspect};

/// Keys that went badly, at a time: as many as a site of a thousand nodes shows when all of it fails at once, in 2 MB. The
/// table is made with the first failure.
const KEPT: usize = 4_096;

/// Places a key may have in the table.
const WAYS: usize = 4;

/// Objects told of as failing: as many as anybody reads. Those beyond are excused like them.
pub const MAX_FAILING: usize = 64;

/// An object is told of from so many failures on: one that failed along one list of nodes may never be asked for again.
const LISTED_FROM: u32 = 5;

/// In this time a key counts once, in ms, and what it did elsewhere speaks for or against it: the breaker's window by
/// default.
const WINDOW_MS: u64 = 10_000;

/// An object that is served again fails no more after so long without a failure, in ms …
const CALM_MS: u64 = 10_000;

/// … and one that nobody asks for is forgotten after this.
const FORGET_MS: u64 = 60_000;

/// Suspects looked at at each tick, at most; they leave when it is known who is to blame.
const MAX_WATCHED: usize = 1_024;

/// An attempt at a node that was about a known key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// When it was told.
    pub now: Moment,
    /// The node.
    pub node: NodeIndex,
    /// Who tells.
    pub reporter: Reporter,
    /// The decision that named the node.
    pub decision: DecisionNumber,
    /// When that was made.
    pub asked: Moment,
    /// The key it was ranked by.
    pub key: KeyHash,
    /// The HTTP status, 0 for none.
    pub status: u16,
    /// What the cache did.
    pub cache: CacheResult,
    /// Whether it was a slow fetch.
    pub is_slow: bool,
}

/// What a failure means for its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blamed {
    /// It counts.
    Node,
    /// It may be the object's, and the key has counted already within the window.
    Repeated,
    /// It is the object's.
    Object,
}

/// Failures that counted against a node and should not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenBack {
    /// The node.
    pub node: NodeIndex,
    /// Who told of them.
    pub reporter: Reporter,
    /// How many.
    pub count: u32,
}

/// An object that fails, or is slow, wherever it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Failing {
    /// The key it is ranked by.
    pub key: KeyHash,
    /// Nodes it failed at last, four at most.
    pub nodes: Vec<NodeIndex>,
    /// How often.
    pub failures: u32,
    /// Who told of all that, where that is one reporter alone.
    pub only_by: Option<Reporter>,
    /// Since when.
    pub since: Moment,
    /// When it last did.
    pub last: Moment,
    /// The last status; 0 for none.
    pub status: u16,
    /// Whether it is late or slow, rather than failing.
    pub is_late: bool,
}

/// What a look at the suspects brought.
#[derive(Debug, Default)]
pub struct Review {
    /// What counted against nodes and is taken back.
    pub taken_back: Vec<TakenBack>,
    /// Objects that have begun to fail.
    pub begun: Vec<Failing>,
    /// Objects that fail no more, or are not asked for any more.
    pub ended: Vec<Failing>,
}

/// What is known of nodes.
#[derive(Debug, Default)]
struct Records {
    nodes: Vec<Record>,
    /// The nodes that last fetched something well, and when they last did: two, so that one is another than any given.
    fetched: [Option<(NodeIndex, Moment)>; 2],
}

/// What is known of a node, counted in outcomes.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// Its last good answer.
    answered: u64,
    /// The time of that.
    answered_at: Option<Moment>,
    /// When it was last given up: what failed until then says nothing about keys.
    broke: u64,
}

/// The table of suspects; see the module.
#[derive(Debug, Default)]
pub struct Blame {
    suspects: Vec<Option<Suspect>>,
    records: Records,
    /// Outcomes so far.
    told: u64,
    /// Places of suspects to look at.
    watched: Vec<usize>,
    listed: usize,
    excused: u64,
    /// What was asked for before shows nothing.
    since: Moment,
}

impl Blame {
    /// Takes in a good answer. A node at which the same request failed before, if that failure counts only now that the
    /// request is known to be a good one.
    pub fn answered(&mut self, case: &Case) -> Option<(NodeIndex, Reporter)> {
        self.told += 1;
        let told = self.told;
        if let Some(record) = self.records.of(case.node) {
            record.answered = told;
            record.answered_at = Some(case.now);
        }
        if case.cache.is_fetch() && !case.is_slow {
            self.records.fetched(case.node, case.now);
        }
        if case.is_slow {
            self.note_bad(case, Kind::Slow);
        }
        let at = self.find(case.key)?;
        let suspect = self.suspects.get_mut(at)?.as_mut()?;
        suspect.note_served(case, self.told);
        suspect.proven(case, &self.records)
    }

    /// Takes in a failure: of the node's own (`late` is false) or for want of time.
    pub fn failed(&mut self, case: &Case, late: bool) -> Blamed {
        self.told += 1;
        if case.asked < self.since {
            self.excused += 1;
            return Blamed::Object;
        }
        let kind = if late { Kind::Late } else { Kind::Failed };
        let Some(at) = self.note_bad(case, kind) else {
            return Blamed::Node;
        };
        let Some(suspect) = self.suspects.get_mut(at).and_then(Option::as_mut) else {
            return Blamed::Node;
        };
        match suspect.fault_at(case.node, case.now, &self.records) {
            Fault::Object => {
                self.excused += 1;
                Blamed::Object
            }
            Fault::Node => {
                suspect.counts(case);
                Blamed::Node
            }
            Fault::Unclear if suspect.counts_once(case) => Blamed::Node,
            Fault::Unclear => Blamed::Repeated,
        }
    }

    /// A node was given up: its breaker opened. What failed there until now was its own doing.
    pub fn broke(&mut self, node: NodeIndex) {
        let told = self.told;
        if let Some(record) = self.records.of(node) {
            record.broke = told;
        }
    }

    /// Looks at the suspects that may turn out to be to blame, and at the failing objects.
    pub fn review(&mut self, now: Moment) -> Review {
        let mut review = Review::default();
        let mut watched = std::mem::take(&mut self.watched);
        watched.retain(|at| self.look(*at, now, &mut review));
        self.watched = watched;
        review
    }

    /// Failing objects, in the order of their keys.
    pub fn failing(&self) -> Vec<Failing> {
        let suspects = self
            .watched
            .iter()
            .filter_map(|at| self.suspects.get(*at)?.as_ref());
        let mut failing: Vec<Failing> = suspects
            .filter(|suspect| suspect.is_listed)
            .map(Failing::of)
            .collect();
        failing.sort_by_key(|failing| failing.key);
        failing
    }

    /// Failures that were known at once to be the object's.
    pub fn excused(&self) -> u64 {
        self.excused
    }

    /// Forgets everything, and takes what was asked for until now for nobody's fault: it is known by now to have failed on
    /// the way.
    pub fn pardon(&mut self, now: Moment) {
        self.clear();
        self.since = now;
    }

    /// Forgets everything: nodes have other positions now.
    pub fn clear(&mut self) {
        *self = Self {
            excused: self.excused,
            since: self.since,
            ..Self::default()
        };
    }

    fn note_bad(&mut self, case: &Case, kind: Kind) -> Option<usize> {
        let at = self
            .find(case.key)
            .or_else(|| self.insert(case.now, case.key))?;
        let suspect = self.suspects.get_mut(at)?.as_mut()?;
        suspect.note_bad(case, kind, self.told);
        if !suspect.is_watched && self.watched.len() < MAX_WATCHED {
            suspect.is_watched = true;
            self.watched.push(at);
        }
        Some(at)
    }

    /// Looks at one suspect. Whether it should be looked at again.
    fn look(&mut self, at: usize, now: Moment, review: &mut Review) -> bool {
        let suspect = self.suspects.get_mut(at).and_then(Option::as_mut);
        let Some(suspect) = suspect.filter(|suspect| suspect.is_watched) else {
            return false;
        };
        suspect.take_back(now, &self.records, &mut review.taken_back);
        let quiet_ms = now.since(suspect.last_bad);
        let is_due = suspect.bad >= LISTED_FROM && self.listed < MAX_FAILING;
        if !suspect.is_listed && is_due && suspect.is_to_blame(now, &self.records) {
            suspect.is_listed = true;
            self.listed += 1;
            review.begun.push(Failing::of(suspect));
        }
        if !suspect.is_listed {
            suspect.is_watched = quiet_ms <= WINDOW_MS && !suspect.is_settled();
            return suspect.is_watched;
        }
        let is_over = (quiet_ms > CALM_MS && suspect.is_served()) || quiet_ms > FORGET_MS;
        if is_over {
            review.ended.push(Failing::of(suspect));
            (suspect.is_listed, suspect.is_watched) = (false, false);
            self.listed -= 1;
        }
        !is_over
    }

    fn find(&self, key: KeyHash) -> Option<usize> {
        let set = set_of(key);
        let known = self.suspects.get(set..set + WAYS)?;
        let own = |suspect: &Option<Suspect>| suspect.is_some_and(|suspect| suspect.key == key);
        known.iter().position(own).map(|way| set + way)
    }

    /// Makes room for a key, unless all that share its places are told of as failing.
    fn insert(&mut self, now: Moment, key: KeyHash) -> Option<usize> {
        if self.suspects.is_empty() {
            self.suspects = vec![None; KEPT];
        }
        let set = set_of(key);
        let ways = self
            .suspects
            .get_mut(set..set + WAYS)?
            .iter_mut()
            .enumerate();
        let free = ways.filter(|(_, suspect)| suspect.is_none_or(|suspect| !suspect.is_listed));
        let (way, place) = free.min_by_key(|(_, suspect)| suspect.map(|suspect| suspect.used))?;
        // Its place may be among those looked at already.
        let is_watched = place.is_some_and(|before| before.is_watched);
        let mut suspect = Suspect::new(now, key);
        suspect.is_watched = is_watched;
        *place = Some(suspect);
        Some(set + way)
    }
}

impl Records {
    fn of(&mut self, node: NodeIndex) -> Option<&mut Record> {
        if self.nodes.len() <= node.get() {
            self.nodes.resize(node.get() + 1, Record::default());
        }
        self.nodes.get_mut(node.get())
    }

    fn get(&self, node: NodeIndex) -> Record {
        self.nodes.get(node.get()).copied().unwrap_or_default()
    }

    fn fetched(&mut self, node: NodeIndex, now: Moment) {
        let [last, before] = self.fetched;
        let other = [last, before].into_iter().flatten();
        let other = other
            .filter(|(known, _)| *known != node)
            .max_by_key(|(_, at)| *at);
        self.fetched = [Some((node, now)), other];
    }

    /// Whether another node has fetched something well since then.
    fn fetched_elsewhere(&self, node: NodeIndex, since: Moment) -> bool {
        let mut fetched = self.fetched.iter().flatten();
        fetched.any(|(other, at)| *other != node && *at > since)
    }
}

impl Failing {
    fn of(suspect: &Suspect) -> Self {
        Self {
            key: suspect.key,
            nodes: suspect.nodes().collect(),
            failures: suspect.bad,
            only_by: suspect.only_by,
            since: suspect.since,
            last: suspect.last_bad,
            status: suspect.status,
            is_late: suspect.is_late(),
        }
    }
}

/// Where the places of a key begin. Keys are hashes already.
fn set_of(key: KeyHash) -> usize {
    (key.0 >> 32) as usize & (KEPT - 1) & !(WAYS - 1)
}

#[cfg(test)]
mod tests;
