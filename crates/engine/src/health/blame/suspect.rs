//! One key that went badly somewhere, and who is to blame for it.
//!
//! A key that fails at one node says little: the node may be broken, or the object. What tells them apart is what became
//! of the same key elsewhere, and whether elsewhere was sound, that is, whether that node answered other requests well
//! after this one had failed there:
//!
//! | failed at another sound node | served elsewhere since | to blame |
//! |---|---|---|
//! | yes | no | the object: it counts at no node |
//! | yes, the very same request | – | the object, or the client: it counts at no node |
//! | yes | yes | nobody knows: once in a window |
//! | no | yes | the node: every failure counts |
//! | no | no | nobody knows: once in a window |
//! | late here, while this node answered others and no other fetched anything | – | the origin: it counts at no node |
//!
//! Soundness is what keeps nodes that all fail from excusing each other: where nothing is answered any more, nothing is
//! excused. What was served from a cache does not show that the origin has the object, so it is no proof against a node
//! that had to fetch it.

use super::{Case, Records, TakenBack, WINDOW_MS};
use crate::hash::KeyHash;
use crate::model::NodeIndex;
use crate::signal::observation::{DecisionNumber, Reporter};
use crate::time::Moment;

/// Nodes remembered for a key. Two tell object and node apart; a hot key goes to more, and those stalest make room.
const PLACES: usize = 4;

/// How long a key is known to be slow, in ms: ten minutes. Until then the next client has asked for it, or nobody will.
const SLOW_FOR_MS: u64 = 600_000;

/// What a node's failures with a key are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The node's own: the key is served elsewhere.
    Node,
    /// The object's, or that of whoever asks for it.
    Object,
    /// Nobody knows.
    Unclear,
}

/// How a key went badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The node answered with a failure, or broke off.
    Failed,
    /// It did not answer in time.
    Late,
    /// It answered, after a slow fetch.
    Slow,
}

/// What became of a key at one node.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    node: NodeIndex,
    /// Who told of the last failure that counted.
    reporter: Reporter,
    /// The decision of the last failure, and when that was made.
    decision: DecisionNumber,
    asked: Moment,
    /// When it began to fail here and last did, counted in outcomes: these have an order even within a tick.
    first: u64,
    last: u64,
    at: Moment,
    kind: Kind,
    /// The last failure was that of a fetch.
    fetched: bool,
    /// Failures that count against the node, when one last began to, and which that was, counted in outcomes.
    counted: u32,
    counted_at: Option<Moment>,
    counted_last: u64,
    /// It was served here since.
    served: bool,
}

/// A node that served the key, and when, counted in outcomes.
type Served = Option<(NodeIndex, u64)>;

/// A key that went badly somewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Suspect {
    pub(super) key: KeyHash,
    /// When an outcome last was about it.
    pub(super) used: Moment,
    /// When it first went badly, and last.
    pub(super) since: Moment,
    pub(super) last_bad: Moment,
    /// How often it went badly.
    pub(super) bad: u32,
    /// Who told so, while that is one and the same.
    pub(super) only_by: Option<Reporter>,
    /// The last status; 0 for none.
    pub(super) status: u16,
    /// Whether somebody should look at it at the next tick.
    pub(super) is_watched: bool,
    /// Whether it is told of as failing.
    pub(super) is_listed: bool,
    last_kind: Kind,
    last_order: u64,
    slow_at: Option<Moment>,
    from_cache: Served,
    by_fetch: Served,
    places: [Option<Place>; PLACES],
}

impl Suspect {
    pub(super) fn new(now: Moment, key: KeyHash) -> Self {
        Self {
            key,
            used: now,
            since: now,
            last_bad: now,
            bad: 0,
            only_by: None,
            status: 0,
            is_watched: false,
            is_listed: false,
            last_kind: Kind::Failed,
            last_order: 0,
            slow_at: None,
            from_cache: None,
            by_fetch: None,
            places: [None; PLACES],
        }
    }

