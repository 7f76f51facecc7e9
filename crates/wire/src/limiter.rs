//! The limits of the policy, enforced: who asks more than a limit lets through is turned away.
//!
//! A decision stays a pure function: it is made first, because which limits count depends on the rule, and this stands behind
//! it, in the sidecar and in callers that decide by themselves. What is counted is a process's own and is gone when it ends; a policy that takes effect keeps what limits of the
//! same name have counted.
//!
//! Memory is bounded: one table for all limits, of 65,536 keys in buckets of eight. In a full bucket the key goes whose next
//! request is due first: most often it is due already, so that nothing is known of it. Whoever asks under more names
//! than fit gets a burst for each name; a limit `per: all` beside it bounds them together.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::clock;
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{Evaluation, Reason, Shed, Verdict};
use tradewind_engine::policy::RateLimit;
use tradewind_engine::query::Query;
use tradewind_engine::snapshot::Snapshot;

/// Buckets; a power of two.
const BUCKETS: usize = 8_192;

/// Keys of a bucket.
const KEYS: usize = 8;

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

/// The longest that a caller is told to stay away, in seconds.
const MAX_RETRY_S: u64 = 60;

/// When the next request of a key is due.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    key: u64,
    /// In nanoseconds since the table was made; 0 where there is no key.
    due_ns: u64,
}

impl Slot {
    fn is_of(&self, key: u64) -> bool {
        self.key == key && self.due_ns > 0
    }
}

/// What was let through of late, by limit and key.
#[derive(Debug)]
pub struct Limiter {
    began: Instant,
    buckets: Box<[Mutex<[Slot; KEYS]>]>,
}

