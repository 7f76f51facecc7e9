//! The thread that purges: sequence, log, ledger, answer, in this order.
//!
//! In a fleet it is the bus that keeps them in order, and what is heard of it is put in force (`fleet`).
//!
//! What waits is taken together and synced once. Short purges go first, and one long one at a time: a million URLs do not keep
//! one waiting.

mod fleet;
mod inbox;
mod known;
mod resume;
mod wishes;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::log::PurgeLog;
use super::quota::Quotas;
use super::records::{EPOCH_UNIX_MS, Record};
use super::shared::Shared;
use super::{Freshness, PurgeError, Submitted, Wish};
use crate::clock;
use crate::wire::proto::Purged;
use crate::wire::purge::{self as messages, duration};
use fleet::member::Member;
use inbox::Todo;
pub use inbox::{Inbox, MAX_WAITING, Order};
use known::Known;
use tradewind_engine::freshness::purge::{MAX_PACED, Purge};
use tradewind_engine::freshness::{Bounds, Ledger, MAX_SEQUENCE};
use tradewind_engine::time::Moment;
use wishes::messages_of;

/// How long ids are remembered.
const IDS_FOR: Duration = Duration::from_mins(10);

/// Most ids that are remembered.
const MAX_IDS: usize = 65_536;

/// Most purges that wait to be purged again.
pub const MAX_REPEATS: usize = 64;

/// How often what is too old is looked for.
const FORGET_EVERY: Duration = Duration::from_mins(10);

/// Before a policy says how long caches keep what they have, nothing is forgotten that any policy could ask for.
const LONGEST_LIFE_MS: u64 = (90 * 24 * 60 + 10) * 60_000;

/// The keeper, running.
#[derive(Debug)]
pub struct Running {
    inbox: Arc<Inbox>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Lets it do what waits, and waits for that.
    pub fn stop(self) {
        self.inbox.end();
        // It panics only where a test would have failed; there is nothing to be done about it here.
        drop(self.thread.join());
    }
}

struct Keeper {
    freshness: Arc<Freshness>,
    inbox: Arc<Inbox>,
    log: Option<PurgeLog>,
    /// Whether there is to be a log.
    is_to_be_kept: bool,
    ledger: Ledger,
    /// When this began, by the clock that only goes on and by the one on the wall.
    began: (Instant, u64),
    last: u64,
    life_ms: u64,
    /// What was purged lately, by namespace and id.
    ids: HashMap<(String, String), Known>,
    quotas: Quotas,
    /// Purges to be purged again.
    repeats: Vec<(Instant, Wish)>,
    forget_at: Instant,
    /// Its place in a fleet, if it has one.
    fleet: Member,
}

/// Lets the purges of an earlier run be in force, which are in a log in `state_dir`, and takes purges from now on. In a fleet
/// `shared` is the way to its bus.
///
/// # Errors
///
/// A thread that cannot be started.
pub fn start(
    freshness: &Arc<Freshness>,
    state_dir: Option<&Path>,
    shared: Option<Shared>,
) -> io::Result<Running> {
    let now = clock::now();
    let bounds = Bounds {
        life_ms: LONGEST_LIFE_MS,
        ..Bounds::default()
    };
    let inbox = Arc::new(Inbox::default());
    let mut keeper = Keeper {
        freshness: Arc::clone(freshness),
        inbox: Arc::clone(&inbox),
        log: None,
        is_to_be_kept: state_dir.is_some(),
        ledger: Ledger::new(bounds),
        began: (now, clock::unix_ms()),
        last: 0,
        life_ms: LONGEST_LIFE_MS,
        ids: HashMap::new(),
        quotas: Quotas::default(),
        repeats: Vec::new(),
        forget_at: now + FORGET_EVERY,
        fleet: Member::new(shared),
    };
    if let Some(dir) = state_dir {
        keeper.resume(dir);
    }
    // What a policy said before there was anybody to hear it.
    match freshness.life_ms.load(Ordering::Relaxed) {
        0 => {}
        life_ms => keeper.keep_for(life_ms),
    }
    *freshness
        .inbox
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&inbox));
    let named = thread::Builder::new().name("tradewind-purge".to_owned());
    let thread = named.spawn(move || keeper.run())?;
    Ok(Running { inbox, thread })
}

