//! What an outcome counts as for its node and site.

/// What an outcome counts as for its node and site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bearing {
    /// A success.
    Good,
    /// A failure.
    Bad,
    /// A failure that has counted already: the object is not known to be good.
    Repeated,
    /// A failure that is the object's own.
    Excused,
    /// Neither: the node has too much to do, or the client asks too much.
    Busy,
}
