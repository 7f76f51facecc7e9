//! What a member saw of nodes since it told last, as one message.
//!
//! A row says spans and counts only: no time of a clock, no position. Of several rows about a node the order in which they
//! are added up does not matter.

use std::collections::BTreeMap;

use super::octaves::Octaves;
use super::{Echo, MemberId, Stamp};
use crate::hash::NodeSeed;
use crate::time::Moment;

/// How often a member tells, in ms, unless the chair asks for another interval.
pub const INTERVAL_MS: u32 = 1_000;

/// Nodes in one message; of more the busiest are told, and whoever is accused.
pub const MAX_ROWS: usize = 512;

/// What a member tells the chair.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Who tells.
    pub member: MemberId,
    /// Counts its starts: larger with each.
    pub incarnation: u64,
    /// Counts its messages since that start, from 1.
    pub sequence: u64,
    /// How often it tells, in ms.
    pub interval_ms: u32,
    /// How long the message waited to be sent, in ms: what waited too long is nothing.
    pub age_ms: u32,
    /// What it acts on.
    pub acted_on: Stamp,
    /// What it heard of a chair last.
    pub heard: Echo,
    /// Whether it missed a state and asks for the whole.
    pub missed: bool,
    /// By node, each once.
    pub rows: Vec<NodeEvidence>,
}

/// What a member saw of a node since it told last.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeEvidence {
    /// The node.
    pub node: NodeSeed,
    /// The term of the node that its answers are about, as in the facts that were acted on.
    pub term: u64,
    /// Requests sent to it.
    pub sent: u32,
    /// Attempts that succeeded.
    pub ok: u32,
    /// Attempts that failed.
    pub failed: u32,
    /// Failures since the last success.
    pub trailing: u32,
    /// How long ago the last success was, in ms; `None` where none is known.
    pub ok_age_ms: Option<u32>,
    /// How long ago the first of the trailing failures was, in ms; `None` where the last attempt succeeded.
    pub streak_age_ms: Option<u32>,
    /// Whether the member's own breaker of the node is open: it accuses.
    pub accuses: bool,
    /// Service times of answers that needed no fetch.
    pub times: Octaves,
    /// Hits and misses by content class, named by a hash of the class's name.
    pub hits: BTreeMap<u64, (u32, u32)>,
    /// Utilisation in 256ths, as the node told; `None` where it did not.
    pub utilisation: Option<u16>,
    /// Requests in flight from this member.
    pub in_flight: u32,
    /// What the member's probes of it find; `None` where it does not probe.
    pub probe: Option<bool>,
    /// The last purge that the node acknowledged; 0 where none.
    pub purge_acked: u64,
}

impl NodeEvidence {
    /// A row of which nothing is known yet.
    pub fn new(node: NodeSeed) -> Self {
        Self {
            node,
            term: 0,
            sent: 0,
            ok: 0,
            failed: 0,
            trailing: 0,
            ok_age_ms: None,
            streak_age_ms: None,
            accuses: false,
            times: Octaves::default(),
            hits: BTreeMap::new(),
            utilisation: None,
            in_flight: 0,
            probe: None,
            purge_acked: 0,
        }
    }

    /// Adds what somebody else saw of the same node: counts are added, of ages and loads the one that says more counts.
    /// Commutative and associative. Probes differ: that one finds the node unwell is what is kept.
    pub fn merge(&mut self, other: &Self) {
        self.term = self.term.max(other.term);
        self.sent = self.sent.saturating_add(other.sent);
        self.ok = self.ok.saturating_add(other.ok);
        self.failed = self.failed.saturating_add(other.failed);
        self.trailing = self.trailing.max(other.trailing);
        self.ok_age_ms = least(self.ok_age_ms, other.ok_age_ms);
        self.streak_age_ms = self.streak_age_ms.max(other.streak_age_ms);
        self.accuses |= other.accuses;
        self.times.merge(&other.times, u32::MAX);
        for (class, (hits, misses)) in &other.hits {
            let known = self.hits.entry(*class).or_default();
            known.0 = known.0.saturating_add(*hits);
            known.1 = known.1.saturating_add(*misses);
        }
        self.utilisation = self.utilisation.max(other.utilisation);
        self.in_flight = self.in_flight.saturating_add(other.in_flight);
        self.probe = match (self.probe, other.probe) {
            (Some(one), Some(another)) => Some(one && another),
            (one, another) => one.or(another),
        };
        self.purge_acked = self.purge_acked.max(other.purge_acked);
    }

