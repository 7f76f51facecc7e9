//! Whether a node is left by the whole fleet because some accuse it.
//!
//! The first accusation opens a hearing: everybody who uses the node is asked. Only what came of it since the accuser's
//! streak of failures began counts, so whoever has used it since has a voice, and nobody else. A voice speaks against the
//! node when nothing succeeded since then. More than half of all members *known* to use the node open it at once; at the
//! end, once three were heard, more than half of those *heard* do. Five voices that are more than half of all who used it within
//! two seconds need not wait for that end: who uses it seldom would not have spoken before it. Else the case is dismissed: those
//! who accuse keep their own breakers, because a node may well be out of reach for a few, and are not heard on it for a while.
//!
//! Voices count alike whatever their traffic: by traffic a tenth of liars brought down well nodes. [Who has one](super::accusers) is
//! another matter.

use std::collections::{BTreeMap, BTreeSet};

use super::MemberId;
use super::evidence::NodeEvidence;
use crate::time::Moment;

/// How long a hearing lasts, in ms: a message of everybody, and a bit for its way.
pub const HEARING_MS: u64 = 1_300;

/// Hearings at once; what is accused beyond waits for one of them to end.
pub const MAX_HEARINGS: usize = 1_024;

/// How long those whose accusation was dismissed are not heard on that node, in ms.
pub const DISMISSED_MS: u64 = 10_000;

/// Who used a node within this time is known to use it, in ms.
pub const KNOWN_MS: u64 = 10_000;

/// Voices that are waited for where so many use the node, until those who are silent are not known to use it any more: of a
/// node that is seldom used, one accuser would be all who are heard.
pub const QUORUM: usize = 3;

/// Nothing is decided on a node before its users were listened to for so long, in ms: two messages of everybody. Of a chair
/// that has just begun the first who speaks would else be all who are known.
pub const LISTEN_MS: u64 = 2_000;

/// Who used a node within this time would have met its failure by now, in ms: a message of everybody, and one that was late.
const RECENT_MS: u64 = 2_000;

/// So many voices at least end a hearing before its time, if they are most of those who used the node of late.
pub const PLENTY: usize = 5;

/// Members that have a say about one node: those of the least rank, by a hash of both.
pub const MAX_VOICES: usize = 64;

/// Members that use a node, and what each saw of it last.
#[derive(Debug, Clone, Default)]
pub struct Users {
    /// Since when they are listened to.
    since: Option<Moment>,
    by_rank: BTreeMap<(u64, MemberId), User>,
    /// Whose accusation few others shared, and until when it is not heard.
    dismissed: BTreeMap<MemberId, Moment>,
    /// Who accuses the node in the hearing that goes on.
    accusers: BTreeSet<MemberId>,
}

/// What a member saw of a node last, in the chair's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct User {
    /// When it last told of an outcome.
    heard: Moment,
    /// When its last success was, as far as is known.
    last_ok: Option<Moment>,
    /// When its last failure was told, if nothing succeeded since.
    last_failed: Option<Moment>,
}

/// What a member says in a hearing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// Something succeeded since the accuser's streak began.
    For,
    /// It failed since, and nothing succeeded.
    Against,
}

impl Users {
    /// Takes in a row of `member`; `rank` orders members for this node. Answers since when the node fails for the member, if
    /// it accuses the node and is heard.
    pub fn hear(
        &mut self,
        now: Moment,
        (member, rank): (MemberId, u64),
        row: &NodeEvidence,
    ) -> Option<Moment> {
        self.since.get_or_insert(now);
        let ago = |ms: Option<u32>| ms.map(|ms| now.minus(u64::from(ms)));
        if row.sent > 0 {
            let user = self.by_rank.entry((rank, member)).or_insert(User {
                heard: now,
                last_ok: None,
                last_failed: None,
            });
            user.heard = now;
            user.last_ok = user.last_ok.max(ago(row.ok_age_ms));
            user.last_failed = (row.trailing > 0).then_some(now);
            if self.by_rank.len() > MAX_VOICES {
                self.by_rank
                    .retain(|_, user| now.since(user.heard) <= KNOWN_MS);
                while self.by_rank.len() > MAX_VOICES {
                    self.by_rank.pop_last();
                }
            }
        }
        if !row.accuses || !self.is_heard(now, member) {
            return None;
        }
        self.accusers.insert(member);
        ago(row.streak_age_ms)
    }

    /// Whether they were listened to for long enough to decide anything.
    pub fn were_listened_to(&self, now: Moment) -> bool {
        (self.since).is_some_and(|since| now.since(since) >= LISTEN_MS)
    }

