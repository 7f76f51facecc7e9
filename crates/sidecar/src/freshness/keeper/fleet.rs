//! The keeper in a fleet: what is wanted here is appended to the log that all share, and what is heard of that log is put in
//! force, whoever wanted it.
//!
//! Whoever appends must have heard all that is before; who was overtaken hears that first, and tries again. So there is one
//! order, and one purge of each id.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use super::{EPOCH_UNIX_MS, Keeper, MAX_PACED, MAX_SEQUENCE, MAX_WAITING, Order, Taken, tell};
use crate::clock;
use crate::freshness::records::Record;
use crate::freshness::shared::{Ask, News, Shared};
use crate::freshness::{PurgeError, Submitted, Wish};
use crate::wire::proto::Purged;
use crate::wire::purge::{self as messages, duration_ms, version_text};
use tradewind_engine::fleet::MemberId;
use tradewind_engine::fleet::purges::{self as follower, Entry, Follower, Place};
use tradewind_engine::model::printable;

/// How long a purge may wait for the bus before whoever wants it is told that it does not come through.
const WAITS_FOR: Duration = Duration::from_secs(5);

/// After it was overtaken a sidecar waits up to this long, so that two do not overtake each other for ever.
const OVERTAKEN_FOR_MS: u64 = 4;

/// After the bus refused a purge the next one waits this long.
const REFUSED_FOR: Duration = Duration::from_millis(100);

/// What all would do is done by the first of them: each waits up to this long, by its name.
const TURNS_MS: u64 = 2_000;

/// What nobody waits for is put off by this while the bus is away.
const PUT_OFF: Duration = Duration::from_secs(1);

/// Purges that are appended at once, and their bytes.
const MOST_AT_ONCE: usize = 64;
const MOST_BYTES: usize = 4 << 20;

/// Largest message: a server of NATS takes 1 MiB with its headers, unless it is told otherwise.
const MAX_MESSAGE: usize = 1_000_000;

/// How far a version may be ahead of the clock, in ms: a month. One that is further would leave no numbers for the purges to come.
const MAX_AHEAD_MS: u64 = 30 * 24 * 3_600_000;

/// Longest words of a purge of others, in characters.
const MAX_WORDS: usize = 256;

/// Purges that made nothing newer, which are kept to be said again.
const MAX_UNDER: usize = 4_096;

/// A purge of the log that is to be put in force.
struct Heard {
    purged: Purged,
    age_ms: u64,
    /// Of this sidecar, if it is.
    own: Option<Order>,
}

/// A purge on its way to the log.
struct Sent {
    order: Order,
    mark: u64,
}

/// The keeper's place in a fleet.
#[derive(Default)]
pub(super) struct Member {
    shared: Option<Shared>,
    follower: Follower,
    /// What is on its way, in its order; and how many of them were heard since they were sent.
    sent: VecDeque<Sent>,
    /// Counts what was sent together.
    batch: u64,
    heard_of_sent: usize,
    /// Whether it is not known what became of those.
    is_unsure: bool,
    /// What waits for its turn.
    waiting: VecDeque<Order>,
    /// Nothing is sent before.
    pause: Option<Instant>,
    /// When what is to be said again is.
    again_at: Option<Instant>,
    under: VecDeque<Purged>,
    overtaken: u64,
}