    /// About how many bytes it takes on the way, variable lengths counted at their usual.
    pub fn size(&self) -> usize {
        let counts = [
            self.sent,
            self.ok,
            self.failed,
            self.trailing,
            self.in_flight,
        ];
        let counts = counts.iter().filter(|count| **count > 0).count();
        let ages =
            usize::from(self.ok_age_ms.is_some()) + usize::from(self.streak_age_ms.is_some());
        10 + 2 * counts + 3 * ages + 2 * self.times.len() + 12 * self.hits.len()
    }
}

fn least(one: Option<u32>, another: Option<u32>) -> Option<u32> {
    one.into_iter().chain(another).min()
}

/// What a member saw of the nodes it uses and has not told yet.
#[derive(Debug)]
pub struct Witness {
    member: MemberId,
    incarnation: u64,
    sequence: u64,
    told: Moment,
    nodes: BTreeMap<NodeSeed, Seen>,
}

/// Where a member stands towards the chair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// What it acts on.
    pub acted_on: Stamp,
    /// What it heard of a chair last.
    pub heard: Echo,
    /// Whether it missed a state and asks for the whole.
    pub missed: bool,
}

/// What is kept of a node between messages.
#[derive(Debug)]
struct Seen {
    row: NodeEvidence,
    last_ok: Option<Moment>,
    streak: Option<Moment>,
    last: Moment,
}

/// An attempt at a node, as a member counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The node.
    pub node: NodeSeed,
    /// The node's term in the facts that the request was decided on; 0 where they did not name it.
    pub term: u64,
    /// Whether it succeeded.
    pub is_good: bool,
    /// The time to its first byte in microseconds; 0 where that says nothing, as of a fetch.
    pub first_byte_us: u32,
}

/// A node that was not used for so long is forgotten, in ms.
const FORGOTTEN_MS: u64 = 60_000;

/// A message that waited so many intervals to be sent is nothing: it is not sent, and not heard.
const STALE_INTERVALS: u32 = 2;

impl Witness {
    /// A member's notes at its start, which is its `incarnation`-th: it must be larger than at every start before.
    pub fn new(member: MemberId, incarnation: u64) -> Self {
        Self {
            member,
            incarnation,
            sequence: 0,
            told: Moment::default(),
            nodes: BTreeMap::new(),
        }
    }

    /// An attempt at a node ended.
    pub fn saw(&mut self, now: Moment, attempt: Attempt) {
        let seen = self.nodes.entry(attempt.node).or_insert_with(|| Seen {
            row: NodeEvidence::new(attempt.node),
            last_ok: None,
            streak: None,
            last: now,
        });
        seen.last = now;
        let row = &mut seen.row;
        if attempt.term != row.term {
            if attempt.term != 0 && attempt.term < row.term {
                return;
            }
            // What was before is of another term, and past.
            *row = NodeEvidence {
                term: attempt.term,
                ..NodeEvidence::new(attempt.node)
            };
            (seen.last_ok, seen.streak) = (None, None);
        }
        row.sent = row.sent.saturating_add(1);
        if attempt.is_good {
            row.ok = row.ok.saturating_add(1);
            row.trailing = 0;
            (seen.last_ok, seen.streak) = (Some(now), None);
            if attempt.first_byte_us > 0 {
                row.times.record(attempt.first_byte_us);
            }
        } else {
            row.failed = row.failed.saturating_add(1);
            row.trailing = row.trailing.saturating_add(1);
            seen.streak.get_or_insert(now);
        }
    }

    /// How many failures there were since the node's last success.
    pub fn trailing(&self, node: NodeSeed) -> u32 {
        self.nodes.get(&node).map_or(0, |seen| seen.row.trailing)
    }