impl Default for Limiter {
    fn default() -> Self {
        Self {
            began: clock::now(),
            buckets: (0..BUCKETS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Limiter {
    /// Turns a request away that is more than a limit lets through at `now`.
    #[inline]
    pub fn check(
        &self,
        now: impl FnOnce() -> Instant,
        (snapshot, query): (&Snapshot, &Query<'_>),
        evaluation: &mut Evaluation,
    ) {
        let decision = Decision::new(snapshot, evaluation);
        let is_limited = decision.plan().is_some_and(|plan| !plan.limits.is_empty());
        if is_limited && evaluation.verdict == Verdict::Route {
            self.count(now(), (snapshot, query), evaluation);
        }
    }

    #[cold]
    fn count(
        &self,
        now: Instant,
        (snapshot, query): (&Snapshot, &Query<'_>),
        evaluation: &mut Evaluation,
    ) {
        let passed = now.saturating_duration_since(self.began);
        // From 1 on, for 0 says that there is no key.
        let now_ns = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX).max(1);
        let limits = Decision::new(snapshot, evaluation).limits(query);
        let wait_ns = match limits.as_slice() {
            [(limit, key)] => self.admit(limit, key.0, now_ns).err(),
            // All are asked before any counts it: who is over a limit of its own must not use up one that others share.
            several => {
                let waits = several
                    .iter()
                    .filter_map(|(limit, key)| self.look(limit, key.0, now_ns).err());
                let longest = waits.max();
                if longest.is_none() {
                    for (limit, key) in several {
                        // Another worker may have been quicker by one request.
                        let _late: Result<(), u64> = self.admit(limit, key.0, now_ns);
                    }
                }
                longest
            }
        };
        if let Some(wait_ns) = wait_ns {
            let shed = Shed {
                node: None,
                retry_after_s: retry_after_s(wait_ns, evaluation.key.0),
            };
            evaluation.turn_away(Reason::RateLimited, shed);
        }
    }

    /// The slots among which that of a key is, if it has one.
    fn slots(&self, key: u64) -> Option<MutexGuard<'_, [Slot; KEYS]>> {
        let at = usize::try_from(key % (BUCKETS as u64)).unwrap_or(0);
        let bucket = self.buckets.get(at)?;
        Some(bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a request of a key would be let through, or in how many nanoseconds one will be; counts nothing.
    fn look(&self, limit: &RateLimit, key: u64, now_ns: u64) -> Result<(), u64> {
        let Some(slots) = self.slots(key) else {
            return Ok(());
        };
        let known = slots.iter().find(|slot| slot.is_of(key));
        let due_ns = known.map_or(0, |slot| slot.due_ns);
        limit.admit(due_ns, now_ns).map(|_due_ns| ())
    }

    /// Lets a request of a key through, or says in how many nanoseconds one will be.
    fn admit(&self, limit: &RateLimit, key: u64, now_ns: u64) -> Result<(), u64> {
        let Some(mut slots) = self.slots(key) else {
            return Ok(());
        };
        let known = slots.iter().position(|slot| slot.is_of(key));
        let slot = match known {
            Some(at) => slots.get_mut(at),
            None => slots.iter_mut().min_by_key(|slot| slot.due_ns),
        };
        let Some(slot) = slot else {
            return Ok(());
        };
        let due_ns = if slot.is_of(key) { slot.due_ns } else { 0 };
        let due_ns = limit.admit(due_ns, now_ns)?;
        *slot = Slot { key, due_ns };
        Ok(())
    }
}

/// When to come back, in whole seconds: once a request is let through again, and up to as long after it, by a lot, so that not
/// all come back at once.
fn retry_after_s(wait_ns: u64, lot: u64) -> u8 {
    let seconds = wait_ns.div_ceil(SECOND_NS).clamp(1, MAX_RETRY_S);
    let later = lot % (seconds + 1);
    u8::try_from(seconds + later).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use tradewind_engine::evaluate::evaluate;
    use tradewind_engine::geo::ranges::Ranges;
    use tradewind_engine::query::Client;
    use tradewind_engine::snapshot::{GeoState, Parts};
    use tradewind_engine::{policy, topology};

    const TOPOLOGY: &str = "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  tiers: [edge]\n  \
        sites: [{id: a, tier: edge, lat: 50, lon: 8}]\n  \
        nodes: [{id: n, site: a, address: '192.0.2.1:80'}]\n";

    fn snapshot(limits: &str) -> Snapshot {
        let topology = topology::compile("t", TOPOLOGY).topology.unwrap();
        let text = format!(
            "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  limits: [{limits}]\n  pools: [{{name: edge}}]\n  \
             rules: [{{name: all, owner: us, rollback: none, pools: [edge]}}]\n"
        );
        let policy = policy::compile("p", &text, &topology);
        let found = format!("{:?}", policy.diagnostics);
        let parts = Parts {
            topology: Arc::new(topology),
            policy: Arc::new(policy.policy.expect(&found)),
            candidate: None,
            geo: Arc::new(Ranges::default()),
            geo_state: GeoState::NotConfigured,
            here: None,
            signals: Arc::default(),
        };
        Snapshot::build(1, parts, None)
    }

    /// Asks for a path, `after_ms` after the limiter began.
    fn ask(
        limiter: &Limiter,
        snapshot: &Snapshot,
        (host, ip): (&str, &str),
        after_ms: u64,
    ) -> Evaluation {
        let query = Query {
            host,
            path: "/a",
            client: Client {
                ip: Some(ip.parse().unwrap()),
                ..Client::default()
            },
            ..Query::default()
        };
        let mut evaluation = evaluate(snapshot, &query);
        let now = limiter.began + Duration::from_millis(after_ms);
        limiter.check(|| now, (snapshot, &query), &mut evaluation);
        evaluation
    }

    #[test]
    fn a_tenant_over_its_limit_is_turned_away_and_no_other() {
        let limiter = Limiter::default();
        let made = snapshot("{name: tenants, per: host, requests_per_second: 1, burst: 2}");
        let asks = |host, after_ms| ask(&limiter, &made, (host, "198.51.100.1"), after_ms);
        assert!(asks("a.example", 0).shed.is_none() && asks("A.example:443", 0).shed.is_none());
        let away = asks("a.example", 10);
        let shed = away.shed.unwrap();
        assert_eq!(
            (away.verdict, away.reason),
            (Verdict::Shed, Reason::RateLimited)
        );
        assert!(away.picks.is_empty() && (1..=2).contains(&shed.retry_after_s));
        assert!(asks("b.example", 10).shed.is_none(), "another tenant");
        assert!(asks("a.example", 1_001).shed.is_none(), "a second later");
        let again = snapshot("{name: tenants, per: host, requests_per_second: 2}");
        let other = ask(&limiter, &again, ("a.example", "198.51.100.1"), 1_002);
        assert!(other.shed.is_some(), "another policy, the same limit");
    }

    /// Who was over a limit of its own used up with each refusal what all have together.
    #[test]
    fn who_is_over_its_own_limit_uses_up_none_of_what_all_share() {
        let limits = "{name: all, requests_per_second: 1, burst: 5}, \
                      {name: each, per: client, requests_per_second: 1, burst: 1}";
        let made = snapshot(limits);
        let limiter = Limiter::default();
        let passes = |ip: &str| ask(&limiter, &made, ("a.example", ip), 0).shed.is_none();
        assert!(passes("198.51.100.1"));
        assert!((0..100).all(|_| !passes("198.51.100.1")));
        assert!((2..=5).all(|last| passes(&format!("198.51.100.{last}"))));
        assert!(!passes("198.51.100.6"), "five in all");
    }

    #[test]
    fn clients_of_one_network_count_together_where_the_limit_says_so() {
        let made = snapshot("{name: nets, per: network, requests_per_second: 1}");
        let limiter = Limiter::default();
        let ask = |ip| ask(&limiter, &made, ("a.example", ip), 0).shed.is_some();
        assert!(!ask("198.51.100.1") && ask("198.51.100.2") && !ask("198.51.101.1"));
        assert!(!ask("2001:db8::1") && ask("2001:db8:0:1::1") && !ask("2001:db8:1::1"));
    }

    #[test]
    fn a_million_names_take_no_more_memory_and_forget_nobody_who_asks_too_much() {
        let made = snapshot("{name: clients, per: client, requests_per_second: 1, burst: 1000}");
        let limiter = Limiter::default();
        let busy = |after_ms| ask(&limiter, &made, ("a.example", "203.0.113.1"), after_ms).shed;
        for _ in 0..1_000 {
            assert!(busy(0).is_none());
        }
        assert!(busy(0).is_some());
        for name in 0..200_000_u32 {
            let ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 | name).to_string();
            assert!(ask(&limiter, &made, ("a.example", &ip), 1).shed.is_none());
        }
        assert!(busy(2).is_some(), "its next request is due last of all");
    }
}