    /// Takes note that it went badly, as outcome number `order`.
    pub(super) fn note_bad(&mut self, case: &Case, kind: Kind, order: u64) {
        if !self.is_listed && case.now.since(self.last_bad) > WINDOW_MS {
            (self.since, self.bad) = (case.now, 0);
        }
        (self.used, self.last_bad, self.last_order) = (case.now, case.now, order);
        let is_same = self.bad == 0 || self.only_by == Some(case.reporter);
        self.only_by = is_same.then_some(case.reporter);
        self.bad = self.bad.saturating_add(1);
        (self.status, self.last_kind) = (case.status, kind);
        // The headers of a fetch came, the rest did not: a slow object, not a silent node.
        if kind == Kind::Slow || (kind == Kind::Late && case.cache.is_fetch()) {
            self.slow_at = Some(case.now);
        }
        let fresh = Place {
            node: case.node,
            reporter: case.reporter,
            decision: case.decision,
            asked: case.asked,
            first: order,
            last: order,
            at: case.now,
            kind,
            fetched: case.cache.is_fetch(),
            counted: 0,
            counted_at: None,
            counted_last: 0,
            served: false,
        };
        let at = self.seat(case.node);
        let Some(seat) = self.places.get_mut(at) else {
            return;
        };
        *seat = Some(match *seat {
            Some(known) if known.node == case.node && known.is_fresh(case.now) => Place {
                first: if known.served { order } else { known.first },
                counted: known.counted,
                counted_at: known.counted_at,
                reporter: known.reporter,
                ..fresh
            },
            _ => fresh,
        });
    }

    /// Takes note that a node served it, as outcome number `order`.
    pub(super) fn note_served(&mut self, case: &Case, order: u64) {
        self.used = case.now;
        let served = Some((case.node, order));
        if case.cache.is_hit() == Some(true) {
            self.from_cache = served;
        } else {
            self.by_fetch = served;
        }
        if case.cache.is_fetch() && !case.is_slow {
            self.slow_at = None;
        }
        if let Some(place) = self.place_mut(case.node) {
            place.served = true;
        }
    }

    /// Whose fault it is that it fails at a node.
    pub(super) fn fault_at(&self, node: NodeIndex, now: Moment, records: &Records) -> Fault {
        let Some(place) = self.places().find(|place| place.node == node) else {
            return Fault::Unclear;
        };
        let is_slow = self.slow_at.is_some_and(|at| now.since(at) <= SLOW_FOR_MS);
        if place.kind == Kind::Slow || (place.kind == Kind::Late && is_slow) {
            return Fault::Object;
        }
        if place.may_wait_for_origin(records) {
            return Fault::Object;
        }
        let mut fails_elsewhere = false;
        for other in self.places() {
            let speaks = other.node != node
                && other.is_fresh(now)
                && (other.kind != Kind::Slow || place.kind == Kind::Late)
                && other.is_sound(records);
            if speaks {
                let same_request = other.decision == place.decision;
                if same_request || !self.is_served_since(other.last, other.fetched, None) {
                    return Fault::Object;
                }
                fails_elsewhere = true;
            }
        }
        if !fails_elsewhere && self.is_served_since(place.first, place.fetched, Some(node)) {
            return Fault::Node;
        }
        Fault::Unclear
    }

    /// Whether a failure at a node counts that may be the object's: the first in a window does.
    pub(super) fn counts_once(&mut self, case: &Case) -> bool {
        let now = case.now;
        let Some(place) = self.place_mut(case.node) else {
            return true;
        };
        let due = place.counted_at.is_none_or(|at| now.since(at) > WINDOW_MS);
        if due {
            place.count(case.reporter, now);
        }
        due
    }

    /// A failure at a node counts because it is the node's own.
    pub(super) fn counts(&mut self, case: &Case) {
        if let Some(place) = self.place_mut(case.node) {
            place.count(case.reporter, case.now);
        }
    }

    /// The node at which the very request failed that has now been served, if that did not count and nobody else fails
    /// with the key: then it counts from now on.
    pub(super) fn proven(
        &mut self,
        case: &Case,
        records: &Records,
    ) -> Option<(NodeIndex, Reporter)> {
        let now = case.now;
        let from_cache = case.cache.is_hit() == Some(true);
        let failed = self.places().find(|place| {
            place.node != case.node
                && place.decision == case.decision
                && !place.is_counted()
                && place.kind != Kind::Slow
                && !(place.kind == Kind::Late && case.is_slow)
                && !(from_cache && (place.fetched || place.may_wait_for_origin(records)))
        });
        let failed = failed?.node;
        let doubt = self
            .places()
            .any(|other| other.node != failed && other.is_fresh(now) && other.is_sound(records));
        let place = self.place_mut(failed).filter(|_| !doubt)?;
        place.count(case.reporter, now);
        Some((failed, case.reporter))
    }