    /// Makes the message of what was seen since the last. `accuses` says whose own breaker is open. Nodes that were not
    /// used since are told of only where they are accused; what was seen too long ago to be heard is dropped.
    pub fn tell(
        &mut self,
        now: Moment,
        standing: Standing,
        accuses: impl Fn(NodeSeed) -> bool,
    ) -> Evidence {
        let stale_ms = u64::from(STALE_INTERVALS * INTERVAL_MS);
        let is_late = self.sequence > 0 && now.since(self.told) > stale_ms;
        self.told = now;
        self.nodes
            .retain(|_, seen| now.since(seen.last) < FORGOTTEN_MS);
        let mut rows = Vec::new();
        for seen in self.nodes.values_mut() {
            // What came up while nothing could be sent is not made up for.
            let is_old = is_late && now.since(seen.last) > stale_ms;
            let row = seen.take_row(now, &accuses);
            if (row.sent > 0 && !is_old) || row.accuses {
                rows.push(row);
            }
        }
        if rows.len() > MAX_ROWS {
            rows = told_of(rows);
        }
        self.message(standing, rows)
    }

    /// Makes a message of what was seen of these nodes, because somebody accuses them; the others wait for the next.
    pub fn answer<'n>(
        &mut self,
        now: Moment,
        standing: Standing,
        accuses: impl Fn(NodeSeed) -> bool,
        nodes: impl Iterator<Item = &'n NodeSeed>,
    ) -> Option<Evidence> {
        let mut rows = Vec::new();
        for node in nodes.take(MAX_ROWS) {
            let seen = self.nodes.get_mut(node);
            rows.extend(
                seen.filter(|seen| seen.row.sent > 0)
                    .map(|seen| seen.take_row(now, &accuses)),
            );
        }
        (!rows.is_empty()).then(|| self.message(standing, rows))
    }

    fn message(&mut self, standing: Standing, rows: Vec<NodeEvidence>) -> Evidence {
        self.sequence += 1;
        Evidence {
            member: self.member,
            incarnation: self.incarnation,
            sequence: self.sequence,
            interval_ms: INTERVAL_MS,
            age_ms: 0,
            acted_on: standing.acted_on,
            heard: standing.heard,
            missed: standing.missed,
            rows,
        }
    }
}

/// Those of too many rows that are told: whoever is accused, the latest first, but not so many that nothing is told of nodes that
/// serve; and the busiest.
fn told_of(rows: Vec<NodeEvidence>) -> Vec<NodeEvidence> {
    let (mut accused, mut others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.accuses);
    accused.sort_by_key(|row| (row.streak_age_ms, row.node));
    others.sort_by_key(|row| (std::cmp::Reverse(row.sent), row.node));
    accused.truncate(MAX_ROWS - others.len().min(MAX_ROWS / 2));
    others.truncate(MAX_ROWS - accused.len());
    accused.append(&mut others);
    accused.sort_by_key(|row| row.node);
    accused
}

impl Seen {
    /// What was seen since the last row; the next begins.
    fn take_row(&mut self, now: Moment, accuses: impl Fn(NodeSeed) -> bool) -> NodeEvidence {
        let fresh = NodeEvidence {
            trailing: self.row.trailing,
            term: self.row.term,
            ..NodeEvidence::new(self.row.node)
        };
        let mut row = std::mem::replace(&mut self.row, fresh);
        row.accuses = accuses(row.node);
        row.ok_age_ms = self.last_ok.map(|at| span(now, at));
        row.streak_age_ms = self.streak.map(|at| span(now, at));
        row
    }
}

impl Evidence {
    /// Whether it waited too long to be sent to say anything.
    pub fn is_stale(&self) -> bool {
        self.age_ms > self.interval_ms.saturating_mul(STALE_INTERVALS)
    }

    /// About how many bytes it takes on the way.
    pub fn size(&self) -> usize {
        48 + self.rows.iter().map(NodeEvidence::size).sum::<usize>()
    }
}