    fn is_heard(&self, now: Moment, member: MemberId) -> bool {
        self.dismissed
            .get(&member)
            .is_none_or(|until| now >= *until)
    }

    /// Who is known to use the node, but for those who are not heard.
    fn known(&self, now: Moment) -> impl Iterator<Item = &User> {
        let users = self.by_rank.iter();
        let known = users.filter(move |((_, member), user)| {
            now.since(user.heard) <= KNOWN_MS && self.is_heard(now, *member)
        });
        known.map(|(_, user)| user)
    }

    /// What those who are known to use the node say in a hearing.
    pub fn voices(&self, now: Moment, hearing: Hearing) -> impl Iterator<Item = (MemberId, Voice)> {
        let known = self.by_rank.iter();
        let known = known.filter(move |(_, user)| now.since(user.heard) <= KNOWN_MS);
        known.filter_map(move |((_, member), user)| Some((*member, user.voice(hearing.from)?)))
    }

    /// Those who accuse are not heard for a while.
    fn dismiss(&mut self, now: Moment) {
        self.dismissed.retain(|_, until| now < *until);
        for member in std::mem::take(&mut self.accusers) {
            self.dismissed.insert(member, now.plus(DISMISSED_MS));
        }
    }

    /// A member has no voice any more: what it said is nothing.
    pub fn forget(&mut self, member: MemberId, rank: u64) {
        self.by_rank.remove(&(rank, member));
        self.accusers.remove(&member);
    }

    /// How many are known to use it.
    pub fn count(&self, now: Moment) -> usize {
        self.known(now).count()
    }
}

impl User {
    /// What it says of a node that somebody accuses since `from`; `None` when it has not used it since.
    fn voice(&self, from: Moment) -> Option<Voice> {
        if self.last_ok.is_some_and(|at| at >= from) {
            return Some(Voice::For);
        }
        let failed = self.last_failed.is_some_and(|at| at >= from);
        failed.then_some(Voice::Against)
    }
}

/// A hearing on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hearing {
    /// Who accused the node first.
    pub accuser: MemberId,
    began: Moment,
    /// When the accuser's streak began: what was before says nothing.
    from: Moment,
}

/// What came of a hearing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The node is left by all.
    Open,
    /// It is not.
    Dismissed,
}

/// Voices in a hearing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Members that used the node since the streak began.
    pub heard: usize,
    /// Those of them for whom nothing succeeded.
    pub against: usize,
    /// Members known to use it.
    pub known: usize,
    /// Those of them who used it of late.
    pub recent: usize,
}

impl Count {
    /// What follows from the voices; `is_over` says that nobody is waited for any more. `None` as long as it is open.
    pub fn verdict(self, is_over: bool) -> Option<Verdict> {
        let of = if is_over { self.heard } else { self.known };
        let is_plain = self.against >= PLENTY && 2 * self.against > self.recent;
        if is_plain || (self.against > 0 && 2 * self.against > of) {
            return Some(Verdict::Open);
        }
        // Nobody can be outvoted any more where all have spoken.
        (is_over || self.heard >= self.known).then_some(Verdict::Dismissed)
    }
}

impl Hearing {
    /// A hearing that begins, on a node that fails for its accuser since `from`.
    pub fn begin(now: Moment, accuser: MemberId, from: Moment) -> Self {
        Self {
            accuser,
            began: now,
            from,
        }
    }

    /// The voices so far.
    pub fn count(&self, now: Moment, users: &Users) -> Count {
        let mut count = Count::default();
        for user in users.known(now) {
            count.known += 1;
            let voice = user.voice(self.from);
            let is_recent = now.since(user.heard) <= RECENT_MS || voice.is_some();
            count.recent += usize::from(is_recent);
            let Some(voice) = voice else {
                continue;
            };
            count.heard += 1;
            count.against += usize::from(voice == Voice::Against);
        }
        count
    }

    /// What came of it; `None` while it goes on. Who accused a node that is not left is dismissed.
    pub fn verdict(&self, now: Moment, users: &mut Users) -> Option<Verdict> {
        if !users.were_listened_to(now) {
            return None;
        }
        let count = self.count(now, users);
        let waited_ms = now.since(self.began);
        let is_heard = count.heard >= count.known.min(QUORUM);
        let is_over = waited_ms >= KNOWN_MS || (waited_ms >= HEARING_MS && is_heard);
        let verdict = count.verdict(is_over)?;
        if verdict == Verdict::Dismissed {
            users.dismiss(now);
        }
        Some(verdict)
    }
}