impl Member {
    pub(super) fn new(shared: Option<Shared>) -> Self {
        Self {
            shared,
            ..Self::default()
        }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// What its fleet is called; empty of one that is alone.
    fn fleet_name(&self) -> &str {
        self.shared.as_ref().map_or("", |it| &it.fleet)
    }

    /// What this sidecar is called; empty of one that is alone.
    pub(super) fn name(&self) -> &str {
        self.shared.as_ref().map_or("", |it| &it.member)
    }

    /// Where it is in the log that all share; 0 of one that is alone.
    pub(super) fn place(&self) -> u64 {
        self.follower.place().at
    }

    /// How long this one waits before it does what all would do about a purge.
    pub(super) fn turn(&self, sequence: u64) -> Duration {
        let rank = MemberId::of_name(self.name()).rank(sequence);
        let ms = if self.is_shared() { rank % TURNS_MS } else { 0 };
        Duration::from_millis(ms)
    }

    /// A purge of an earlier run; `last` is the largest sequence before it.
    pub(super) fn resume(&mut self, purged: &Purged, last: u64) {
        let fleet = self.shared.as_ref().map(|it| &it.fleet);
        if purged.place > 0 && fleet == Some(&purged.fleet) {
            self.follower.resume(entry(purged), last);
            self.keep_under(purged, last);
        }
    }

    fn keep_under(&mut self, purged: &Purged, last: u64) {
        if purged.sequence > last {
            return;
        }
        if self.under.len() >= MAX_UNDER {
            self.under.pop_front();
        }
        self.under.push_back(purged.clone());
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
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
    fn take_back(&mut self, from: usize) {
        let back = self.sent.split_off(from.min(self.sent.len()));
        for sent in back.into_iter().rev() {
            self.waiting.push_front(sent.order);
        }
    }

    /// The order that a purge in the log is of, if it is of this sidecar.
    fn own(&mut self, mark: u64) -> Option<Order> {
        let at = self.sent.iter().position(|it| it.mark == mark)?;
        let sent = self.sent.remove(at)?;
        self.heard_of_sent += 1;
        Some(sent.order)
    }

    /// What became of what was sent.
    fn appended(&mut self, stored: usize, is_refused: bool) {
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
    fn give_up(&mut self, now: Instant) {
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

impl Keeper {
    /// Takes what is wanted here, to append it.
    pub(super) fn share(&mut self, orders: Vec<Order>) {
        for order in orders {
            if self.fleet.follower.is_following() && self.fleet.waiting.len() < MAX_WAITING {
                self.fleet.waiting.push_back(order);
            } else if order.reply.is_none() {
                self.repeats.push((clock::now() + PUT_OFF, order.wish));
            } else if self.fleet.follower.is_following() {
                tell(order, Err(PurgeError::Busy));
            } else {
                tell(order, Err(PurgeError::Apart));
            }
        }
        self.append_waiting();
    }

    /// Hears what the bus tells.
    pub(super) fn hear_all(&mut self, news: Vec<News>) {
        if news.is_empty() {
            return;
        }
        let mut heard = Vec::new();
        for news in news {
            match news {
                News::Heard {
                    place,
                    purge,
                    age_ms,
                } => heard.extend(self.hear(place, &purge, age_ms)),
                News::Appended {
                    batch,
                    stored,
                    last,
                    is_refused,
                } => {
                    // All of an earlier one was heard before its answer came.
                    if batch == self.fleet.batch {
                        self.fleet.appended(stored, is_refused);
                    }
                    self.fleet.follower.expect(last);
                }
                News::Left => {
                    self.fleet.follower.leave();
                    self.fleet.is_unsure = !self.fleet.sent.is_empty();
                }
                News::Reached(reply) => {
                    let follower = &self.fleet.follower;
                    // Whoever asked may have gone.
                    let _gone = reply.send((follower.place(), follower.mark()));
                }
                News::Found {
                    found,
                    first_age_ms,
                    reply,
                } => {
                    let begin = self.fleet.follower.come(found);
                    self.fleet.is_unsure = !self.fleet.sent.is_empty();
                    if begin.is_anew {
                        tracing::error!(
                            "the bus lost purges that are in force here: what it has is heard anew, and what it lost is said again"
                        );
                    }
                    // What is missing is older than what is there, if the log forgets by age.
                    let is_young = first_age_ms.is_none_or(|age_ms| age_ms < self.life_ms);
                    if begin.misses_some && is_young {
                        self.raise_floor();
                    }
                    let _gone = reply.send(begin);
                }
            }
        }
        self.put_heard_in_force(heard);
        if self.fleet.follower.is_up_to_date() && std::mem::take(&mut self.fleet.is_unsure) {
            self.fleet.take_back(0);
        }
        self.plan_to_say_again();
        self.append_waiting();
    }

    /// Hears a purge; if it is to be put in force, with how old it is and the order that it is of.
    fn hear(&mut self, place: Place, message: &Bytes, age_ms: u64) -> Option<Heard> {
        let mark = xxh3_64(message);
        let own = self.fleet.own(mark);
        let read = Purged::decode(message.clone()).ok();
        let unix_ms = clock::unix_ms();
        let Some(mut purged) = read.filter(|it| is_believable(it.sequence, unix_ms)) else {
            tracing::error!(
                place = place.at,
                "what is in the fleet's log of purges is no purge, or has a version that cannot be"
            );
            self.fleet.follower.pass(place);
            if let Some(own) = own {
                tell(own, Err(PurgeError::Apart));
            }
            return None;
        };
        (purged.place, purged.log, purged.mark) = (place.at, place.log, mark);
        purged.fleet = self.fleet.fleet_name().to_owned();
        // Whoever said it, it is shown to people.
        for words in [
            &mut purged.who,
            &mut purged.why,
            &mut purged.id,
            &mut purged.member,
        ] {
            *words = printable(words, MAX_WORDS);
        }
        let mut heard = self.fleet.follower.hear(entry(&purged), self.last);
        if heard == follower::Heard::Gap {
            // Somebody took purges out of the log, and nobody can say what they were.
            self.raise_floor();
            self.fleet.follower.skip_to(place);
            heard = self.fleet.follower.hear(entry(&purged), self.last);
        }
        if heard != follower::Heard::New {
            return None;
        }
        self.fleet.keep_under(&purged, self.last);
        self.last = self.last.max(purged.sequence);
        Some(Heard {
            purged,
            age_ms,
            own,
        })
    }

    /// Puts in force what was heard, then writes it down, then answers.
    fn put_heard_in_force(&mut self, heard: Vec<Heard>) {
        if heard.is_empty() {
            return;
        }
        let mut answers = Vec::new();
        let mut purges = Vec::with_capacity(heard.len());
        for Heard {
            purged,
            age_ms,
            own: order,
        } in heard
        {
            let mut purge = messages::purge(&purged);
            if purge.selectors.len() < purged.selectors.len() {
                let lost = purged.selectors.len() - purge.selectors.len();
                let version = version_text(purged.sequence);
                tracing::error!(
                    version,
                    lost,
                    "part of a purge of the fleet cannot be read: what it covers may be served"
                );
            }
            if self.ledger.paced() + purge.selectors.len() > MAX_PACED {
                // Two sidecars began more at a time than one may: at once is safe, and a ramp less.
                purge.over_ms = 0;
            }
            let began = order.as_ref().map(|it| it.began);
            let (widened, in_force_after) = self.bring_in((&purged, &purge), age_ms, began);
            let submitted = Submitted {
                sequence: purged.sequence,
                is_kept: true,
                is_repeated: false,
                widened,
                in_force_after,
            };
            self.remember_id(&submitted, &purged, age_ms);
            answers.extend(order.map(|order| (order, submitted)));
            purges.push((purged, began.map(|_| in_force_after)));
        }
        self.keep(purges.iter().map(|(purged, _)| purged));
        let mut records = self.freshness.records_mut();
        for (purged, in_force_after) in purges {
            if records.is_newer(purged.sequence) {
                records.push(Record {
                    purged,
                    in_force_after,
                });
            }
        }
        drop(records);
        for (order, submitted) in answers {
            tell(order, Ok(submitted));
        }
        self.show();
    }

    /// Appends what waits, if it is this sidecar's turn.
    pub(super) fn append_waiting(&mut self) {
        let now = clock::now();
        self.fleet.give_up(now);
        self.say_again(now);
        if self.fleet.pause.is_some_and(|until| until > now) || !self.fleet.sent.is_empty() {
            return;
        }
        self.fleet.pause = None;
        let Some(behind) = self.fleet.follower.may_append() else {
            return;
        };
        let (mut taken, mut twins, mut payloads) = (Vec::new(), Vec::new(), Vec::new());
        let (mut last, mut bytes) = (self.last, 0);
        let again = self.fleet.follower.to_say_again();
        while taken.len() < MOST_AT_ONCE && bytes < MOST_BYTES {
            let Some(mut order) = self.fleet.waiting.pop_front() else {
                break;
            };
            let said = order.wish.again_of;
            if said > 0 && !again.contains(&said) {
                // Somebody else has said it meanwhile.
                continue;
            }
            match self.take_in(&order, &taken, &mut last) {
                Taken::New(purged) => {
                    let purged = *purged;
                    let payload = Bytes::from(purged.encode_to_vec());
                    if payload.len() > MAX_MESSAGE {
                        let error = PurgeError::TooLarge {
                            bytes: payload.len(),
                            most: MAX_MESSAGE,
                        };
                        tell(order, Err(error));
                        continue;
                    }
                    order.is_admitted = true;
                    bytes += payload.len();
                    payloads.push(payload);
                    taken.push((order, purged));
                }
                Taken::Twin => twins.push(order),
                Taken::Answered(answer) => tell(order, answer),
            }
        }
        for twin in twins.into_iter().rev() {
            self.fleet.waiting.push_front(twin);
        }
        if payloads.is_empty() {
            return;
        }
        let orders = taken.into_iter().map(|(order, _)| order).zip(&payloads);
        let sent = orders.map(|(order, payload)| Sent {
            order,
            mark: xxh3_64(payload),
        });
        self.fleet.sent = sent.collect();
        self.fleet.heard_of_sent = 0;
        self.fleet.batch += 1;
        let batch = self.fleet.batch;
        if let Some(shared) = &self.fleet.shared {
            // It ends after this does.
            drop(shared.bus.send(Ask::Append {
                batch,
                behind,
                purges: payloads,
            }));
        }
    }

    /// If anything is to be said again, it is after a while, if nobody else did it by then.
    fn plan_to_say_again(&mut self) {
        if self.fleet.again_at.is_some() {
            return;
        }
        if let Some(first) = self.fleet.follower.to_say_again().first() {
            self.fleet.again_at = Some(clock::now() + self.fleet.turn(*first));
        }
    }

    fn say_again(&mut self, now: Instant) {
        let is_due = self.fleet.again_at.is_some_and(|at| at <= now);
        if !is_due || !self.fleet.sent.is_empty() {
            return;
        }
        self.fleet.again_at = None;
        let again: BTreeSet<u64> = self.fleet.follower.to_say_again().into_iter().collect();
        if again.is_empty() {
            return;
        }
        let mut found: Vec<Purged> = Vec::new();
        self.freshness.records(|records| {
            let held = records.newest().map(|it| &it.purged);
            let lost = held.filter(|it| it.mark > 0 && again.contains(&it.mark));
            found.extend(lost.cloned());
        });
        let under = self.fleet.under.iter();
        found.extend(under.filter(|it| again.contains(&it.mark)).cloned());
        found.sort_by_key(|it| (it.sequence, it.mark));
        found.dedup_by_key(|it| it.mark);
        let has: BTreeSet<u64> = found.iter().map(|it| it.mark).collect();
        let lost: Vec<u64> = again.difference(&has).copied().collect();
        if !lost.is_empty() {
            tracing::error!(
                purges = lost.len(),
                "purges that the bus lost are not held in memory any more, and cannot be said again: where they are not in force they will not be"
            );
            self.fleet.follower.give_up(lost);
        }
        tracing::warn!(
            purges = found.len(),
            "purges that the bus lost, or gave a number that was no news here, are said again"
        );
        for purged in found.into_iter().take(MOST_AT_ONCE) {
            self.fleet.waiting.push_back(Order {
                wish: again_of(&purged),
                began: now,
                is_admitted: true,
                reply: None,
            });
        }
    }

    /// Purges were missed that the log has no more: everything may be stale, so everything is purged here.
    fn raise_floor(&mut self) {
        tracing::error!(
            "purges were missed while this sidecar was away longer than the bus keeps them: all that caches have is asked for once more"
        );
        let unix_ms = clock::unix_ms();
        self.last = super::next_sequence(self.last, unix_ms);
        self.ledger.raise_floor(self.last);
        self.publish();
        // A restart must not lower it.
        let everything = Purged {
            sequence: self.last,
            submitted_unix_ms: unix_ms,
            everything: true,
            ..Purged::default()
        };
        self.keep([&everything].into_iter());
    }
}

/// The same purge once more.
fn again_of(purged: &Purged) -> Wish {
    let purge = messages::purge(purged);
    Wish {
        id: String::new(),
        namespace: purged.namespace.clone(),
        selectors: purge.selectors,
        is_soft: purged.not_older_than_unix_ms > 0,
        over_ms: purged.over.as_ref().map_or(0, duration_ms),
        repeat_ms: 0,
        who: purged.who.clone(),
        why: purged.why.clone(),
        again_of: purged.mark,
    }
}

fn entry(purged: &Purged) -> Entry {
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

/// Whether a version can be: none that would use up the numbers of those to come.
fn is_believable(version: u64, unix_ms: u64) -> bool {
    let now = unix_ms.saturating_sub(EPOCH_UNIX_MS);
    // A clock that was not set yet says nothing.
    let most = if now == 0 {
        MAX_SEQUENCE / 2
    } else {
        now.saturating_add(MAX_AHEAD_MS)
    };
    version > 0 && version <= most.min(MAX_SEQUENCE)
}
