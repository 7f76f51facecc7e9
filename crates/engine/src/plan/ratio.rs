//! Parts of wholes.

use crate::number::from_u64;

/// A part in percent; 0 of nothing.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    100.0 * share(part, whole)
}

/// A part as a share of 0 to 1; 0 of nothing.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    from_u64(part) / from_u64(whole)
}
