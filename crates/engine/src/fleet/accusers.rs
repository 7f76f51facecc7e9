//! Who has a voice: not those who find nearly everything failing, and not those who are outvoted again and again.
//!
//! Where few members use a node, a few that lie may be the most of those who speak of it. But a member speaks of hundreds of
//! nodes, and what it says of the others shows what its word is worth. One that is cut off from nodes that others reach judges
//! nothing by it either. Where half of all members find that, it is not they who have lost their way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::MemberId;
use super::evidence::{Evidence, NodeEvidence};
use super::hearing::{Verdict, Voice};
use crate::hash::NodeSeed;
use crate::time::Moment;

/// Hearings at once that one member brought about, and one of whose accusations one was dismissed of late: else a few that
/// accuse everybody leave no room for others.
const MAX_OF_ONE: u32 = 64;
const MAX_OF_DISMISSED: u32 = 1;

/// How long a dismissal is held against its accuser, in ms.
const HELD_AGAINST_MS: u64 = 60_000;

/// Against so many nodes that are not left a member may speak within a minute or two; if it does that more often than not, it has
/// no voice until that has faded. It does not fade while it accuses as many. One node, however often, is a way of its own that
/// is broken.
const MAX_WRONG: usize = 3;

/// Nodes that are remembered of it.
const MAX_REMEMBERED: usize = 64;

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
    /// Whether so few find nearly everything failing that it is they who have lost their way.
    few_are_lost: bool,
    /// Whose words are to be forgotten.
    silenced: VecDeque<MemberId>,
}

#[derive(Debug, Clone, Default)]
struct Accuser {
    hearings: u32,
    dismissed: Option<Moment>,
    /// Hearings in which it had a voice.
    votes: u32,
    /// Those of them in which it spoke against a node that was not left, and about which nodes.
    wrong: u32,
    wrong_about: BTreeSet<NodeSeed>,
    told: Told,
    is_silent: bool,
}

/// What a member told of all its nodes, in two halves.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    half: u64,
    now: Sides,
    before: Sides,
}

/// Nodes that a member is served by, and that it accuses.
#[derive(Debug, Clone, Copy, Default)]
struct Sides {
    served: Tally,
    accused: Tally,
}

/// About how many different nodes: each sets one bit by its seed, so that the same node is not counted twice, and 500 count as 400.
#[derive(Debug, Clone, Copy, Default)]
struct Tally([u64; 16]);

impl Tally {
    fn add(&mut self, node: NodeSeed) {
        // Fibonacci hashing (Knuth, volume 3, section 6.4): the upper ten bits of the product.
        let place = node.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        if let Some(word) = usize::try_from(place / 64)
            .ok()
            .and_then(|at| self.0.get_mut(at))
        {
            *word |= 1 << (place % 64);
        }
    }

    fn with(mut self, other: Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
        self
    }

