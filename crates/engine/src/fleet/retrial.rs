//! Whether a node that is tried again is well: by members, not by requests.
//!
//! A slice of its keys is tried. Each answer tells the term it is about; of the present one each member has a voice, the
//! last answer being its word, and more than half decide. One that has lost its own way there neither keeps the node out for
//! all nor, by one failure, sends it back.

use std::collections::BTreeMap;

use super::MemberId;
use super::evidence::NodeEvidence;
use crate::health::trials::Finding;
use crate::time::Moment;

/// Answers before which nothing is concluded.
const ENOUGH: u32 = 3;

/// How long a second member is waited for where several use the node, in ms.
const WAIT_MS: u64 = 10_000;

/// What those who try a node found in this term.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retrial {
    answers: u32,
    since: Option<Moment>,
    /// Whether the node fails for each.
    members: BTreeMap<MemberId, bool>,
}

impl Retrial {
    /// Takes in what `member` tells of the node in this term; rows without an answer say nothing.
    pub fn hear(&mut self, now: Moment, member: MemberId, row: &NodeEvidence) {
        let answers = row.ok.saturating_add(row.failed);
        if answers == 0 {
            return;
        }
        self.since.get_or_insert(now);
        self.answers = self.answers.saturating_add(answers);
        self.members.insert(member, row.trailing > 0);
    }

    /// A member has no voice any more: what it found is nothing.
    pub fn forget(&mut self, member: MemberId) {
        self.members.remove(&member);
    }

    /// What they show, of a node that so many members use.
    pub fn finding(&self, now: Moment, users: usize) -> Finding {
        let tried = self.members.len();
        let failing = self.members.values().filter(|fails| **fails).count();
        let waited = self.since.is_some_and(|since| now.since(since) >= WAIT_MS);
        let is_heard = tried > 1 || users <= 1 || waited;
        if self.answers >= ENOUGH && is_heard {
            return if 2 * failing > tried {
                Finding::Failing
            } else {
                Finding::Well
            };
        }
        if failing > 0 {
            Finding::Doubted
        } else {
            Finding::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::NodeSeed;

    fn row(ok: u32, failed: u32) -> NodeEvidence {
        NodeEvidence {
            ok,
            failed,
            trailing: failed,
            ..NodeEvidence::new(NodeSeed(1))
        }
    }

    /// One of three proxies that lost its way kept a node out for all three for 55 s of 55.
    #[test]
    fn one_member_that_lost_its_way_does_not_keep_a_node_out() {
        let mut retrial = Retrial::default();
        retrial.hear(Moment(0), MemberId(1), &row(0, 5));
        assert_eq!(retrial.finding(Moment(100), 3), Finding::Doubted);
        retrial.hear(Moment(200), MemberId(2), &row(1, 0));
        retrial.hear(Moment(300), MemberId(3), &row(1, 0));
        assert_eq!(retrial.finding(Moment(300), 3), Finding::Well);
    }

    #[test]
    fn a_lone_member_decides_where_nobody_else_uses_the_node_or_comes() {
        let mut retrial = Retrial::default();
        retrial.hear(Moment(0), MemberId(1), &row(0, 3));
        assert_eq!(retrial.finding(Moment(0), 1), Finding::Failing);
        assert_eq!(retrial.finding(Moment(9_999), 2), Finding::Doubted);
        assert_eq!(retrial.finding(Moment(10_000), 2), Finding::Failing);
    }
}
