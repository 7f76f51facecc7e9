//! The keeper in a fleet: what is wanted here is appended to the log that all share, and what is heard of that log is put in
//! force, whoever wanted it.
//!
//! Whoever appends must have heard all that is before; who was overtaken hears that first, and tries again. So there is one
//! order, and one purge of each id.

pub(super) mod member;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use self::member::{Sent, entry};
use super::wishes::{readable, wish_of};
use super::{EPOCH_UNIX_MS, Keeper, MAX_PACED, MAX_SEQUENCE, MAX_WAITING, Order, Taken, tell};
use crate::clock;
use crate::freshness::records::Record;
use crate::freshness::shared::{Ask, News};
use crate::freshness::{PurgeError, Submitted, Wish};
use crate::wire::proto::Purged;
use crate::wire::purge::duration_ms;
use tradewind_engine::fleet::purges::{self as follower, Place};
use tradewind_engine::model::printable;

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

/// A purge of the log that is to be put in force.
struct Heard {
    purged: Purged,
    age_ms: u64,
    /// Of this sidecar, if it is.
    own: Option<Order>,
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
                    // Whoever asked may have gone.
                    let _gone = reply.send(self.fleet.follower.place());
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
        if self.fleet.follower.is_up_to_date() {
            self.freshness.catches_up();
            if std::mem::take(&mut self.fleet.is_unsure) {
                self.fleet.take_back(0);
            }
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
            let mut purge = readable(&purged);
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
        let is_kept = self.keep(purges.iter().map(|(purged, _)| purged));
        let mut records = self.freshness.records_mut();
        for (purged, in_force_after) in purges {
            let record = Record {
                purged,
                in_force_after,
            };
            records.add(record, is_kept);
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
    Wish {
        over_ms: purged.over.as_ref().map_or(0, duration_ms),
        again_of: purged.mark,
        ..wish_of(purged)
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
