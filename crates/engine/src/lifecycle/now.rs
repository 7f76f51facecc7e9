//! What time it is, by two clocks.

/// A moment by the wall clock, which people read and somebody may set, and by one that only goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// By the wall clock, ms since 1970.
    pub unix_ms: u64,
    /// By the monotonic clock, ms since any moment before.
    pub steady_ms: u64,
}

impl Now {
    /// A moment of a wall clock that nobody sets.
    pub fn undisturbed(unix_ms: u64) -> Self {
        Self {
            unix_ms,
            steady_ms: unix_ms,
        }
    }

    /// By how much the wall clock was set since `earlier`, in ms.
    pub(super) fn set_since(self, earlier: Self) -> i64 {
        let went = |now: u64, then: u64| i128::from(now) - i128::from(then);
        let set = went(self.unix_ms, earlier.unix_ms) - went(self.steady_ms, earlier.steady_ms);
        i64::try_from(set).unwrap_or_default()
    }
}

impl From<u64> for Now {
    fn from(unix_ms: u64) -> Self {
        Self::undisturbed(unix_ms)
    }
}