    fn count(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

impl Accusers {
    /// Nobody yet.
    pub fn new(now: Moment) -> Self {
        Self {
            members: BTreeMap::new(),
            faded: now,
            few_are_lost: false,
            silenced: VecDeque::new(),
        }
    }

    /// Takes in what a member tells of all its nodes.
    pub fn hear(&mut self, now: Moment, evidence: &Evidence) {
        let accuser = self.members.entry(evidence.member).or_default();
        accuser.told.hear(now, evidence);
        self.look(evidence.member);
    }

    /// Whether a member has a voice.
    pub fn has_voice(&self, member: MemberId) -> bool {
        // As it was looked at last: whatever changes it looks again.
        !self.members.get(&member).is_some_and(|it| it.is_silent)
    }

    /// A member that has no voice any more, and whose words are to be forgotten; each is told once.
    pub fn silenced(&mut self) -> Option<MemberId> {
        self.silenced.pop_front()
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

    /// What a member said of a node in a hearing that is over.
    pub fn voted(&mut self, member: MemberId, node: NodeSeed, voice: Voice, verdict: Verdict) {
        let accuser = self.members.entry(member).or_default();
        accuser.votes = accuser.votes.saturating_add(1);
        if voice == Voice::Against && verdict == Verdict::Dismissed {
            accuser.wrong = accuser.wrong.saturating_add(1);
            if accuser.wrong_about.len() < MAX_REMEMBERED {
                accuser.wrong_about.insert(node);
            }
        }
        self.look(member);
    }

    /// A hearing that this member brought about is over.
    pub fn ended(&mut self, now: Moment, member: MemberId, was_dismissed: bool) {
        let accuser = self.members.entry(member).or_default();
        accuser.hearings = accuser.hearings.saturating_sub(1);
        if was_dismissed {
            accuser.dismissed = Some(now);
        }
    }

    /// Counts who has lost its way, and forgets whom nothing is held against any more.
    pub fn tick(&mut self, now: Moment) {
        let fades = now.since(self.faded) >= FADES_MS;
        if fades {
            self.faded = now;
        }
        for accuser in self.members.values_mut() {
            accuser.told.turn(now);
        }
        let heard = self.members.values().filter(|it| it.told.is_heard());
        let lost = heard.clone().filter(|it| it.told.is_lost()).count();
        self.few_are_lost = 2 * lost < heard.count();
        let few_are_lost = self.few_are_lost;
        self.members.retain(|_, it| {
            if fades && !it.goes_on(few_are_lost) {
                it.fade();
            }
            let is_doubted = |at: Moment| now.since(at) < HELD_AGAINST_MS;
            it.told.is_heard()
                || it.hearings > 0
                || it.votes > 0
                || it.dismissed.is_some_and(is_doubted)
        });
        for member in self.members.keys().copied().collect::<Vec<_>>() {
            self.look(member);
        }
    }

    /// Notes who has no voice any more.
    fn look(&mut self, member: MemberId) {
        let few_are_lost = self.few_are_lost;
        if let Some(accuser) = self.members.get_mut(&member) {
            let is_silent = !accuser.has_voice(few_are_lost);
            if is_silent && !accuser.is_silent {
                self.silenced.push_back(member);
            }
            accuser.is_silent = is_silent;
        }
    }
}

impl Accuser {
    fn has_voice(&self, few_are_lost: bool) -> bool {
        let is_outvoted = self.wrong_about.len() >= MAX_WRONG && 2 * self.wrong > self.votes;
        let is_lost = few_are_lost && self.told.is_lost();
        !is_outvoted && !is_lost
    }

    /// Whether it has no voice, and still accuses as many.
    fn goes_on(&self, few_are_lost: bool) -> bool {
        !self.has_voice(few_are_lost) && self.told.accused() as usize >= MAX_WRONG
    }

    fn fade(&mut self) {
        (self.votes, self.wrong) = (self.votes / 2, self.wrong / 2);
        let mut stays = false;
        self.wrong_about.retain(|_| {
            stays = !stays;
            !stays
        });
    }
}

impl Told {
    fn hear(&mut self, now: Moment, evidence: &Evidence) {
        self.turn(now);
        // Of a node that it accuses nobody says that it is served well by it.
        let is_served = |row: &&NodeEvidence| row.ok > 0 && row.trailing == 0 && !row.accuses;
        for row in evidence.rows.iter().filter(is_served) {
            self.now.served.add(row.node);
        }
        for row in evidence.rows.iter().filter(|row| row.accuses) {
            self.now.accused.add(row.node);
        }
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
        self.now.accused.with(self.before.accused).count()
    }

    fn served(&self) -> u32 {
        self.now.served.with(self.before.served).count()
    }

    fn is_heard(&self) -> bool {
        self.accused() > 0 || self.served() > 0
    }

    fn is_lost(&self) -> bool {
        let accused = self.accused();
        accused >= LOST_NODES && accused > LOST_TIMES.saturating_mul(self.served())
    }
}
