//! Whether some of a node's answers fail, too many to be borne: judged by ratios that members agree on.
//!
//! A member with enough requests of its own votes by its own ratio. A thousand members may share twenty requests; theirs
//! are pooled in juries, by a hash of the member, so that a few that lie spoil a few juries. The median of all that have a
//! say is what is agreed on, once three have enough, or all where there are not so many. Then those with less count as
//! well: else a few that claim to have asked a quiet node often would be all who vote. Who has [no voice](super::accusers) in
//! hearings has none here: of ten liars at a site that four ask often, a tenth of all were the most who vote (docs/fleet.md).

use std::collections::BTreeMap;

use super::MemberId;
use super::evidence::NodeEvidence;
use crate::number::from_u64;
use crate::time::Moment;

/// Juries of members with few requests each.
const JURIES: u8 = 7;

/// Members from which on those with few requests are pooled: of fewer, one that lies would spoil too much of what there is.
const POOLED_FROM: usize = 21;

/// Votes that are waited for, where so many may come.
const QUORUM: usize = 3;

/// Members of which it is counted; further ones have no say.
const MAX_MEMBERS: usize = 1_024;

/// Requests in the window with which a member, or a jury, has a say.
pub const ENOUGH: u32 = 20;

/// Half of the window, in ms: it spans the present half and the one before.
const HALF_MS: u64 = 5_000;

/// Successes and failures of the last five to ten seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Window {
    half: u64,
    now: (u32, u32),
    before: (u32, u32),
}

impl Window {
    fn add(&mut self, now: Moment, (good, bad): (u32, u32)) {
        self.turn(now);
        self.now.0 = self.now.0.saturating_add(good);
        self.now.1 = self.now.1.saturating_add(bad);
    }

    fn turn(&mut self, now: Moment) {
        let half = now.0 / HALF_MS;
        match half.saturating_sub(self.half) {
            0 => {}
            1 => (self.before, self.now) = (self.now, (0, 0)),
            _ => (self.before, self.now) = ((0, 0), (0, 0)),
        }
        self.half = self.half.max(half);
    }

    fn sums(mut self, now: Moment) -> (u32, u32) {
        self.turn(now);
        let (one, other) = (self.now, self.before);
        (one.0.saturating_add(other.0), one.1.saturating_add(other.1))
    }
}

/// What members told of a node's successes of late.
#[derive(Debug, Clone, Default)]
pub struct Ratios {
    members: BTreeMap<MemberId, Window>,
}

impl Ratios {
    /// Takes in a row.
    pub fn hear(&mut self, now: Moment, member: MemberId, row: &NodeEvidence) {
        let is_full = self.members.len() >= MAX_MEMBERS && !self.members.contains_key(&member);
        if (row.ok > 0 || row.failed > 0) && !is_full {
            let window = self.members.entry(member).or_default();
            window.add(now, (row.ok, row.failed));
        }
    }

    /// Forgets who told nothing within the window.
    pub fn tick(&mut self, now: Moment) {
        self.members.retain(|_, window| window.sums(now) != (0, 0));
    }

    /// The share of attempts that succeed, 0 to 1, as agreed on; `None` where nobody has enough. `topic` names the node.
    pub fn agreed(&self, now: Moment, topic: u64) -> Option<f64> {
        let mut juries = [(0_u32, 0_u32); JURIES as usize];
        let mut voices: Vec<(u32, u32)> = Vec::new();
        for (member, window) in &self.members {
            let sums = window.sums(now);
            if vote(sums).is_some() || self.members.len() < POOLED_FROM {
                voices.push(sums);
                continue;
            }
            let jury = usize::try_from(member.rank(topic) % u64::from(JURIES)).unwrap_or(0);
            if let Some(jury) = juries.get_mut(jury) {
                jury.0 = jury.0.saturating_add(sums.0);
                jury.1 = jury.1.saturating_add(sums.1);
            }
        }
        voices.extend(juries);
        voices.retain(|sums| *sums != (0, 0));
        let enough = voices.iter().filter(|sums| vote(**sums).is_some()).count();
        if enough < voices.len().clamp(1, QUORUM) {
            return None;
        }
        let mut votes: Vec<f64> = voices.into_iter().map(ratio).collect();
        votes.sort_by(f64::total_cmp);
        // Of an even number the better half is believed: half of all voices is not enough to speak against a node.
        votes.get(votes.len() / 2).copied()
    }

    /// A member has no say any more: what it told is nothing.
    pub fn forget(&mut self, member: MemberId) {
        self.members.remove(&member);
    }

    /// Forgets everything: a new term has begun.
    pub fn clear(&mut self) {
        self.members.clear();
    }
}

/// What a voice says that has enough.
fn vote((good, bad): (u32, u32)) -> Option<f64> {
    (good.saturating_add(bad) >= ENOUGH).then(|| ratio((good, bad)))
}

fn ratio((good, bad): (u32, u32)) -> f64 {
    let all = good.saturating_add(bad).max(1);
    from_u64(u64::from(good)) / from_u64(u64::from(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::NodeSeed;

    fn told(ratios: &mut Ratios, member: u64, ok: u32, failed: u32) {
        let row = NodeEvidence {
            ok,
            failed,
            ..NodeEvidence::new(NodeSeed(1))
        };
        ratios.hear(Moment(0), MemberId(member), &row);
    }

    #[test]
    fn who_has_enough_votes_alone_and_half_of_the_votes_are_not_enough() {
        let mut ratios = Ratios::default();
        told(&mut ratios, 1, 20, 0);
        told(&mut ratios, 2, 0, 1_000);
        assert_eq!(ratios.agreed(Moment(0), 1), Some(1.0), "one of two");
        told(&mut ratios, 3, 0, 19);
        assert_eq!(ratios.agreed(Moment(0), 1), None, "the third may decide");
        told(&mut ratios, 3, 0, 1);
        assert_eq!(ratios.agreed(Moment(0), 1), Some(0.0), "two of three");
        assert_eq!(ratios.agreed(Moment(15_000), 1), None, "long ago");
        ratios.tick(Moment(15_000));
        assert!(ratios.members.is_empty());
    }

    #[test]
    fn many_that_have_little_each_speak_in_juries_and_a_tenth_of_liars_is_outvoted() {
        let mut ratios = Ratios::default();
        for member in 0..1_000 {
            told(&mut ratios, member, 1, 0);
        }
        assert_eq!(ratios.agreed(Moment(0), 1), Some(1.0));
        for liar in 0..100 {
            told(&mut ratios, liar, 0, 1);
        }
        let agreed = ratios.agreed(Moment(0), 1);
        assert!(agreed.is_some_and(|ratio| ratio > 0.85), "{agreed:?}");
        // Those who lie with many requests have a vote each, and the juries of others outvote three of them.
        for liar in 0..3 {
            told(&mut ratios, liar, 0, 10_000);
        }
        let agreed = ratios.agreed(Moment(0), 1);
        assert!(agreed.is_some_and(|ratio| ratio > 0.85), "{agreed:?}");
    }
}
