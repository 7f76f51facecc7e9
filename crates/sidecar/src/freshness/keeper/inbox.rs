//! What waits for the keeper: short purges apart from long ones.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::clock;
use crate::freshness::{PurgeError, Submitted, Wish};

/// Most purges that wait.
pub const MAX_WAITING: usize = 1_024;

/// Selectors up to which a purge is a short one.
const SHORT: usize = 64;

/// A purge on its way to the keeper.
#[derive(Debug)]
pub struct Order {
    pub(in crate::freshness) wish: Wish,
    pub(in crate::freshness) began: Instant,
    /// `None` of one that is purged again by itself.
    pub(in crate::freshness) reply: Option<oneshot::Sender<Result<Submitted, PurgeError>>>,
}

/// What waits for the keeper.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
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

    pub(in crate::freshness) fn keep_for(&self, life_ms: u64) {
        self.lock().life_ms = Some(life_ms);
        self.news.notify_one();
    }

    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.news.notify_one();
    }

    /// Waits until there is something to do, until `due` at most; all short purges and one long one.
    pub(super) fn take(&self, due: Instant) -> (Vec<Order>, Option<u64>, bool) {
        let mut waiting = self.lock();
        loop {
            let left = due.saturating_duration_since(clock::now());
            let is_quiet = waiting.short.is_empty() && waiting.long.is_empty();
            if !is_quiet || waiting.is_over || waiting.life_ms.is_some() || left.is_zero() {
                break;
            }
            let woken = self.news.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut orders: Vec<Order> = waiting.short.drain(..).collect();
        orders.extend(waiting.long.pop_front());
        let is_over = waiting.is_over && waiting.long.is_empty();
        (orders, waiting.life_ms.take(), is_over)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
