//! What waits for the keeper: short purges apart from long ones, and what the bus of a fleet tells.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::clock;
use crate::freshness::shared::News;
use crate::freshness::{PurgeError, Submitted, Wish};

/// Most purges that wait.
pub const MAX_WAITING: usize = 1_024;

/// News of the bus that may wait before it is asked to wait itself.
const MAX_NEWS: usize = 4_096;

/// Selectors up to which a purge is a short one.
const SHORT: usize = 64;

/// A purge on its way to the keeper.
#[derive(Debug)]
pub struct Order {
    pub(in crate::freshness) wish: Wish,
    pub(in crate::freshness) began: Instant,
    /// Whether its namespace's quota has let it pass.
    pub(in crate::freshness) is_admitted: bool,
    /// `None` of one that is purged again by itself.
    pub(in crate::freshness) reply: Option<oneshot::Sender<Result<Submitted, PurgeError>>>,
}

/// What waits for the keeper.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

/// What there is to do.
#[derive(Debug, Default)]
pub(super) struct Todo {
    /// All short purges and one long one.
    pub(super) orders: Vec<Order>,
    /// What the bus told.
    pub(super) news: Vec<News>,
    pub(super) life_ms: Option<u64>,
    pub(super) is_over: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    news: VecDeque<News>,
    short: VecDeque<Order>,
    long: VecDeque<Order>,
    life_ms: Option<u64>,
    is_over: bool,
}

impl Inbox {
    pub(in crate::freshness) fn put(&self, order: Order) -> Result<(), PurgeError> {
        let mut waiting = self.lock();
        if waiting.is_over {
            return Err(PurgeError::Ended);
        }
        if waiting.short.len() + waiting.long.len() >= MAX_WAITING {
            return Err(PurgeError::Busy);
        }
        if order.wish.selectors.len() <= SHORT {
            waiting.short.push_back(order);
        } else {
            waiting.long.push_back(order);
        }
        self.news.notify_one();
        Ok(())
    }

    /// Takes news, which come in an order that counts.
    pub(in crate::freshness) fn hear(&self, news: News) {
        self.lock().news.push_back(news);
        self.news.notify_one();
    }

    /// Whether more news can be taken.
    pub(in crate::freshness) fn has_room(&self) -> bool {
        self.lock().news.len() < MAX_NEWS
    }

    pub(in crate::freshness) fn keep_for(&self, life_ms: u64) {
        self.lock().life_ms = Some(life_ms);
        self.news.notify_one();
    }

    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.news.notify_one();
    }

    /// Waits until there is something to do, until `due` at most.
    pub(super) fn take(&self, due: Instant) -> Todo {
        let mut waiting = self.lock();
        loop {
            let left = due.saturating_duration_since(clock::now());
            let is_quiet =
                waiting.short.is_empty() && waiting.long.is_empty() && waiting.news.is_empty();
            if !is_quiet || waiting.is_over || waiting.life_ms.is_some() || left.is_zero() {
                break;
            }
            let woken = self.news.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut orders: Vec<Order> = waiting.short.drain(..).collect();
        orders.extend(waiting.long.pop_front());
        Todo {
            orders,
            news: waiting.news.drain(..).collect(),
            life_ms: waiting.life_ms.take(),
            is_over: waiting.is_over && waiting.long.is_empty(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
