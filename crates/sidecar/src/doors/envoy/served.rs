//! What an answer says of the nodes of a decision, where Envoy shows answers to `ext_proc` too: which node served, and that
//! those before it in the list failed.
//!
//! Envoy walks the list node by node, so whoever served later than first was asked because all before it had failed. That
//! is enough for breakers without any log. Where the number of attempts does not agree with the place in the list (Envoy
//! does not know a node and skips it, or hedges), it is not known who failed, and nobody is blamed.

use std::time::Instant;

use crate::doors::envoy::proto::envoy::config::core::v3::HeaderValue;
use crate::wire::proto::{AttemptResult, Outcome};
use crate::wire::{attempt, cache, grpc_status};

/// What Envoy calls an answer that a node gave.
const OF_A_NODE: &str = "via_upstream";

/// A decision that Envoy was told.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) id: String,
    /// The addresses of its nodes, best first, with commas between them.
    pub(super) nodes: String,
    /// When it was told.
    pub(super) since: Instant,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    /// The address of the node that served, or was asked last.
    pub(super) served: &'a str,
    /// How many attempts it took; 0 if it is not said.
    pub(super) attempts: u32,
    /// Whose answer it is, in Envoy's words, if it is said.
    pub(super) details: Option<&'a str>,
    pub(super) headers: &'a [HeaderValue],
    /// Whether nothing follows it.
    pub(super) is_all: bool,
}

/// What is told of an answer by its head.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Learned {
    /// Outcomes of attempts that are over.
    pub(super) outcomes: Vec<Outcome>,
    /// The outcome of an attempt whose answer is not over: how a gRPC call went is said after it.
    pub(super) pending: Option<Outcome>,
}

impl Head<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        value_of(self.headers, name)
    }

    /// What it says. Without a decision nothing is known of a list.
    pub(super) fn learn(&self, decided: Option<&Decided>) -> Learned {
        let list = decided.map_or("", |decided| &decided.nodes);
        let place = self.served.parse().ok();
        let place = place.and_then(|served| attempt::place(list, served));
        let attempt = place.unwrap_or(self.attempts.min(255));
        let id = decided.map_or("", |decided| &decided.id);
        let failed = failed_before(attempt::nodes(list).count(), place, self.attempts);
        let failures = (1..).zip(attempt::nodes(list).take(failed));
        let failures = failures.map(|(attempt, node)| Outcome {
            result: AttemptResult::Error.into(),
            ..of_node(id, node, attempt)
        });
        let mut learned = Learned {
            outcomes: failures.collect(),
            pending: None,
        };
        let Some(mut served) = self.outcome(of_node(id, self.served, attempt)) else {
            return learned;
        };
        // After a first attempt that failed, the time is not this node's.
        let since = decided.filter(|_| attempt <= 1);
        served.time_to_first_byte =
            since.and_then(|decided| decided.since.elapsed().try_into().ok());
        let is_grpc = self.header("content-type");
        let is_grpc = is_grpc.is_some_and(|kind| kind.starts_with("application/grpc"));
        if is_grpc && !self.is_all {
            learned.pending = Some(served);
        } else {
            learned.outcomes.extend(ended(served, self.headers));
        }
        learned
    }

    /// How the attempt went whose answer this is, as far as its head tells; `None` if no node had a part in it.
    fn outcome(&self, told: Outcome) -> Option<Outcome> {
        let result = match self.details {
            None | Some(OF_A_NODE) => AttemptResult::Ok,
            // Envoy's own bound.
            Some(details) if details.contains("overflow") => return None,
            Some(details) if details.contains("timeout") => AttemptResult::Timeout,
            Some(details) if details.starts_with("upstream") => AttemptResult::Error,
            Some(_) => return None,
        };
        let status = self.header(":status").and_then(|code| code.parse().ok());
        let is_answered = result == AttemptResult::Ok;
        Some(Outcome {
            result: result.into(),
            status: status.filter(|_| is_answered).unwrap_or(0),
            cache_status: cache::status(|name| self.header(name)).into(),
            ..told
        })
    }
}

/// The outcome of an attempt whose answer is over: its gRPC status stands in `headers`, or in its trailers. `None` for a call
/// that its client gave up.
pub(super) fn ended(mut outcome: Outcome, headers: &[HeaderValue]) -> Option<Outcome> {
    outcome.status = grpc_status::of_answer(outcome.status, value_of(headers, grpc_status::NAME));
    if outcome.result() == AttemptResult::Ok {
        outcome.set_result(match outcome.status {
            429 => AttemptResult::Shed,
            499 => return None,
            500.. => AttemptResult::Error,
            _ => AttemptResult::Ok,
        });
    }
    Some(outcome)
}

fn of_node(decision_id: &str, node: &str, attempt: u32) -> Outcome {
    Outcome {
        decision_id: decision_id.to_owned(),
        // By its address: Envoy knows no other name.
        node: node.to_owned(),
        attempt,
        ..Outcome::default()
    }
}

/// How many nodes at the head of a list of `length` failed, when the one at `place` served after so many attempts.
fn failed_before(length: usize, place: Option<u32>, attempts: u32) -> usize {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    match (place, attempts) {
        // Not said how many: the list is walked in its order.
        (Some(place), 0) => count(place) - 1,
        (Some(place), attempts) if attempts == place => count(place) - 1,
        // Walked to its end, and then Envoy's own choice.
        (_, attempts) if count(attempts) > length => length,
        _ => 0,
    }
}

