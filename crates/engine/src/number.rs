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

/// A real number as a count: rounded down, negative ones to 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates"
)]
pub fn to_u64(value: f64) -> u64 {
    value as u64
}

/// A share of 0 to 1 in 65,536ths; at least one of them where it is above 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates"
)]
pub fn share_of_u16(ratio: f64) -> u16 {
    let parts = (ratio * 65_536.0) as u16;
    if ratio > 0.0 { parts.max(1) } else { 0 }
}

/// A share of 0 to 1 in 256ths.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates"
)]
pub fn share_of_u8(ratio: f64) -> u8 {
    (ratio * 256.0) as u8
}

/// A count of microseconds in milliseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "times are believed up to ten minutes, and to six digits"
)]
pub fn us_to_ms(us: u64) -> f32 {
    us as f32 / 1_000.0
}
