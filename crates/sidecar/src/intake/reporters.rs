//! Who reports: a small number for each, and a quota.
//!
//! A reporter is a peer: whoever has an address, or runs as a user where it comes by a Unix socket. The name that a message
//! gives tells nothing, for whoever wants seven voices would give seven names. Only peers that the operator trusts are as
//! many as they give names: several proxies behind one address, or one that hands on what others told it.
//!
//! The registry is bounded: 64 reporters have a seat, a seat whose reporter was silent for ten minutes goes to the next
//! newcomer, and whoever finds no seat shares the first one. It is shared by all workers, and locked once for each
//! message, not for each outcome.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::identity::Caller;
use crate::identity::Peers;
use crate::identity::reporter::Identity;
use tradewind_engine::signal::observation::Reporter;

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
pub struct Grant {
    /// Who it is.
    pub reporter: Reporter,
    /// Whether the operator trusts it.
    pub is_trusted: bool,
    /// How many of its items are taken.
    pub granted: usize,
}

/// The registry of reporters.
#[derive(Debug)]
pub struct Reporters {
    quota: Quota,
    trusted: Vec<Peers>,
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
    identity: Identity,
    bucket: Bucket,
}

/// A token bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    parts: u64,
    filled: Instant,
}

impl Reporters {
    /// Nobody yet. Peers of `trusted` are as many reporters as they give names.
    pub fn new(quota: Quota, trusted: Vec<Peers>) -> Self {
        Self {
            quota,
            trusted,
            seats: Mutex::default(),
        }
    }

    /// Asks for `wanted` items that cost `cost` tokens each; as many as the reporter's quota allows are granted.
    pub fn admit(
        &self,
        now: Instant,
        (caller, name): (&Caller, &str),
        wanted: usize,
        cost: u64,
    ) -> Grant {
        let identity = Identity::of(caller, name, &self.trusted);
        let is_trusted = identity.is_trusted;
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket::full(now, self.quota);
        let (number, bucket) = seats.find(now, identity, full);
        Grant {
            reporter: Reporter(number),
            is_trusted,
            granted: bucket.take(now, self.quota, wanted, cost),
        }
    }

    /// Who has a seat, by number from 1.
    pub fn seated(&self) -> Vec<Identity> {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.own.iter().map(|seat| seat.identity.clone()).collect()
    }
}

impl Seats {
    /// The reporter's number and bucket; 0 is shared by those without a seat.
    fn find(&mut self, now: Instant, identity: Identity, full: Bucket) -> (u16, &mut Bucket) {
        let known = |seat: &Seat| seat.identity == identity;
        let silent = |seat: &Seat| now.saturating_duration_since(seat.bucket.filled) >= SILENCE;
        let mut at = self.own.iter().position(known);
        if at.is_none() {
            let newcomer = Seat {
                identity,
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
    use super::*;
    use crate::clock;
    use crate::identity::Peer;

    const QUOTA: Quota = Quota {
        per_second: 10,
        burst: 100,
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ip(text: &str) -> Caller {
        Caller::from(Peer::Ip(text.parse().unwrap()))
    }

    fn user(uid: u32) -> Caller {
        Caller::from(Peer::Unix(Some(uid)))
    }

    fn reporters(trusted: &[&str]) -> Reporters {
        let trusted = trusted.iter().map(|text| text.parse().unwrap());
        Reporters::new(QUOTA, trusted.collect())
    }

    #[test]
    fn a_reporter_may_tell_its_burst_and_then_its_rate() {
        let reporters = reporters(&[]);
        let start = clock::now();
        let ask = |after, wanted, cost| {
            let anybody = Caller::from(Peer::Unix(None));
            let grant = reporters.admit(start + after, (&anybody, "a"), wanted, cost);
            grant.granted
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
        let reporters = reporters(&[]);
        let now = clock::now();
        let callers = [user(1), user(2), ip("127.0.0.1")];
        let admitted = callers.map(|caller| reporters.admit(now, (&caller, ""), 1_000, 1));
        assert_eq!(admitted.map(|a| a.reporter.0), [1, 2, 3]);
        assert_eq!(admitted.map(|a| a.granted), [100; 3]);
    }

    /// One process was as many reporters as it had names, and more than half of them made a verdict.
    #[test]
    fn a_name_makes_no_voice_unless_the_peer_is_trusted() {
        let reporters = reporters(&["uid:7", "10.0.0.0/8", "2001:db8::1"]);
        let now = clock::now();
        let who = |caller: Caller, name| {
            let grant = reporters.admit(now, (&caller, name), 1, 1);
            (grant.reporter.0, grant.is_trusted)
        };
        let loopback = ip("127.0.0.1");
        assert_eq!(
            [who(loopback.clone(), "a"), who(loopback, "b")],
            [(1, false); 2]
        );
        assert_eq!([who(user(8), "a"), who(user(8), "b")], [(2, false); 2]);
        assert_eq!(
            [who(user(7), "a"), who(user(7), "b")],
            [(3, true), (4, true)]
        );
        assert_eq!(who(ip("10.1.2.3"), "a"), (5, true));
        // A host has a whole network of 64 bits to itself.
        assert_eq!(who(ip("2001:db8::2"), "a"), (6, false));
        assert_eq!(who(ip("2001:db8::9999:2"), "b"), (6, false));
        assert_eq!(who(ip("2001:db8::1"), "b"), (7, true));
        // A certificate's name is one voice, wherever it comes from.
        let proven = |from: &str| ip(from).named(["spiffe://edge.example/proxy".into()]);
        assert_eq!(who(proven("192.0.2.1"), "a"), (8, false));
        assert_eq!(who(proven("192.0.2.2"), "b"), (8, false));
        let seated: Vec<_> = reporters.seated().iter().map(ToString::to_string).collect();
        let expected = [
            "127.0.0.1",
            "uid:8",
            "uid:7 a",
            "uid:7 b",
            "10.1.2.3 a",
            "2001:db8::/64",
            "2001:db8::1 b",
            "spiffe://edge.example/proxy",
        ];
        assert_eq!(seated, expected);
    }

    #[test]
    fn peers_are_named_as_people_do() {
        for good in [
            "unix",
            "uid:0",
            "127.0.0.1",
            "10.0.0.0/8",
            "::1",
            "fd00::/8",
        ] {
            assert!(good.parse::<Peers>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "uid:",
            "uid:-1",
            "localhost",
            "10.0.0.0/33",
            "10.0.0.1:80",
        ] {
            assert!(bad.parse::<Peers>().is_err(), "{bad}");
        }
    }

    #[test]
    fn those_without_a_seat_share_one_until_somebody_is_silent_for_long() {
        let reporters = reporters(&[]);
        let now = clock::now();
        let ask = |after, user: u32| reporters.admit(now + after, (&self::user(user), ""), 60, 1);
        for user in 1..=64 {
            assert_eq!(u32::from(ask(seconds(0), user).reporter.0), user);
        }
        assert_eq!(
            (ask(seconds(0), 65).reporter, ask(seconds(0), 65).granted),
            (Reporter(0), 40)
        );
        assert_eq!(ask(seconds(0), 66).granted, 0);
        for user in (1..=64).filter(|user| *user != 5) {
            ask(seconds(300), user);
        }
        assert_eq!(ask(seconds(700), 66).reporter, Reporter(5));
        assert_eq!(ask(seconds(700), 67).reporter, Reporter(0));
    }
}