/// The value of a header or trailer.
fn value_of<'a>(headers: &'a [HeaderValue], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|header| header.key == name)?;
    let raw = std::str::from_utf8(&found.raw_value).unwrap_or_default();
    Some(if raw.is_empty() { &found.value } else { raw })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn headers(pairs: &[(&str, &str)]) -> Vec<HeaderValue> {
        let pairs = pairs.iter().map(|(key, value)| HeaderValue {
            key: (*key).to_owned(),
            raw_value: value.as_bytes().to_vec(),
            ..HeaderValue::default()
        });
        pairs.collect()
    }

    const A: &str = "192.0.2.1:80";
    const B: &str = "192.0.2.2:80";
    const C: &str = "[2001:db8::3]:80";
    const X: &str = "192.0.2.9:80";

    /// Node, attempt, result and status of every attempt at a list of three; one that is not over, last.
    fn told(
        (served, attempts): (&str, u32),
        details: Option<&str>,
        head: &[(&str, &str)],
    ) -> Vec<(String, u32, AttemptResult, u32)> {
        let head = Head {
            served,
            attempts,
            details,
            headers: &headers(head),
            is_all: false,
        };
        let learned = head.learn(Some(&Decided {
            id: "1".to_owned(),
            nodes: [A, B, C].join(","),
            since: clock::now(),
        }));
        let all = learned.outcomes.into_iter().chain(learned.pending);
        all.map(|told| (told.node.clone(), told.attempt, told.result(), told.status))
            .collect()
    }

    fn of(
        node: &str,
        attempt: u32,
        result: AttemptResult,
        status: u32,
    ) -> (String, u32, AttemptResult, u32) {
        (node.to_owned(), attempt, result, status)
    }

    const OK: &[(&str, &str)] = &[(":status", "200")];

    #[test]
    fn whoever_stands_before_the_node_that_served_has_failed() {
        let failed = |node, attempt| of(node, attempt, AttemptResult::Error, 0);
        let served = |node, attempt| of(node, attempt, AttemptResult::Ok, 200);
        assert_eq!(told((A, 1), None, OK), [served(A, 1)]);
        let third = [failed(A, 1), failed(B, 2), served(C, 3)];
        assert_eq!(told((C, 3), None, OK), third);
        assert_eq!(
            told((C, 0), None, OK),
            third,
            "by its place, where no number is said"
        );
        let elsewhere = told((X, 4), None, OK);
        assert_eq!(
            elsewhere,
            [failed(A, 1), failed(B, 2), failed(C, 3), served(X, 4)]
        );
    }

    #[test]
    fn nobody_is_blamed_where_it_is_not_known_who_failed() {
        for (served, attempts, place) in [
            // Envoy does not know the first, nor perhaps the second, and skips it.
            (B, 1, 2),
            (C, 2, 3),
            // It hedged, and the first was quicker.
            (A, 2, 1),
            // It chose by itself at once.
            (X, 1, 1),
            (X, 0, 0),
        ] {
            let told = told((served, attempts), None, OK);
            assert_eq!(told, [of(served, place, AttemptResult::Ok, 200)]);
        }
    }

    #[test]
    fn what_envoy_answered_for_a_node_is_no_answer() {
        let of_last = |details: &str| {
            let mut told = told((A, 1), Some(details), &[(":status", "503")]);
            told.pop().map(|(.., result, status)| (result, status))
        };
        let refused = "upstream_reset_before_response_started{connection_failure}";
        assert_eq!(of_last(refused), Some((AttemptResult::Error, 0)));
        let late = "upstream_per_try_timeout";
        assert_eq!(of_last(late), Some((AttemptResult::Timeout, 0)));
        assert_eq!(of_last("via_upstream"), Some((AttemptResult::Error, 503)));
        for own in [
            "upstream_reset_before_response_started{overflow}",
            "no_healthy_upstream",
            "ext_authz_denied",
        ] {
            assert_eq!(of_last(own), None, "{own}");
        }
    }

    #[test]
    fn a_grpc_call_is_over_with_its_status() {
        let call = [
            (":status", "200"),
            ("content-type", "application/grpc+proto"),
        ];
        let mut head = Head {
            served: A,
            attempts: 1,
            details: None,
            headers: &headers(&call),
            is_all: false,
        };
        let learned = head.learn(None);
        assert!(learned.outcomes.is_empty());
        let ends_with = |code| {
            let ended = ended(
                learned.pending.clone().unwrap(),
                &headers(&[("grpc-status", code)]),
            );
            ended.map(|told| (told.result(), told.status))
        };
        assert_eq!(ends_with("0"), Some((AttemptResult::Ok, 200)));
        assert_eq!(ends_with("14"), Some((AttemptResult::Error, 503)));
        assert_eq!(ends_with("8"), Some((AttemptResult::Shed, 429)));
        assert_eq!(ends_with("1"), None);
        // Nothing but a status.
        let at_once = headers(&[call[0], call[1], ("grpc-status", "14")]);
        head.headers = &at_once;
        head.is_all = true;
        let learned = head.learn(None);
        assert_eq!(learned.outcomes[0].status, 503);
        assert_eq!(learned.pending, None);
    }
}
