//! Who has the chair: one of those who may, by a lease that it must renew.
//!
//! The store that all share holds one value, which is replaced by comparing revisions. Whoever sees no renewal for two
//! seconds of its own clock tries to take the chair; the revision by which it was taken is the [`Epoch`]. A chair whose
//! renewals are not accepted stops by itself before anybody else may try, counted from when it *sent* the last one that
//! was: others cannot have seen it earlier than that. Clocks need only run at the same pace; nobody compares them. A chair
//! that was frozen may speak once more when it thaws; its epoch is past then, and nobody listens.

use super::{Epoch, MemberId};
use crate::time::Moment;

/// How often the chair renews, in ms.
pub const RENEW_MS: u64 = 500;

/// A chair that had no renewal accepted for so long stops, in ms.
pub const STOP_MS: u64 = 1_500;

/// Who sees no renewal for so long tries to take the chair, in ms; each waits a bit longer, by its name.
pub const TAKE_MS: u64 = 2_000;

/// By how much members differ in that, in ms.
const SPREAD_MS: u64 = 300;

/// A place in the history of the value; 0 is before the first.
pub type Revision = u64;

/// What the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// Who has the chair.
    pub holder: MemberId,
    /// Since which revision; `None` where it is taken by this very one.
    pub epoch: Option<Epoch>,
}

impl Held {
    /// The time in office that the value of this revision is of.
    pub fn epoch_at(self, revision: Revision) -> Epoch {
        self.epoch.unwrap_or(Epoch(revision))
    }
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The store holds another value.
    Seen {
        /// By this revision.
        revision: Revision,
        /// The value.
        value: Held,
    },
    /// The store took a value that was sent.
    Set {
        /// Which: [`Action::Set`]'s number.
        number: u64,
        /// By this revision.
        revision: Revision,
    },
    /// It did not, for it holds another one.
    Refused {
        /// The revision that it holds.
        revision: Revision,
        /// The value.
        value: Held,
    },
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Set the value, if the store's revision is this one.
    Set {
        /// Counts what was sent, so that the answer can be told from others.
        number: u64,
        /// The revision that it must have.
        expected: Revision,
        /// The value.
        value: Held,
    },
    /// This member has the chair.
    Begin(Epoch),
    /// It has it no longer.
    Stop,
}

/// A member's part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    me: MemberId,
    is_eligible: bool,
    /// The last revision seen, and when.
    seen: (Revision, Moment),
    /// How much was sent to the store so far.
    count: u64,
    /// What was sent and not answered yet: its number, and when. The earliest first, [`MAX_SENT`] at most.
    sent: Vec<(u64, Moment)>,
    chair: Option<Chair>,
}

/// A lease's state but for counts and times: how far its last revision is behind, how long ago that was, what was sent, and
/// the chair.
#[cfg(test)]
pub(super) type Relative = (u64, u64, Vec<(u64, u64)>, Option<(u64, u64)>);

/// What is waited for at once: the store's answer counts for as long as the lease.
const MAX_SENT: usize = (STOP_MS / RENEW_MS) as usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chair {
    epoch: Epoch,
    /// When the last renewal was sent that was accepted.
    renewed: Moment,
}

impl Lease {
    /// A member that knows of no chair; `is_eligible` says whether it may take it. It waits as if one had just renewed.
    pub fn new(now: Moment, me: MemberId, is_eligible: bool) -> Self {
        Self {
            me,
            is_eligible,
            seen: (0, now),
            count: 0,
            sent: Vec::new(),
            chair: None,
        }
    }

    /// The time in office of this member, while it has the chair.
    pub fn chair(&self) -> Option<Epoch> {
        self.chair.map(|chair| chair.epoch)
    }

    /// Does what follows from an event. Before anything is said as the chair, a tick of the present moment must have been
    /// given: whoever was frozen learns by it that it has it no longer.
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => {}
            Event::Seen { revision, value } | Event::Refused { revision, value } => {
                actions.extend(self.see(now, revision, value));
            }
            Event::Set { number, revision } => actions.extend(self.accepted(now, number, revision)),
        }
        let is_over = |chair: &Chair| now.since(chair.renewed) >= STOP_MS;
        if self.chair.as_ref().is_some_and(is_over) {
            actions.push(self.stop(now));
        }
        actions.extend(self.send(now));
        actions
    }

    /// The store holds this.
    fn see(&mut self, now: Moment, revision: Revision, value: Held) -> Option<Action> {
        if revision <= self.seen.0 {
            return None;
        }
        self.seen = (revision, now);
        let chair = self.chair?;
        let is_mine = value.holder == self.me && value.epoch_at(revision) == chair.epoch;
        (!is_mine).then(|| self.stop(now))
    }

    fn stop(&mut self, now: Moment) -> Action {
        self.chair = None;
        self.sent.clear();
        // It gives others the time that they would give it.
        self.seen.1 = now;
        Action::Stop
    }

    /// The store took what was sent under this number.
    fn accepted(&mut self, now: Moment, number: u64, revision: Revision) -> Option<Action> {
        let place = self.sent.iter().position(|(sent, _)| *sent == number)?;
        let (_, at) = self.sent.remove(place);
        if revision > self.seen.0 {
            self.seen = (revision, now);
        }
        if let Some(chair) = &mut self.chair {
            chair.renewed = chair.renewed.max(at);
            return None;
        }
        // An answer that comes so late is of a lease that has run out.
        if now.since(at) >= STOP_MS {
            return None;
        }
        let epoch = Epoch(revision);
        self.chair = Some(Chair { epoch, renewed: at });
        Some(Action::Begin(epoch))
    }

    /// Renews, or tries to take the chair, when it is time.
    fn send(&mut self, now: Moment) -> Option<Action> {
        self.sent.retain(|(_, at)| now.since(*at) < STOP_MS);
        let last = self.sent.last().map(|(_, at)| *at);
        let is_time = if let Some(chair) = self.chair {
            let tried = last.map_or(chair.renewed, |at| at.max(chair.renewed));
            now.since(tried) >= RENEW_MS && self.sent.len() < MAX_SENT
        } else {
            let is_silent = now.since(self.seen.1) >= self.patience_ms();
            self.is_eligible && is_silent && last.is_none()
        };
        if !is_time {
            return None;
        }
        let epoch = self.chair();
        self.count += 1;
        self.sent.push((self.count, now));
        let value = Held {
            holder: self.me,
            epoch,
        };
        Some(Action::Set {
            number: self.count,
            expected: self.seen.0,
            value,
        })
    }

    fn patience_ms(&self) -> u64 {
        TAKE_MS + self.me.rank(0) % SPREAD_MS
    }

    /// What tells this from others in what it will do, where the store holds this revision now: no count and no time of a
    /// clock, so that an explorer sees when it comes to the same again.
    #[cfg(test)]
    pub(super) fn relative(&self, now: Moment, revision: Revision) -> Relative {
        let sent = self.sent.iter();
        let sent: Vec<_> = sent
            .map(|(number, at)| (self.count - number, now.since(*at)))
            .collect();
        let chair = self.chair;
        let chair = chair.map(|it| (revision - it.epoch.0, now.since(it.renewed).min(TAKE_MS)));
        let seen_ms = now.since(self.seen.1).min(TAKE_MS + SPREAD_MS);
        (revision - self.seen.0, seen_ms, sent, chair)
    }

    /// How much it has sent, by which numbers of messages become relative.
    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}
