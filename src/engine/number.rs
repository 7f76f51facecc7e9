//! Conversions between numbers, each with the reason why nothing that matters is lost.

/// A count as a real number; exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts beyond 2^53 are only shown or compared roughly"
)]
pub fn from_u64(value: u64) -> f64 {
    value as f64
}

/// Whole milliseconds as a single; exact up to 2^24 ms (4.6 hours).
#[expect(
    clippy::cast_precision_loss,
    reason = "bounds are checked to be under 2^24 ms where this is used"
)]
pub fn ms_f32(ms: u64) -> f32 {
    ms as f32
}

/// A checked real number as a single.
#[expect(
    clippy::cast_possible_truncation,
    reason = "ranges are checked before; rounding to a single is meant"
)]
pub fn narrow(value: f64) -> f32 {
    value as f32
}

/// Bytes as gigabytes (10^9).
#[expect(
    clippy::cast_precision_loss,
    reason = "an expected size is an estimate"
)]
pub fn gigabytes(bytes: u64) -> f32 {
    bytes as f32 * 1e-9
}