impl Keeper {
    fn keep_for(&mut self, life_ms: u64) {
        self.life_ms = life_ms;
        self.ledger.keep_for(life_ms);
    }

    fn run(mut self) {
        loop {
            let Todo {
                orders,
                news,
                life_ms,
                is_over,
            } = self.inbox.take(self.due());
            if let Some(life_ms) = life_ms {
                self.keep_for(life_ms);
            }
            self.hear_all(news);
            self.do_all(orders);
            self.do_due();
            if is_over {
                return;
            }
        }
    }

    /// When there is something to do next, if nobody wants anything.
    fn due(&self) -> Instant {
        let slice = self.ledger.next_slice();
        let slice = slice.map(|at| self.began.0 + Duration::from_millis(at.0));
        let repeats = self.repeats.iter().map(|(due, _)| *due);
        let soonest = repeats.chain(slice).chain(self.fleet.due()).min();
        soonest.map_or(self.forget_at, |it| it.min(self.forget_at))
    }

    fn do_due(&mut self) {
        let now = clock::now();
        let repeats = std::mem::take(&mut self.repeats);
        let (due, later): (Vec<_>, Vec<_>) = repeats.into_iter().partition(|(at, _)| *at <= now);
        self.repeats = later;
        let again = due.into_iter().map(|(began, wish)| Order {
            wish,
            began,
            is_admitted: true,
            reply: None,
        });
        self.do_all(again.collect());
        self.append_waiting();
        let is_slice_due = self.ledger.next_slice().is_some_and(|at| at <= self.now());
        if is_slice_due || now >= self.forget_at {
            let done = self.ledger.tick(self.now());
            self.count(&done);
            if done.is_replaced {
                self.publish();
            }
            self.show();
        }
        if now >= self.forget_at {
            self.forget_at = now + FORGET_EVERY;
            self.forget_ids(now);
            self.shorten_log();
        }
    }

    /// Purges all that is wanted, with one write to the disk.
    fn do_all(&mut self, orders: Vec<Order>) {
        if self.fleet.is_shared() {
            return self.share(orders);
        }
        let mut last = self.last;
        let mut taken: Vec<(Order, Purged)> = Vec::new();
        let mut twins = Vec::new();
        for order in orders {
            match self.take_in(&order, &taken, &mut last) {
                Taken::New(purged) => taken.push((order, *purged)),
                Taken::Twin => twins.push(order),
                Taken::Answered(answer) => tell(order, answer),
            }
        }
        if !taken.is_empty() {
            self.last = last;
            self.put_in_force(taken);
        }
        // What they wait for is known by now, or is one fewer.
        if !twins.is_empty() {
            self.do_all(twins);
        }
    }

    fn put_in_force(&mut self, taken: Vec<(Order, Purged)>) {
        let is_kept = self.keep(taken.iter().map(|(_, purged)| purged));
        for (mut order, purged) in taken {
            let sequence = purged.sequence;
            let purge = Purge {
                sequence,
                namespace: purged.namespace.as_str().into(),
                selectors: std::mem::take(&mut order.wish.selectors),
                kind: messages::kind(&purged),
                over_ms: order.wish.over_ms,
            };
            let (widened, in_force_after) = self.bring_in((&purged, &purge), 0, Some(order.began));
            let submitted = Submitted {
                sequence,
                is_kept,
                is_repeated: false,
                widened,
                in_force_after,
            };
            self.remember_id(&submitted, &purged, 0);
            let mut records = self.freshness.records_mut();
            let record = Record {
                purged,
                in_force_after: Some(in_force_after),
            };
            records.add(record, is_kept);
            drop(records);
            self.freshness.head.send_replace(sequence);
            tell(order, Ok(submitted));
        }
        self.show();
    }

    /// Puts a purge in force that was made `age_ms` ago; what became wider by it, and how long that took since `began`.
    fn bring_in(
        &mut self,
        (purged, purge): (&Purged, &Purge),
        age_ms: u64,
        began: Option<Instant>,
    ) -> (Vec<String>, Duration) {
        let done = self.ledger.apply(self.now(), age_ms, purge);
        if done.is_replaced || !self.is_published() {
            self.publish();
        }
        let took = began.map(|began| clock::now().saturating_duration_since(began));
        self.count(&done);
        self.count_purge(purged, took);
        self.remember_repeat(purged, age_ms);
        (done.widened, took.unwrap_or_default())
    }

