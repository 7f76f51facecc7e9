//! The thread that purges: sequence, log, ledger, answer, in this order.
//!
//! What waits is taken together and synced once. Short purges go first, and one long one at a time: a million URLs do not keep
//! one waiting.

mod inbox;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::log::{self, PurgeLog};
use super::quota::Quotas;
use super::records::Record;
use super::{Freshness, PurgeError, Submitted, Wish};
use crate::clock;
use crate::wire::proto::Purged;
use crate::wire::purge::{self as messages, duration, duration_ms};
pub use inbox::{Inbox, MAX_WAITING, Order};
use tradewind_engine::freshness::purge::{MAX_PACED, Purge};
use tradewind_engine::freshness::{Bounds, Ledger};
use tradewind_engine::time::Moment;

/// How long ids are remembered.
const IDS_FOR: Duration = Duration::from_mins(10);

/// Most ids that are remembered.
const MAX_IDS: usize = 65_536;

/// How often what is too old is looked for.
const FORGET_EVERY: Duration = Duration::from_mins(10);

/// Before a policy says how long caches keep what they have, nothing is forgotten that any policy could ask for.
const LONGEST_LIFE_MS: u64 = (90 * 24 * 60 + 10) * 60_000;

/// What sequences count from: 2025 began then, in ms of Unix time.
const EPOCH_UNIX_MS: u64 = 1_735_689_600_000;

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
    ledger: Ledger,
    began: Instant,
    last: u64,
    life_ms: u64,
    /// What was purged under an id lately, and when.
    ids: HashMap<String, (Submitted, Instant)>,
    quotas: Quotas,
    /// Purges to be purged again.
    repeats: Vec<(Instant, Wish)>,
    forget_at: Instant,
}