fn span(now: Moment, at: Moment) -> u32 {
    u32::try_from(now.since(at)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeSeed = NodeSeed(7);

    fn attempt(is_good: bool) -> Attempt {
        Attempt {
            node: NODE,
            term: 3,
            is_good,
            first_byte_us: if is_good { 1_500 } else { 0 },
        }
    }

    /// Of a large site that fails so much was told that nothing said of its teller that others serve it.
    #[test]
    fn of_too_many_nodes_half_of_what_is_told_serves() {
        let row = |node, accuses| NodeEvidence {
            accuses,
            sent: 1,
            streak_age_ms: accuses.then(|| 700 - u32::try_from(node).unwrap_or(0)),
            ..NodeEvidence::new(NodeSeed(node))
        };
        let told = |accused: u64, others: u64| {
            let rows = (0..accused).map(|node| row(node, true));
            let rows = rows.chain((1_000..1_000 + others).map(|node| row(node, false)));
            let told = told_of(rows.collect());
            let accused = told.iter().filter(|row| row.accuses).count();
            (accused, told.len() - accused, told)
        };
        let (accused, others, rows) = told(600, 600);
        assert_eq!((accused, others), (256, 256));
        assert!(
            rows.iter().all(|row| !row.accuses || row.node.0 >= 344),
            "the latest"
        );
        assert!(rows.is_sorted_by_key(|row| row.node));
        let counts = |accused, others| (told(accused, others).0, told(accused, others).1);
        assert_eq!(counts(600, 10), (502, 10));
        assert_eq!(counts(10, 600), (10, 502));
    }

    #[test]
    fn a_row_says_what_was_seen_since_the_last_and_how_long_it_has_failed() {
        let mut witness = Witness::new(MemberId(1), 1);
        witness.saw(Moment(100), attempt(true));
        for at in [200, 300, 400] {
            witness.saw(Moment(at), attempt(false));
        }
        let told = witness.tell(Moment(1_000), Standing::default(), |_| false);
        let [row] = told.rows.as_slice() else {
            panic!("one row: {told:?}")
        };
        assert_eq!((row.sent, row.ok, row.failed, row.trailing), (4, 1, 3, 3));
        assert_eq!((row.ok_age_ms, row.streak_age_ms), (Some(900), Some(800)));
        assert_eq!((row.term, row.times.count()), (3, 1));
        let again = witness.tell(Moment(2_000), Standing::default(), |_| false);
        assert_eq!(again.rows, [], "nothing is told twice");
        assert_eq!(again.sequence, 2);
        witness.saw(Moment(2_100), attempt(false));
        assert_eq!(witness.trailing(NODE), 4, "the streak goes on");
    }

    /// What members could not send during an outage opened well nodes at its end.
    #[test]
    fn what_could_not_be_told_in_time_is_not_told_later() {
        let mut witness = Witness::new(MemberId(1), 1);
        witness.tell(Moment(0), Standing::default(), |_| false);
        witness.saw(Moment(100), attempt(false));
        let late = witness.tell(Moment(60_000), Standing::default(), |_| false);
        assert_eq!(late.rows, []);
        let mut waited = witness.tell(Moment(61_000), Standing::default(), |_| false);
        waited.age_ms = 2_000;
        assert!(!waited.is_stale());
        waited.age_ms = 2_001;
        assert!(waited.is_stale());
    }

    #[test]
    fn of_too_many_nodes_the_busiest_and_the_accused_are_told() {
        let mut witness = Witness::new(MemberId(1), 1);
        for node in 0..600_u64 {
            for _ in 0..=u32::from(node >= 100) {
                let node = NodeSeed(node);
                witness.saw(
                    Moment(0),
                    Attempt {
                        node,
                        ..attempt(true)
                    },
                );
            }
        }
        let told = witness.tell(Moment(500), Standing::default(), |node| node.0 == 5);
        assert_eq!(told.rows.len(), MAX_ROWS);
        assert!(told.rows.iter().any(|row| row.node.0 == 5 && row.accuses));
        assert!(told.rows.is_sorted_by_key(|row| row.node));
    }
}
