//! The origin behind all nodes, which does badly for some objects whichever node asks: so one can see whether a node is
//! blamed for what is not its fault.

/// Objects below this path fail: every node answers 500 for them.
pub const FAILING: &str = "/origin/failing/";

/// Objects below this path take long to fetch ([`NodeOptions::slow_origin`](super::NodeOptions)).
pub const SLOW: &str = "/origin/slow/";

/// How the origin does for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Well,
    Slow,
    Failing,
}

impl Origin {
    /// By the object's path.
    pub(super) fn of(path: &str) -> Self {
        if path.starts_with(FAILING) {
            Self::Failing
        } else if path.starts_with(SLOW) {
            Self::Slow
        } else {
            Self::Well
        }
    }
}
