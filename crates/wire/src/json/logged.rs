//! What the words of proxies' logs say about a node: nginx's `$upstream_status`, HAProxy's termination state.
//!
//! A proxy logs a status for every request, also when no node had a part in it. What says nothing about a node is no
//! outcome: an innocent node would be blamed for a client that left.

use crate::proto::AttemptResult;

/// What nginx logs when the client left first; no node answers with it.
const CLIENT_LEFT: u32 = 499;

/// What is known of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoggedAttempt {
    pub(super) result: AttemptResult,
    /// The status that the node answered, 0 if the proxy made one up for it.
    pub(super) status: u32,
}

/// What a status says. `answered` is whether a byte of the answer came, if the log says so: the 502 and 504 of a proxy
/// that got none are its own.
pub(super) fn by_status(status: u32, answered: Option<bool>) -> Option<LoggedAttempt> {
    let made_up = answered == Some(false) && matches!(status, 502..=504);
    let result = match status {
        0 | CLIENT_LEFT => return None,
        504 if made_up => AttemptResult::Timeout,
        429 => AttemptResult::Shed,
        500.. => AttemptResult::Error,
        _ => AttemptResult::Ok,
    };
    let status = if made_up { 0 } else { status };
    Some(LoggedAttempt { result, status })
}

/// What the first two letters of HAProxy's termination state say (its configuration manual, 8.5): who ended the session,
/// and in which phase.
pub(super) fn by_termination(
    state: &str,
    status: u32,
    answered: Option<bool>,
) -> Option<LoggedAttempt> {
    let mut letters = state.chars();
    let (by, phase) = (letters.next()?, letters.next()?);
    let failed = |result| Some(LoggedAttempt { result, status: 0 });
    let broke_off = |result| Some(LoggedAttempt { result, status });
    match (by, phase) {
        ('-', _) => by_status(status, answered),
        // The node refused the connection, or its answer was no HTTP.
        ('S', 'C') | ('P', 'H') => failed(AttemptResult::Error),
        // It closed the connection before it answered, or in the middle of its answer.
        ('S', 'H') => failed(AttemptResult::Reset),
        ('S', 'D' | 'L') => broke_off(AttemptResult::Reset),
        // Time ran out: to connect, for the head of the answer, for the rest of it.
        ('s', 'C' | 'H') => failed(AttemptResult::Timeout),
        ('s', 'D' | 'L') => broke_off(AttemptResult::Timeout),
        // The client left, but the node had answered.
        ('C' | 'c', 'D' | 'L') if answered != Some(false) => by_status(status, answered),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u32, answered: bool) -> Option<(AttemptResult, u32)> {
        by_status(status, Some(answered)).map(|verdict| (verdict.result, verdict.status))
    }

    fn termination(state: &str, status: u32) -> Option<(AttemptResult, u32)> {
        by_termination(state, status, None).map(|verdict| (verdict.result, verdict.status))
    }

    #[test]
    fn a_status_that_the_proxy_made_up_is_not_the_nodes() {
        assert_eq!(status(502, false), Some((AttemptResult::Error, 0)));
        assert_eq!(status(504, false), Some((AttemptResult::Timeout, 0)));
        assert_eq!(status(502, true), Some((AttemptResult::Error, 502)));
        assert_eq!(status(504, true), Some((AttemptResult::Error, 504)));
        assert_eq!(status(429, true), Some((AttemptResult::Shed, 429)));
        assert_eq!(status(404, true), Some((AttemptResult::Ok, 404)));
        assert_eq!(
            by_status(504, None).unwrap().result,
            AttemptResult::Error,
            "no time is invented where the log has no column for it"
        );
    }

    #[test]
    fn a_client_that_left_blames_nobody() {
        assert_eq!(status(499, false), None);
        assert_eq!(status(0, false), None);
        for (state, code) in [("CC", 503), ("CH", 400), ("cR", 408), ("CQ", 503)] {
            assert_eq!(termination(state, code), None, "{state}");
        }
        assert_eq!(termination("CD", 200), Some((AttemptResult::Ok, 200)));
        assert_eq!(by_termination("CD", 200, Some(false)), None);
    }

    #[test]
    fn what_haproxy_did_itself_says_nothing_of_a_node() {
        for (state, code) in [
            ("PR", 403),
            ("LR", 200),
            ("sQ", 503),
            ("RC", 503),
            ("IH", 500),
        ] {
            assert_eq!(termination(state, code), None, "{state}");
        }
    }

    #[test]
    fn what_a_node_did_is_told_by_who_ended_and_when() {
        for (state, code, wanted) in [
            ("SC", 503, (AttemptResult::Error, 0)),
            ("SH", 502, (AttemptResult::Reset, 0)),
            ("SD", 200, (AttemptResult::Reset, 200)),
            ("sC", 503, (AttemptResult::Timeout, 0)),
            ("sH", 504, (AttemptResult::Timeout, 0)),
            ("sD", 200, (AttemptResult::Timeout, 200)),
            ("PH", 502, (AttemptResult::Error, 0)),
            ("--", 200, (AttemptResult::Ok, 200)),
            ("--", 503, (AttemptResult::Error, 503)),
            ("----", 429, (AttemptResult::Shed, 429)),
        ] {
            assert_eq!(termination(state, code), Some(wanted), "{state} {code}");
        }
        assert_eq!(termination("", 200), None);
    }
}
