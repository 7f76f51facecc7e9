//! Who has a voice: not those who find nearly everything failing, and not those who are outvoted again and again.
//!
//! Where few members use a node, a few that lie may be the most of those who speak of it. But a member speaks of hundreds of
//! nodes, and what it says of the others shows what its word is worth. One that is cut off from nodes that others reach judges
//! nothing by it either.

use std::collections::BTreeMap;

use super::MemberId;
use super::evidence::Evidence;
use super::hearing::{Verdict, Voice};
use crate::time::Moment;

/// Hearings at once that one member brought about, and one of whose accusations one was dismissed of late: else a few that
/// accuse everybody leave no room for others.
const MAX_OF_ONE: u32 = 64;
const MAX_OF_DISMISSED: u32 = 1;

/// How long a dismissal is held against its accuser, in ms.
const HELD_AGAINST_MS: u64 = 60_000;

/// So often a member may speak against nodes that are not left, within a minute or two; if it does that more often than not, it has
/// no voice until that has faded. It does not fade while it accuses as many.
const MAX_WRONG: u32 = 3;

/// How soon half of what somebody voted is forgotten, in ms.
const FADES_MS: u64 = 60_000;

/// Who accuses so many nodes, and so many times as many as it is served by, has lost its own way. A site that fails makes nobody
/// lose it who uses others too, nor at once who uses no other: what served it in the seconds before still counts.
const LOST_NODES: u32 = 16;
const LOST_TIMES: u32 = 3;

/// Half of the time in which that is counted, in ms: what is told once a second is in each half.
const HALF_MS: u64 = 2_000;

/// Whose word was worth what.
#[derive(Debug, Clone)]
pub struct Accusers {
    members: BTreeMap<MemberId, Accuser>,
    /// When what they voted faded last.
    faded: Moment,
}

#[derive(Debug, Clone, Copy, Default)]
struct Accuser {
    hearings: u32,
    dismissed: Option<Moment>,
    /// Hearings in which it had a voice.
    votes: u32,
    /// Those of them in which it spoke against a node that was not left.
    wrong: u32,
    told: Told,
}

/// What a member told of all its nodes, in two halves.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    half: u64,
    now: Sides,
    before: Sides,
}

/// Nodes that a member is served by, each as often as it told of it, and the most that it accused in one message.
#[derive(Debug, Clone, Copy, Default)]
struct Sides {
    served: u32,
    accused: u32,
}

impl Accusers {
    /// Nobody yet.
    pub fn new(now: Moment) -> Self {
        Self {
            members: BTreeMap::new(),
            faded: now,
        }
    }

    /// Takes in what a member tells of all its nodes. Answers whether it had a voice and has none any more.
    pub fn hear(&mut self, now: Moment, evidence: &Evidence) -> bool {
        let accuser = self.members.entry(evidence.member).or_default();
        let had_voice = accuser.has_voice();
        accuser.told.hear(now, evidence);
        had_voice && !accuser.has_voice()
    }

    /// Whether a member has a voice.
    pub fn has_voice(&self, member: MemberId) -> bool {
        self.members.get(&member).is_none_or(Accuser::has_voice)
    }

    /// Whether a hearing may begin at this member's word; then it has.
    pub fn may_begin(&mut self, now: Moment, member: MemberId) -> bool {
        let accuser = self.members.entry(member).or_default();
        let is_doubted = accuser
            .dismissed
            .is_some_and(|at| now.since(at) < HELD_AGAINST_MS);
        let most = if is_doubted {
            MAX_OF_DISMISSED
        } else {
            MAX_OF_ONE
        };
        let may = accuser.hearings < most;
        accuser.hearings += u32::from(may);
        may
    }

    /// What a member said in a hearing that is over. Answers whether it had a voice and has none any more.
    pub fn voted(&mut self, member: MemberId, voice: Voice, verdict: Verdict) -> bool {
        let accuser = self.members.entry(member).or_default();
        let had_voice = accuser.has_voice();
        accuser.votes = accuser.votes.saturating_add(1);
        let is_wrong = voice == Voice::Against && verdict == Verdict::Dismissed;
        accuser.wrong += u32::from(is_wrong);
        had_voice && !accuser.has_voice()
    }

    /// A hearing that this member brought about is over.
    pub fn ended(&mut self, now: Moment, member: MemberId, was_dismissed: bool) {
        let accuser = self.members.entry(member).or_default();
        accuser.hearings = accuser.hearings.saturating_sub(1);
        if was_dismissed {
            accuser.dismissed = Some(now);
        }
    }

    /// Forgets whom nothing is held against any more.
    pub fn tick(&mut self, now: Moment) {
        let fades = now.since(self.faded) >= FADES_MS;
        if fades {
            self.faded = now;
        }
        self.members.retain(|_, it| {
            it.told.turn(now);
            let goes_on = !it.has_voice() && it.told.accused() >= MAX_WRONG;
            if fades && !goes_on {
                (it.votes, it.wrong) = (it.votes / 2, it.wrong / 2);
            }
            let is_doubted = |at: Moment| now.since(at) < HELD_AGAINST_MS;
            let is_heard = it.told.accused() > 0 || it.told.served() > 0;
            is_heard || it.hearings > 0 || it.votes > 0 || it.dismissed.is_some_and(is_doubted)
        });
    }
}

impl Accuser {
    fn has_voice(&self) -> bool {
        let is_outvoted = self.wrong >= MAX_WRONG && 2 * self.wrong > self.votes;
        !is_outvoted && !self.told.is_lost()
    }
}

impl Told {
    fn hear(&mut self, now: Moment, evidence: &Evidence) {
        self.turn(now);
        let count = |rows: usize| u32::try_from(rows).unwrap_or(u32::MAX);
        let accused = evidence.rows.iter().filter(|row| row.accuses).count();
        let served = evidence.rows.iter().filter(|row| row.ok > 0).count();
        self.now.accused = self.now.accused.max(count(accused));
        self.now.served = self.now.served.saturating_add(count(served));
    }

    fn turn(&mut self, now: Moment) {
        let half = now.0 / HALF_MS;
        match half.saturating_sub(self.half) {
            0 => {}
            1 => (self.before, self.now) = (self.now, Sides::default()),
            _ => (self.before, self.now) = (Sides::default(), Sides::default()),
        }
        self.half = self.half.max(half);
    }

    fn accused(&self) -> u32 {
        self.now.accused.max(self.before.accused)
    }

    fn served(&self) -> u32 {
        self.now.served.saturating_add(self.before.served)
    }

    fn is_lost(&self) -> bool {
        let accused = self.accused();
        accused >= LOST_NODES && accused > LOST_TIMES.saturating_mul(self.served())
    }
}