/// Lets the purges of an earlier run be in force, which are in a log in `state_dir`, and takes purges from now on.
///
/// # Errors
///
/// A thread that cannot be started.
pub fn start(freshness: &Arc<Freshness>, state_dir: Option<&Path>) -> io::Result<Running> {
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
        ledger: Ledger::new(bounds),
        began: now,
        last: 0,
        life_ms: LONGEST_LIFE_MS,
        ids: HashMap::new(),
        quotas: Quotas::default(),
        repeats: Vec::new(),
        forget_at: now + FORGET_EVERY,
    };
    if let Some(dir) = state_dir {
        keeper.resume(dir);
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
    /// Takes in the purges of an earlier run. Where they can be read and not added to, they are in force all the same.
    fn resume(&mut self, dir: &Path) {
        let path = log::path_in(dir);
        let mut purges = Vec::new();
        match PurgeLog::open(dir, |purged| purges.push(purged)) {
            Ok((log, found)) => {
                self.log = Some(log);
                if found.cut_bytes > 0 {
                    tracing::warn!(path = %path.display(), bytes = found.cut_bytes, "the log of purges ended within one, which was cut off: nobody was told that it is in force");
                }
            }
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the log of purges cannot be added to: purges are in force until this process ends");
                purges.clear();
                if path.exists()
                    && let Err(error) = log::read(&path, |purged| purges.push(purged))
                {
                    tracing::error!(path = %path.display(), %error, "purges of an earlier run cannot be read: what they covered may be served again");
                }
            }
        }
        let (now, unix_ms, count) = (self.now(), clock::unix_ms(), purges.len());
        let freshness = Arc::clone(&self.freshness);
        let mut records = freshness.records_mut();
        records.log = self.log.as_ref().map(|it| it.path().to_owned());
        for purged in purges {
            let age_ms = unix_ms.saturating_sub(purged.submitted_unix_ms);
            self.ledger.apply(now, age_ms, &messages::purge(&purged));
            self.last = self.last.max(purged.sequence);
            self.remember_repeat(&purged, age_ms);
            records.push(Record {
                purged,
                in_force_after: None,
            });
        }
        drop(records);
        if count > 0 {
            self.publish();
            tracing::info!(
                purges = count,
                entries = self.ledger.len(),
                "purges of an earlier run are in force"
            );
        }
        self.show();
    }

    fn remember_repeat(&mut self, purged: &Purged, age_ms: u64) {
        let Some(after_ms) = purged.repeat_after.as_ref().map(duration_ms) else {
            return;
        };
        let purge = messages::purge(purged);
        let wish = Wish {
            id: String::new(),
            namespace: purged.namespace.clone(),
            selectors: purge.selectors,
            is_soft: purged.not_older_than_unix_ms > 0,
            over_ms: 0,
            repeat_ms: 0,
            who: purged.who.clone(),
            why: purged.why.clone(),
        };
        // What was due while nobody ran is purged once more than it need be, at worst.
        let left_ms = after_ms.saturating_sub(age_ms);
        if age_ms < after_ms + LATE_MS {
            let due = clock::now() + Duration::from_millis(left_ms);
            self.repeats.push((due, wish));
        }
    }

    fn run(mut self) {
        loop {
            let (orders, life_ms, is_over) = self.inbox.take(self.due());
            if let Some(life_ms) = life_ms {
                self.life_ms = life_ms;
                self.ledger.keep_for(life_ms);
            }
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
        let slice = slice.map(|at| self.began + Duration::from_millis(at.0));
        let repeats = self.repeats.iter().map(|(due, _)| *due);
        let soonest = repeats.chain(slice).min();
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
            reply: None,
        });
        self.do_all(again.collect());
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
            self.ids
                .retain(|_, (_, at)| now.saturating_duration_since(*at) < IDS_FOR);
            self.shorten_log();
        }
    }

    /// Purges all that is wanted, with one write to the disk.
    fn do_all(&mut self, orders: Vec<Order>) {
        let mut taken: Vec<(Order, Purged)> = Vec::new();
        let mut twins = Vec::new();
        for order in orders {
            match self.take_in(&order, &taken) {
                Taken::New(purged) => taken.push((order, purged)),
                Taken::Twin => twins.push(order),
                Taken::Answered(answer) => tell(order, answer),
            }
        }
        if !taken.is_empty() {
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
            let done = self.ledger.apply(self.now(), 0, &purge);
            if done.is_replaced || !self.is_published() {
                self.publish();
            }
            let in_force_after = clock::now().saturating_duration_since(order.began);
            self.count(&done);
            self.count_purge(&purged, in_force_after);
            self.remember_repeat(&purged, 0);
            let submitted = Submitted {
                sequence,
                is_kept,
                is_repeated: false,
                widened: done.widened,
                in_force_after,
            };
            if !order.wish.id.is_empty() && self.ids.len() < MAX_IDS {
                let known = (submitted.clone(), clock::now());
                self.ids.insert(order.wish.id.clone(), known);
            }
            let mut records = self.freshness.records_mut();
            records.push(Record {
                purged,
                in_force_after: Some(in_force_after),
            });
            drop(records);
            self.freshness.head.send_replace(sequence);
            tell(order, Ok(submitted));
        }
        self.show();
    }

    /// What an order comes to.
    fn take_in(&mut self, order: &Order, taken: &[(Order, Purged)]) -> Taken {
        let wish = &order.wish;
        let known = self.ids.get(&wish.id);
        let is_recent = |at: &Instant| clock::now().saturating_duration_since(*at) < IDS_FOR;
        if let Some((known, _)) = known.filter(|(_, at)| is_recent(at)) {
            return Taken::Answered(Ok(Submitted {
                is_repeated: true,
                ..known.clone()
            }));
        }
        let is_twin = |it: &(Order, Purged)| !wish.id.is_empty() && it.0.wish.id == wish.id;
        if taken.iter().any(is_twin) {
            return Taken::Twin;
        }
        let of_others = taken.iter().filter(|it| it.0.wish.over_ms > 0);
        let of_others = of_others.map(|it| it.0.wish.selectors.len());
        let paced = self.ledger.paced() + of_others.sum::<usize>();
        if wish.over_ms > 0 && paced + wish.selectors.len() > MAX_PACED {
            return Taken::Answered(Err(PurgeError::Pacing { paced }));
        }
        if order.reply.is_some() {
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
        self.last = unix_ms.saturating_sub(EPOCH_UNIX_MS).max(self.last + 1);
        Taken::New(Purged {
            sequence: self.last,
            id: wish.id.clone(),
            namespace: wish.namespace.clone(),
            selectors: wish
                .selectors
                .iter()
                .map(messages::selector_message)
                .collect(),
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
        })
    }

    /// Writes purges to the log; whether they are there. What cannot be written is in force all the same.
    fn keep<'a>(&mut self, purges: impl Iterator<Item = &'a Purged> + Clone) -> bool {
        let Some(log) = &mut self.log else {
            return false;
        };
        match log.append(purges.clone()) {
            Ok(()) => true,
            Err(error) => {
                let count = purges.count() as u64;
                self.freshness
                    .counters
                    .unkept
                    .fetch_add(count, Ordering::Relaxed);
                let path = log.path().display();
                tracing::error!(%path, %error, purges = count, "purges cannot be written to the log: they are in force until this process ends");
                false
            }
        }
    }

    /// Drops from the log what no cache can have anything older than.
    fn shorten_log(&mut self) {
        let old_unix_ms = clock::unix_ms().saturating_sub(self.life_ms);
        let oldest = self.freshness.records(|it| it.oldest);
        let old = old_unix_ms.saturating_sub(EPOCH_UNIX_MS);
        let Some(log) = self.log.as_mut().filter(|_| oldest > 0 && oldest < old) else {
            return;
        };
        match log.forget_before(old) {
            Ok(bytes) => {
                tracing::info!(
                    bytes,
                    "purges left the log that no cache can have anything older than"
                );
                let mut records = self.freshness.records_mut();
                records.oldest = old.min(records.first_held());
            }
            Err(error) => {
                let path = log.path().display();
                tracing::warn!(%path, %error, "the log of purges cannot be written anew, it stays as it is");
            }
        }
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

    fn count_purge(&self, purged: &Purged, in_force_after: Duration) {
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
        let ns = u64::try_from(in_force_after.as_nanos()).unwrap_or(u64::MAX);
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
        self.freshness.head.send_if_modified(|head| {
            let is_news = *head != self.last;
            *head = self.last;
            is_news
        });
    }

    /// On the ledger's clock.
    fn now(&self) -> Moment {
        let since = clock::now().saturating_duration_since(self.began);
        Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What an order comes to.
enum Taken {
    /// A purge.
    New(Purged),
    /// The same id is another's of this very turn.
    Twin,
    /// What was purged before, or a refusal.
    Answered(Result<Submitted, PurgeError>),
}

/// How late a purge that was to be purged again may come after a restart.
const LATE_MS: u64 = 600_000;

/// What a soft purge asks for is later than its call by this: what an origin answered just before, a cache may have stored with
/// a date of its own clock just after.
const SOFT_MARGIN_MS: u64 = 2_000;

fn tell(order: Order, answer: Result<Submitted, PurgeError>) {
    if let Some(reply) = order.reply {
        // Whoever asked may have gone.
        drop(reply.send(answer));
    }
}
