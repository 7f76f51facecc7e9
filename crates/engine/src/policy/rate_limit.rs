//! Limits of requests: who is counted together, and when a request conforms.
//!
//! The arithmetic of the generic cell rate algorithm (ITU-T I.371), without a clock and without state: whoever enforces a
//! limit keeps one number for each key, when its next request is due. A decision knows nothing of it.

use crate::document::{Checker, Code, Names, Path};
use crate::hash::{self, KeyHash};
use crate::number::{from_u64, to_u64};
use crate::query::{Query, network_of};

use super::document::{LimitDocument, LimitPer, PolicySpec};

/// Most limits in one policy.
pub(super) const MAX_LIMITS: usize = 64;

/// Most rules that one limit names.
const MAX_LIMITED_RULES: usize = 64;

/// So many requests a second and no more.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit {
    /// The unique name.
    pub name: Box<str>,
    per: LimitPer,
    /// Time between two requests, in nanoseconds.
    period_ns: u64,
    /// How far ahead of time requests may come, in nanoseconds.
    ahead_ns: u64,
}

impl RateLimit {
    fn new(document: &LimitDocument) -> Self {
        let rate = document.requests_per_second.clamp(0.01, 1e6);
        let burst = document.burst.map_or_else(|| rate.max(1.0), f64::from);
        let period_ns = to_u64(1e9 / rate).max(1);
        Self {
            name: document.name.as_str().into(),
            per: document.per,
            period_ns,
            ahead_ns: to_u64(burst.max(1.0) * from_u64(period_ns)),
        }
    }

    /// What a request is counted by; `host` is in normal form. Clients of whom no address is known count together.
    pub fn key(&self, query: &Query<'_>, host: &str) -> KeyHash {
        let own = hash::key(&[self.name.as_bytes()]);
        let by_address = |ip: std::net::IpAddr| match ip {
            std::net::IpAddr::V4(ip) => own.then(&ip.octets()),
            std::net::IpAddr::V6(ip) => own.then(&ip.octets()),
        };
        let ip = query.client.ip.map(|ip| ip.to_canonical());
        match self.per {
            LimitPer::All => own,
            LimitPer::Host => own.then(host.as_bytes()),
            LimitPer::Network => ip.map_or(own, |ip| by_address(network_of(ip))),
            LimitPer::Client => ip.map_or(own, by_address),
        }
    }

    /// Lets a request of a key through whose next one is due at `due_ns`: answers when the next is due then, or else in how
    /// many nanoseconds one will be let through. 0 stands for a key that never asked.
    pub fn admit(&self, due_ns: u64, now_ns: u64) -> Result<u64, u64> {
        let next_ns = due_ns.max(now_ns).saturating_add(self.period_ns);
        let ahead_ns = next_ns - now_ns;
        if ahead_ns <= self.ahead_ns {
            Ok(next_ns)
        } else {
            Err(ahead_ns - self.ahead_ns)
        }
    }
}

/// Checks the section and compiles it: the limits, and for each rule the positions of those that it counts for.
pub(super) fn compile(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    spec: &PolicySpec,
) -> (Vec<RateLimit>, Vec<Vec<u8>>) {
    let list = path.field("limits");
    let rules = spec.rules.iter().map(|rule| rule.name.as_str());
    let names = Names::new("rule", "spec.rules", rules)
        .complete_if(checker.has_every(&path.field("rules"), "name"));
    let mut of_rules = vec![Vec::new(); spec.rules.len()];
    for (at, document) in (0_u8..).zip(&spec.limits) {
        let path = list.index(usize::from(at));
        check(checker, &path, document, &names);
        let earlier = spec.limits.iter().take(usize::from(at));
        if earlier.clone().any(|other| other.name == document.name) {
            let message = format!("the limit `{}` stands twice", document.name);
            let help = "give each a name of its own";
            checker.error(Code::P005, &path.field("name"), message, help);
        }
        for (rule, limits) in spec.rules.iter().zip(&mut of_rules) {
            if document.rules.is_empty() || document.rules.contains(&rule.name) {
                limits.push(at);
            }
        }
    }
    (spec.limits.iter().map(RateLimit::new).collect(), of_rules)
}

fn check(checker: &mut Checker<'_>, path: &Path<'_>, document: &LimitDocument, rules: &Names<'_>) {
    checker.id(Code::P004, &path.field("name"), &document.name);
    let rate = document.requests_per_second;
    let field = path.field("requests_per_second");
    checker.in_range(Code::P006, &field, rate, &(0.01..=1e6));
    if let Some(burst) = document.burst {
        let field = path.field("burst");
        checker.in_range(Code::P006, &field, f64::from(burst), &(1.0..=1e6));
    }
    let list = path.field("rules");
    checker.at_most(Code::P001, &list, document.rules.len(), MAX_LIMITED_RULES);
    for (at, rule) in document.rules.iter().enumerate() {
        if !rules.has(rule) {
            checker.unknown_name(Code::P008, &list.index(at), rules, rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limit(requests_per_second: f64, burst: Option<u32>) -> RateLimit {
        RateLimit::new(&LimitDocument {
            name: "a".to_owned(),
            rules: Vec::new(),
            per: LimitPer::All,
            requests_per_second,
            burst,
        })
    }

    #[test]
    fn a_burst_passes_at_once_and_then_as_many_as_the_rate_says() {
        let limit = limit(10.0, Some(3));
        let second = 1_000_000_000;
        let mut due_ns = 0;
        let mut ask = |now_ns| {
            let admitted = limit.admit(due_ns, now_ns);
            due_ns = admitted.unwrap_or(due_ns);
            admitted.is_ok()
        };
        let now = 5 * second;
        assert_eq!(
            [ask(now), ask(now), ask(now), ask(now)],
            [true, true, true, false]
        );
        assert!(!ask(now + second / 10 - 1) && ask(now + second / 10));
        assert!(!ask(now + second / 10), "one was let through just now");
        let passed = (0..1_000)
            .filter(|at| ask(now + second + at * second / 100))
            .count();
        assert!((100..=103).contains(&passed), "{passed} in ten seconds");
    }

    proptest! {
        /// Whoever waits as long as he is told is let through, and not before.
        #[test]
        fn who_is_told_to_wait_passes_then(
            rate in 0.01..1e6_f64,
            burst in 1..1_000_u32,
            asked in prop::collection::vec(0..2_000_000_000_u64, 1..64),
        ) {
            let limit = limit(rate, Some(burst));
            let (mut now_ns, mut due_ns) = (1, 0);
            for after_ns in asked {
                now_ns += after_ns;
                match limit.admit(due_ns, now_ns) {
                    Ok(next_ns) => due_ns = next_ns,
                    Err(wait_ns) => {
                        prop_assert!(limit.admit(due_ns, now_ns + wait_ns).is_ok());
                        prop_assert!(limit.admit(due_ns, now_ns + wait_ns - 1).is_err());
                    }
                }
            }
        }
    }
}
