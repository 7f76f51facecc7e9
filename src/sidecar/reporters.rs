//! Who reports: a small number for each, and a quota.
//!
//! A reporter is a peer's address and the name it gives itself, so that several proxies behind one address can be told
//! apart and one that floods does not use up what others may tell. The registry is bounded: 64 reporters have a seat, a
//! seat whose reporter was silent for ten minutes goes to the next newcomer, and whoever finds no seat shares the first
//! one. It is shared by all workers, and locked once for each message, not for each outcome.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::listen::socket::Peer;
use crate::engine::signal::observation::Reporter;

/// Reporters told apart.
pub const MAX_REPORTERS: usize = 64;

/// Silence after which a reporter's seat may be given away: longer than anything it told still counts.
const SILENCE: Duration = Duration::from_mins(10);

/// Parts of a token that are counted.
const PARTS: u64 = 1_000_000;

/// How much one reporter may tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Items a second; 50,000.
    pub per_second: u64,
    /// Items at once after a silence; 100,000.
    pub burst: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            per_second: 50_000,
            burst: 100_000,
        }
    }
}

/// What a reporter may tell now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Who it is.
    pub reporter: Reporter,
    /// How many of its items are taken.
    pub granted: usize,
}

/// The registry of reporters.
#[derive(Debug)]
pub struct Reporters {
    quota: Quota,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    /// Whoever has no seat of its own.
    others: Option<Bucket>,
    own: Vec<Seat>,
}

#[derive(Debug)]
struct Seat {
    peer: Peer,
    name: String,
    bucket: Bucket,
}

/// A token bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    parts: u64,
    filled: Instant,
}

impl Reporters {
    /// Nobody yet.
    pub fn new(quota: Quota) -> Self {
        Self {
            quota,
            seats: Mutex::default(),
        }
    }

    /// Asks for `wanted` items that cost `cost` tokens each; as many as the reporter's quota allows are granted.
    pub fn admit(
        &self,
        now: Instant,
        (peer, name): (Peer, &str),
        wanted: usize,
        cost: u64,
    ) -> Admission {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket::full(now, self.quota);
        let (number, bucket) = seats.find(now, (peer, name), full);
        Admission {
            reporter: Reporter(number),
            granted: bucket.take(now, self.quota, wanted, cost),
        }
    }
}

impl Seats {
    /// The reporter's number and bucket; 0 is shared by those without a seat.
    fn find(
        &mut self,
        now: Instant,
        (peer, name): (Peer, &str),
        full: Bucket,
    ) -> (u16, &mut Bucket) {
        let known = |seat: &Seat| seat.peer == peer && seat.name == name;
        let silent = |seat: &Seat| now.saturating_duration_since(seat.bucket.filled) >= SILENCE;
        let mut at = self.own.iter().position(known);
        if at.is_none() {
            let newcomer = Seat {
                peer,
                name: name.to_owned(),
                bucket: full,
            };
            if self.own.len() < MAX_REPORTERS {
                self.own.push(newcomer);
                at = self.own.len().checked_sub(1);
            } else {
                at = self.own.iter().position(silent);
                if let Some(seat) = at.and_then(|at| self.own.get_mut(at)) {
                    *seat = newcomer;
                }
            }
        }
        let number = at.map_or(0, |at| u16::try_from(at + 1).unwrap_or(0));
        match at.and_then(|at| self.own.get_mut(at)) {
            Some(seat) => (number, &mut seat.bucket),
            None => (0, self.others.get_or_insert(full)),
        }
    }
}

impl Bucket {
    fn full(now: Instant, quota: Quota) -> Self {
        Self {
            parts: quota.burst.saturating_mul(PARTS),
            filled: now,
        }
    }

    /// Fills up for the time that has passed and takes what there is for `wanted` items.
    fn take(&mut self, now: Instant, quota: Quota, wanted: usize, cost: u64) -> usize {
        let passed = now.saturating_duration_since(self.filled).as_micros();
        let passed_us = u64::try_from(passed).unwrap_or(u64::MAX);
        let most = quota.burst.saturating_mul(PARTS);
        let gained = passed_us.saturating_mul(quota.per_second);
        self.parts = self.parts.saturating_add(gained).min(most);
        self.filled = self.filled.max(now);
        let price = cost.max(1).saturating_mul(PARTS);
        let affordable = usize::try_from(self.parts / price).unwrap_or(usize::MAX);
        let granted = wanted.min(affordable);
        let paid = u64::try_from(granted).unwrap_or(u64::MAX);
        self.parts = self.parts.saturating_sub(paid.saturating_mul(price));
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::*;

    const QUOTA: Quota = Quota {
        per_second: 10,
        burst: 100,
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_reporter_may_tell_its_burst_and_then_its_rate() {
        let reporters = Reporters::new(QUOTA);
        let start = clock::now();
        let ask = |after, wanted, cost| {
            let admission = reporters.admit(start + after, (Peer::Unix, "a"), wanted, cost);
            admission.granted
        };
        assert_eq!(ask(seconds(0), 70, 1), 70);
        assert_eq!(ask(seconds(0), 70, 1), 30);
        assert_eq!(ask(Duration::from_millis(150), 70, 1), 1);
        assert_eq!(ask(Duration::from_millis(200), 70, 1), 1, "halves add up");
        assert_eq!(ask(seconds(2), 3, 10), 1, "items may cost more");
        assert_eq!(ask(seconds(1_000), 200, 1), 100);
        assert_eq!(ask(seconds(0), 200, 1), 0, "an earlier time gives nothing");
    }

    #[test]
    fn one_that_floods_leaves_others_their_quota() {
        let reporters = Reporters::new(QUOTA);
        let now = clock::now();
        let first = reporters.admit(now, (Peer::Unix, "a"), 1_000, 1);
        let second = reporters.admit(now, (Peer::Unix, "b"), 1_000, 1);
        let elsewhere = Peer::Ip([127, 0, 0, 1].into());
        let third = reporters.admit(now, (elsewhere, "b"), 1_000, 1);
        let numbers = [first, second, third].map(|a| a.reporter.0);
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!([first, second, third].map(|a| a.granted), [100; 3]);
    }

    #[test]
    fn those_without_a_seat_share_one_until_somebody_is_silent_for_long() {
        let reporters = Reporters::new(QUOTA);
        let now = clock::now();
        let ask = |after, name: usize| {
            let name = name.to_string();
            reporters.admit(now + after, (Peer::Unix, name.as_str()), 60, 1)
        };
        for name in 1..=MAX_REPORTERS {
            assert_eq!(usize::from(ask(seconds(0), name).reporter.0), name);
        }
        assert_eq!(
            (ask(seconds(0), 65).reporter, ask(seconds(0), 65).granted),
            (Reporter(0), 40)
        );
        assert_eq!(ask(seconds(0), 66).granted, 0);
        for name in (1..=MAX_REPORTERS).filter(|name| *name != 5) {
            ask(seconds(300), name);
        }
        assert_eq!(ask(seconds(700), 66).reporter, Reporter(5));
        assert_eq!(ask(seconds(700), 67).reporter, Reporter(0));
    }
}
