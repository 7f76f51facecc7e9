//! How an attempt at a node went, by what Envoy knows of it: its log tells the sidecar, and its module reads the same.

use std::net::SocketAddr;

use super::proto::AttemptResult;

/// Envoy's response flags, as it numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u64);

impl Flags {
    /// No host of the cluster may be used.
    pub const NO_HEALTHY_UPSTREAM: Self = Self(1 << 1);
    /// The time of the request, or of this attempt, was up.
    pub const UPSTREAM_REQUEST_TIMEOUT: Self = Self(1 << 2);
    /// The node reset the stream.
    pub const UPSTREAM_REMOTE_RESET: Self = Self(1 << 4);
    /// No connection came about.
    pub const UPSTREAM_CONNECTION_FAILURE: Self = Self(1 << 5);
    /// The node closed the connection.
    pub const UPSTREAM_CONNECTION_TERMINATION: Self = Self(1 << 6);
    /// A bound of Envoy's own was reached.
    pub const UPSTREAM_OVERFLOW: Self = Self(1 << 7);
    /// Nothing came for too long.
    pub const STREAM_IDLE_TIMEOUT: Self = Self(1 << 16);
    /// The stream lasted for too long.
    pub const DURATION_TIMEOUT: Self = Self(1 << 22);
    /// What the node sent cannot be read.
    pub const UPSTREAM_PROTOCOL_ERROR: Self = Self(1 << 23);

    const OWN_BOUNDS: Self = Self::any_of(&[Self::NO_HEALTHY_UPSTREAM, Self::UPSTREAM_OVERFLOW]);
    const TIMEOUTS: Self = Self::any_of(&[
        Self::UPSTREAM_REQUEST_TIMEOUT,
        Self::STREAM_IDLE_TIMEOUT,
        Self::DURATION_TIMEOUT,
    ]);
    const BROKEN: Self = Self::any_of(&[
        Self::UPSTREAM_REMOTE_RESET,
        Self::UPSTREAM_CONNECTION_TERMINATION,
        Self::UPSTREAM_PROTOCOL_ERROR,
    ]);

    /// All of these.
    pub const fn any_of(flags: &[Self]) -> Self {
        let (mut all, mut rest) = (0, flags);
        while let [first, others @ ..] = rest {
            all |= first.0;
            rest = others;
        }
        Self(all)
    }

    /// These flags, where they are set.
    pub fn given(flags: impl IntoIterator<Item = (bool, Self)>) -> Self {
        let set = flags.into_iter().filter(|(is_set, _)| *is_set);
        Self(set.fold(0, |all, (_, flag)| all | flag.0))
    }

    const fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }

    /// The same, with the flag of a connection that did not come about for another reason: by TLS.
    #[must_use]
    pub const fn with_failure(self, has_failed: bool) -> Self {
        if has_failed {
            Self::any_of(&[self, Self::UPSTREAM_CONNECTION_FAILURE])
        } else {
            self
        }
    }
}

/// How an attempt went; `None` if the node had no part in it. `status` is that of its answer, or the one that its gRPC status
/// stands for, 0 for none; `is_whole` says whether the answer's last byte came.
pub fn result(flags: Flags, status: u32, is_whole: bool) -> Option<AttemptResult> {
    // With hedging an attempt goes on when its time is up, and its answer may still come.
    let is_late = status > 0 && is_whole;
    match status {
        // Envoy's own bounds, not the node.
        _ if flags.has(Flags::OWN_BOUNDS) => None,
        _ if flags.has(Flags::TIMEOUTS) && !is_late => Some(AttemptResult::Timeout),
        _ if flags.has(Flags::UPSTREAM_CONNECTION_FAILURE) => Some(AttemptResult::Error),
        _ if flags.has(Flags::BROKEN) => Some(AttemptResult::Reset),
        429 => Some(AttemptResult::Shed),
        500.. => Some(AttemptResult::Error),
        // A call that its client gave up (gRPC's CANCELLED). Else: no answer, and no word of why, for the client left, or
        // another attempt was quicker.
        499 | 0 => None,
        1.. => Some(AttemptResult::Ok),
    }
}

/// The nodes of a list as Envoy is told it.
pub fn nodes(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|node| !node.is_empty())
}

/// The place of a node in a list as Envoy is told it, from 1. It numbers attempts, because Envoy does not: each node of a list
/// is asked once, and whoever tells of an attempt tells the same number.
pub fn place(list: &str, address: SocketAddr) -> Option<u32> {
    let found = (1..)
        .zip(nodes(list))
        .find(|(_, node)| node.parse() == Ok(address));
    found.map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_blamed_for_what_it_did_and_for_nothing_else() {
        let none = Flags::default();
        let late = Flags::UPSTREAM_REQUEST_TIMEOUT;
        for (flags, status, is_whole, wanted) in [
            (none, 200, true, Some(AttemptResult::Ok)),
            (none, 429, true, Some(AttemptResult::Shed)),
            (none, 503, true, Some(AttemptResult::Error)),
            (none, 0, false, None),
            (none, 499, true, None),
            (late, 0, false, Some(AttemptResult::Timeout)),
            (late, 200, false, Some(AttemptResult::Timeout)),
            (late, 200, true, Some(AttemptResult::Ok)),
            (Flags::UPSTREAM_OVERFLOW, 503, false, None),
            (Flags::NO_HEALTHY_UPSTREAM, 503, false, None),
            (
                none.with_failure(true),
                0,
                false,
                Some(AttemptResult::Error),
            ),
            (
                Flags::UPSTREAM_REMOTE_RESET,
                0,
                false,
                Some(AttemptResult::Reset),
            ),
        ] {
            assert_eq!(
                result(flags, status, is_whole),
                wanted,
                "{flags:?} {status}"
            );
        }
    }

    #[test]
    fn attempts_are_numbered_by_their_place_in_the_list() {
        let list = "192.0.2.1:80,192.0.2.2:80,[2001:db8::3]:80";
        let of = |node: &str| place(list, node.parse().unwrap());
        let places = ["192.0.2.1:80", "192.0.2.2:80", "[2001:db8:0:0::3]:80"].map(of);
        assert_eq!(places, [Some(1), Some(2), Some(3)], "however it is written");
        assert_eq!(of("192.0.2.9:80"), None);
        assert_eq!(place("", "192.0.2.1:80".parse().unwrap()), None);
    }
}