    fn remember_id(&mut self, submitted: &Submitted, purged: &Purged, age_ms: u64) {
        let Some(known) = Known::of(submitted, purged, age_ms) else {
            return;
        };
        if self.ids.len() >= MAX_IDS {
            self.forget_ids(clock::now());
        }
        if self.ids.len() < MAX_IDS {
            let name = (purged.namespace.clone(), purged.id.clone());
            self.ids.insert(name, known);
        }
    }

    /// What an order comes to; `last` is the last sequence, and becomes that of the purge.
    fn take_in(&mut self, order: &Order, taken: &[(Order, Purged)], last: &mut u64) -> Taken {
        let wish = &order.wish;
        let name = (wish.namespace.clone(), wish.id.clone());
        let known = self.ids.get(&name).filter(|it| it.is_of_late(clock::now()));
        if let Some(known) = known {
            return Taken::Answered(known.again(wish));
        }
        let is_twin = |it: &(Order, Purged)| {
            let other = &it.0.wish;
            !wish.id.is_empty() && (&other.namespace, &other.id) == (&wish.namespace, &wish.id)
        };
        if taken.iter().any(is_twin) {
            return Taken::Twin;
        }
        let of_others = taken.iter().filter(|it| it.0.wish.over_ms > 0);
        let of_others = of_others.map(|it| it.0.wish.selectors.len());
        let paced = self.ledger.paced() + of_others.sum::<usize>();
        if wish.over_ms > 0 && paced + wish.selectors.len() > MAX_PACED {
            return Taken::Answered(Err(PurgeError::Pacing { paced }));
        }
        if wish.repeat_ms > 0 && self.repeats.len() + taken.len() >= MAX_REPEATS {
            return Taken::Answered(Err(PurgeError::Repeating));
        }
        if !order.is_admitted {
            let now_ms = self.now().0;
            let admitted = self
                .quotas
                .admit(&wish.namespace, wish.selectors.len(), now_ms);
            if let Err(retry_ms) = admitted {
                return Taken::Answered(Err(PurgeError::OverQuota {
                    namespace: wish.namespace.clone(),
                    retry_ms,
                }));
            }
        }
        let unix_ms = clock::unix_ms();
        *last = next_sequence(*last, unix_ms);
        Taken::New(Box::new(Purged {
            sequence: *last,
            id: wish.id.clone(),
            namespace: wish.namespace.clone(),
            selectors: messages_of(wish),
            not_older_than_unix_ms: if wish.is_soft {
                unix_ms + SOFT_MARGIN_MS
            } else {
                0
            },
            over: (wish.over_ms > 0).then(|| duration(wish.over_ms)),
            who: wish.who.clone(),
            why: wish.why.clone(),
            submitted_unix_ms: unix_ms,
            repeat_after: (wish.repeat_ms > 0).then(|| duration(wish.repeat_ms)),
            again_of: wish.again_of,
            member: self.fleet.name().to_owned(),
            ..Purged::default()
        }))
    }