    /// What it counted at nodes though it was its own fault.
    pub(super) fn take_back(&mut self, now: Moment, records: &Records, taken: &mut Vec<TakenBack>) {
        let known = *self;
        for place in self.places.iter_mut().flatten() {
            if place.counted > 0 && known.fault_at(place.node, now, records) == Fault::Object {
                taken.push(TakenBack {
                    node: place.node,
                    reporter: place.reporter,
                    count: std::mem::take(&mut place.counted),
                });
                place.counted_last = 0;
            }
        }
    }

    /// Whether it is known to be its own fault that it goes badly, at two nodes at least.
    pub(super) fn is_to_blame(&self, now: Moment, records: &Records) -> bool {
        let bad = || self.places().filter(|place| place.is_fresh(now));
        let excused = bad().any(|place| self.fault_at(place.node, now, records) == Fault::Object);
        excused && bad().count() >= 2
    }

    /// Whether nothing that it did counts at a node.
    pub(super) fn is_settled(&self) -> bool {
        self.places().all(|place| place.counted == 0)
    }

    /// Whether it was served since it last went badly.
    pub(super) fn is_served(&self) -> bool {
        self.is_served_since(self.last_order, self.last_kind == Kind::Failed, None)
    }

    /// Whether it is late rather than failing.
    pub(super) fn is_late(&self) -> bool {
        self.last_kind != Kind::Failed
    }

    /// Nodes at which it went badly, and still is remembered to.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        self.places().map(|place| place.node)
    }

    fn places(&self) -> impl Iterator<Item = &Place> + '_ {
        self.places.iter().flatten()
    }

    fn place_mut(&mut self, node: NodeIndex) -> Option<&mut Place> {
        let mut places = self.places.iter_mut().flatten();
        places.find(|place| place.node == node)
    }

    /// Where a node's place is, or is to be.
    fn seat(&self, node: NodeIndex) -> usize {
        let own = |place: &Option<Place>| place.is_some_and(|place| place.node == node);
        let stalest = || {
            let places = self.places.iter().enumerate();
            let by_age = places.min_by_key(|(_, place)| place.map(|place| place.last));
            by_age.map_or(0, |(at, _)| at)
        };
        self.places.iter().position(own).unwrap_or_else(stalest)
    }

    fn is_served_since(&self, order: u64, by_fetch: bool, not_at: Option<NodeIndex>) -> bool {
        let from_cache = self.from_cache.filter(|_| !by_fetch);
        let served = from_cache.into_iter().chain(self.by_fetch);
        let mut elsewhere = served.filter(|(node, _)| Some(*node) != not_at);
        elsewhere.any(|(_, at)| at > order)
    }
}

impl Place {
    fn is_fresh(&self, now: Moment) -> bool {
        now.since(self.at) <= WINDOW_MS
    }

    /// Whether the node answered something well after the key had begun to fail there, and has not been given up since.
    fn is_sound(&self, records: &Records) -> bool {
        let record = records.get(self.node);
        record.answered > self.first && record.broke < self.last
    }

    /// Whether it was late for want of what it had to fetch, as far as anybody knows: the node answered others meanwhile,
    /// and no other node has fetched anything. Meanwhile is in the last quarter of the time since the decision: by then the
    /// last of three attempts had begun, and who has just begun to hang has answered nobody.
    fn may_wait_for_origin(&self, records: &Records) -> bool {
        let record = records.get(self.node);
        let waited_ms = self.at.since(self.asked);
        let begun = self.at.minus(waited_ms / 4);
        let answers = record.answered_at.is_some_and(|at| at > begun);
        self.kind == Kind::Late
            && answers
            && record.broke < self.last
            && !records.fetched_elsewhere(self.node, self.asked)
    }

    fn count(&mut self, reporter: Reporter, now: Moment) {
        self.counted = self.counted.saturating_add(1);
        (self.counted_at, self.counted_last, self.reporter) = (Some(now), self.last, reporter);
    }

    /// Whether the last failure counts.
    fn is_counted(&self) -> bool {
        self.counted_last == self.last
    }
}
