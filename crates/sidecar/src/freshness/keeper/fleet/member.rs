//! The keeper's place in a fleet: what of its own is on the way to the log, and what waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::clock;
use crate::freshness::PurgeError;
use crate::freshness::keeper::{Order, tell};
use crate::freshness::shared::Shared;
use crate::wire::proto::Purged;
use tradewind_engine::fleet::MemberId;
use tradewind_engine::fleet::purges::{Entry, Follower, Place};

/// How long a purge may wait for the bus before whoever wants it is told that it does not come through.
const WAITS_FOR: Duration = Duration::from_secs(5);

/// After it was overtaken a sidecar waits up to this long, so that two do not overtake each other for ever.
const OVERTAKEN_FOR_MS: u64 = 4;

/// After the bus refused a purge the next one waits this long.
const REFUSED_FOR: Duration = Duration::from_millis(100);

/// What all would do is done by the first of them: each waits up to this long, by its name.
const TURNS_MS: u64 = 2_000;

/// Purges that made nothing newer, which are kept to be said again.
const MAX_UNDER: usize = 4_096;

/// A purge on its way to the log.
pub(super) struct Sent {
    pub(super) order: Order,
    pub(super) mark: u64,
}

/// The keeper's place in a fleet.
#[derive(Default)]
pub(in crate::freshness::keeper) struct Member {
    pub(super) shared: Option<Shared>,
    pub(super) follower: Follower,
    /// What is on its way, in its order; and how many of them were heard since they were sent.
    pub(super) sent: VecDeque<Sent>,
    /// Counts what was sent together.
    pub(super) batch: u64,
    pub(super) heard_of_sent: usize,
    /// Whether it is not known what became of those.
    pub(super) is_unsure: bool,
    /// What waits for its turn.
    pub(super) waiting: VecDeque<Order>,
    /// Nothing is sent before.
    pub(super) pause: Option<Instant>,
    /// When what is to be said again is.
    pub(super) again_at: Option<Instant>,
    pub(super) under: VecDeque<Purged>,
    overtaken: u64,
}

impl Member {
    pub(in crate::freshness::keeper) fn new(shared: Option<Shared>) -> Self {
        Self {
            shared,
            ..Self::default()
        }
    }

    pub(in crate::freshness::keeper) fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// What its fleet is called; empty of one that is alone.
    pub(super) fn fleet_name(&self) -> &str {
        self.shared.as_ref().map_or("", |it| &it.fleet)
    }

    /// What this sidecar is called; empty of one that is alone.
    pub(in crate::freshness::keeper) fn name(&self) -> &str {
        self.shared.as_ref().map_or("", |it| &it.member)
    }

    /// Where it is in the log that all share; 0 of one that is alone.
    pub(in crate::freshness::keeper) fn place(&self) -> u64 {
        self.follower.place().at
    }

    /// How long this one waits before it does what all would do about a purge.
    pub(in crate::freshness::keeper) fn turn(&self, sequence: u64) -> Duration {
        let rank = MemberId::of_name(self.name()).rank(sequence);
        let ms = if self.is_shared() { rank % TURNS_MS } else { 0 };
        Duration::from_millis(ms)
    }

    /// A purge of an earlier run; `last` is the largest sequence before it.
    pub(in crate::freshness::keeper) fn resume(&mut self, purged: &Purged, last: u64) {
        let fleet = self.shared.as_ref().map(|it| &it.fleet);
        if purged.place > 0 && fleet == Some(&purged.fleet) {
            self.follower.resume(entry(purged), last);
            self.keep_under(purged, last);
        }
    }

    pub(super) fn keep_under(&mut self, purged: &Purged, last: u64) {
        if purged.sequence > last {
            return;
        }
        if self.under.len() >= MAX_UNDER {
            self.under.pop_front();
        }
        self.under.push_back(purged.clone());
    }

    /// When there is something to do.
    pub(in crate::freshness::keeper) fn due(&self) -> Option<Instant> {
        let all = self
            .waiting
            .iter()
            .chain(self.sent.iter().map(|it| &it.order));
        let wanted = all.filter(|order| order.reply.is_some());
        let given_up = wanted.map(|order| order.began + WAITS_FOR).min();
        let pause = self.pause.filter(|_| !self.waiting.is_empty());
        let is_free = self.sent.is_empty();
        let [pause, again_at] = [pause, self.again_at].map(|at| at.filter(|_| is_free));
        [given_up, pause, again_at].into_iter().flatten().min()
    }

    /// Those that were sent and are not in the log wait again, before the others.
    pub(super) fn take_back(&mut self, from: usize) {
        let back = self.sent.split_off(from.min(self.sent.len()));
        for sent in back.into_iter().rev() {
            self.waiting.push_front(sent.order);
        }
    }

    /// The order that a purge in the log is of, if it is of this sidecar.
    pub(super) fn own(&mut self, mark: u64) -> Option<Order> {
        let at = self.sent.iter().position(|it| it.mark == mark)?;
        let sent = self.sent.remove(at)?;
        self.heard_of_sent += 1;
        Some(sent.order)
    }

    /// What became of what was sent.
    pub(super) fn appended(&mut self, stored: usize, is_refused: bool) {
        let is_all = stored >= self.sent.len() + self.heard_of_sent;
        if !is_all {
            let from = stored.saturating_sub(self.heard_of_sent);
            if is_refused && let Some(refused) = self.sent.remove(from) {
                // It may be in the log all the same, and is in force then: whoever asks again under its id is told so.
                tell(refused.order, Err(PurgeError::Apart));
            }
            self.take_back(from);
            self.overtaken += 1;
            let turn =
                MemberId::of_name(self.name()).rank(self.overtaken) % (OVERTAKEN_FOR_MS * 1_000);
            let rest = if is_refused {
                REFUSED_FOR
            } else {
                Duration::ZERO
            };
            self.pause = Some(clock::now() + rest + Duration::from_micros(turn));
        }
    }

    /// Whoever waits too long is told so. What they want may come into force all the same.
    pub(super) fn give_up(&mut self, now: Instant) {
        // What nobody waits for here has all the time.
        let is_late = |order: &Order| order.reply.is_some() && order.began + WAITS_FOR <= now;
        for sent in self.sent.iter_mut().filter(|it| is_late(&it.order)) {
            if let Some(reply) = sent.order.reply.take() {
                drop(reply.send(Err(PurgeError::Apart)));
            }
        }
        let waiting = std::mem::take(&mut self.waiting);
        let (late, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_late);
        self.waiting = rest.into();
        for order in late {
            tell(order, Err(PurgeError::Apart));
        }
    }
}

/// A purge as the log has it.
pub(super) fn entry(purged: &Purged) -> Entry {
    Entry {
        place: Place {
            log: purged.log,
            at: purged.place,
        },
        version: purged.sequence,
        mark: purged.mark,
        again_of: purged.again_of,
    }
}