    /// Writes purges to the log; whether they are there. What cannot be written is in force all the same.
    fn keep<'a>(&mut self, purges: impl Iterator<Item = &'a Purged> + Clone) -> bool {
        let count = purges.clone().count() as u64;
        let unkept = &self.freshness.counters.unkept;
        let Some(log) = &mut self.log else {
            if self.is_to_be_kept {
                unkept.fetch_add(count, Ordering::Relaxed);
            }
            return false;
        };
        match log.append(purges) {
            Ok(()) => true,
            Err(error) => {
                unkept.fetch_add(count, Ordering::Relaxed);
                let path = log.path().display();
                tracing::error!(%path, %error, purges = count, "purges cannot be written to the log: they are in force until this process ends");
                false
            }
        }
    }

    fn forget_ids(&mut self, now: Instant) {
        self.ids.retain(|_, known| known.is_of_late(now));
    }

    /// Drops from the log what no cache can have anything older than, once that is an eighth of a life and more: all of it is
    /// written anew for that. Time goes as it did since this began, whatever the clock on the wall is set to meanwhile.
    fn shorten_log(&mut self) {
        let unix_ms = self.began.1.saturating_add(self.now().0);
        let old_unix_ms = unix_ms.saturating_sub(self.life_ms);
        let old = old_unix_ms.saturating_sub(EPOCH_UNIX_MS);
        let is_due = |log: &PurgeLog| log.first() > 0 && log.first() + self.life_ms / 8 < old;
        let Some(log) = self.log.as_mut().filter(|log| is_due(log)) else {
            return;
        };
        match log.forget_before(old) {
            Ok(bytes) => {
                let words = "purges left the log that no cache can have anything older than";
                tracing::info!(bytes, "{words}");
            }
            Err(error) => {
                let path = log.path().display();
                tracing::warn!(%path, %error, "the log of purges could not be written anew");
            }
        }
        self.freshness.records_mut().oldest = log.first();
    }

    fn is_published(&self) -> bool {
        let published = self.freshness.versions.load();
        published
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(it, self.ledger.versions()))
    }

    fn publish(&self) {
        let versions = Arc::clone(self.ledger.versions());
        self.freshness.versions.store(Some(versions));
    }

    fn count(&self, done: &tradewind_engine::freshness::ledger::Done) {
        let counters = &self.freshness.counters;
        let of = |count: usize| count as u64;
        counters
            .widened
            .fetch_add(of(done.widened_entries), Ordering::Relaxed);
        counters
            .forgotten
            .fetch_add(of(done.forgotten), Ordering::Relaxed);
        if done.widened_entries > 0 {
            tracing::warn!(entries = done.widened_entries, to = ?done.widened, "too many objects are purged: entries were made wider");
        }
    }

    fn count_purge(&self, purged: &Purged, in_force_after: Option<Duration>) {
        let counters = &self.freshness.counters;
        let is_soft = purged.not_older_than_unix_ms > 0;
        let kind = if is_soft {
            &counters.soft
        } else {
            &counters.hard
        };
        kind.fetch_add(1, Ordering::Relaxed);
        counters
            .selectors
            .fetch_add(purged.selectors.len() as u64, Ordering::Relaxed);
        // Of others it is not known when they were called for: their clocks are theirs.
        let ns = in_force_after.map_or(0, |it| it.as_nanos());
        let ns = u64::try_from(ns).unwrap_or(u64::MAX);
        counters.in_force_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Shows how things are.
    fn show(&self) {
        let counters = &self.freshness.counters;
        counters
            .entries
            .store(self.ledger.len() as u64, Ordering::Relaxed);
        let memory = self.ledger.versions().memory_bytes() as u64;
        counters.memory_bytes.store(memory, Ordering::Relaxed);
        let mut records = self.freshness.records_mut();
        records.max_entries = self.ledger.bounds().entries;
        records.paced = self.ledger.pacing().collect();
        drop(records);
        let place = self.fleet.place();
        counters.place.store(place, Ordering::Relaxed);
        self.freshness.head.send_if_modified(|head| {
            let is_news = *head != self.last;
            *head = self.last;
            is_news
        });
    }

    /// On the ledger's clock.
    fn now(&self) -> Moment {
        let since = clock::now().saturating_duration_since(self.began.0);
        Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The sequence after `last`, at a time of the clock on the wall: milliseconds since 2025, unless that is no later or too late to
/// be a time.
fn next_sequence(last: u64, unix_ms: u64) -> u64 {
    let by_clock = unix_ms.saturating_sub(EPOCH_UNIX_MS);
    if by_clock > MAX_SEQUENCE / 2 {
        return last + 1;
    }
    by_clock.max(last + 1)
}

/// What an order comes to.
enum Taken {
    /// A purge.
    New(Box<Purged>),
    /// The same id is another's of this very turn.
    Twin,
    /// What was purged before, or a refusal.
    Answered(Result<Submitted, PurgeError>),
}

/// What a soft purge asks for is later than its call by this: what an origin answered just before, a cache may have stored with
/// a date of its own clock just after.
const SOFT_MARGIN_MS: u64 = 2_000;

fn tell(order: Order, answer: Result<Submitted, PurgeError>) {
    if let Some(reply) = order.reply {
        // Whoever asked may have gone.
        drop(reply.send(answer));
    }
}
