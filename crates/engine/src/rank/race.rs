//! The definition of the race, one lane at a time, bit for bit as in `docs/hashing.md`.
//!
//! Node `i` draws an exponential time whose rate is its weight: `race = -ln(u) / weight`, `u` uniform in (0, 1) from
//! the key and the seed of the node. The smallest time wins, and node `i` wins with probability `weight_i / sum`.
//!
//! Only operations that IEEE 754 defines exactly are used: conversion of a 32-bit integer, add, subtract, multiply,
//! divide, each rounded to nearest even, in a written order. There is no call to a mathematics library and no fused
//! multiply-add, so every processor and every compiler gives the same bits. There is no branch either: each line of
//! these functions becomes one vector instruction where the kernel runs it over many lanes.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined is compiled for the instruction set of its caller"
)]

use crate::hash::{KeyHash, NodeSeed};
use std::f32::consts::LN_2;

/// Greatest weight of a node in the race, 2^64; greater ones count as this. No unit.
pub const MAX_WEIGHT: f32 = f32::from_bits(0x5f80_0000);

/// Least weight of a node in the race, 2^-64; smaller ones, zero and NaN count as this. No unit. `MIN_WEIGHT * MAX_WEIGHT` is
/// 1, so that no race is ever zero, infinite or subnormal.
pub const MIN_WEIGHT: f32 = 1.0 / MAX_WEIGHT;

/// What a worst race is multiplied by to give the limit of [`bound`]. `E(v) >= v` for every draw, as the exhaustive test
/// shows; the 2^-18 on top is for the roundings on the way, at most 2^-24 each.
pub(super) const FILTER_SCALE: f32 = TWO_31 * (1.0 + 1.0 / 262_144.0);

const TWO_31: f32 = f32::from_bits(0x4f00_0000);

/// Coefficients of `2 atanh(s) / s = 2 + C1 z + C2 z^2`, `z = s^2`: relative minimax for `|s| <= (1 - r) / (1 + r)`,
/// `r = sqrt(1/2)`, rounded to single precision. Relative error 1.5e-7. All are positive, which makes each piece of the
/// logarithm monotone by construction; the 2 is exact, which makes small values exact.
const C1: f32 = 0.666_556_24;
const C2: f32 = 0.412_019_94;

/// Bits of `2^31 sqrt(2)`, rounded to nearest: the pieces of the logarithm meet at this times powers of two.
const TOP_BITS: u32 = 0x4f35_04f3;

/// The two halves of a key or a seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Halves {
    pub(super) low: u32,
    pub(super) high: u32,
}

impl Halves {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    const fn of(bits: u64) -> Self {
        Self {
            low: bits as u32,
            high: (bits >> 32) as u32,
        }
    }

    pub(super) const fn of_key(key: KeyHash) -> Self {
        Self::of(key.0)
    }

    pub(super) const fn of_seed(seed: NodeSeed) -> Self {
        Self::of(seed.0)
    }
}

/// The draw of a node for a key: 31 bits, uniform. Three multiplications as in the `triple32` finaliser of Chris
/// Wellons (hash-prospector), with the second half of the input added after the first of them.
#[inline(always)]
pub(super) const fn draw(key: Halves, seed: Halves) -> i32 {
    let mut x = (seed.low ^ key.low).wrapping_mul(0xed5a_d4bb);
    x ^= x >> 11;
    x ^= seed.high ^ key.high;
    x = x.wrapping_mul(0xac4c_1b51);
    x ^= x >> 15;
    x = x.wrapping_mul(0x3184_8bab);
    (x >> 1).cast_signed()
}

/// `E(v) = -ln(1 - v)` for `v = (draw + 1/2) / 2^31`: finite, positive, and monotone in `draw`.
///
/// Both `v` and `u = 1 - v` are rounded from the integer, so the relative precision holds at either end. With
/// `u = 2^-k m`, `m` in `(sqrt(1/2), sqrt(2)]`: `E = k ln 2 + 2 atanh((1 - m) / (1 + m))`, and for `k = 0` the
/// numerator is `v` itself. Everything is scaled by `2^31`, which spares the scaling.
#[inline(always)]
#[expect(
    clippy::cast_precision_loss,
    reason = "the rounding to nearest even is part of the definition"
)]
pub(super) const fn exponential(draw: i32) -> f32 {
    let v = draw as f32 + 0.5;
    let u = (0x7fff_ffff ^ draw) as f32 + 0.5;
    let k = (TOP_BITS - u.to_bits()) >> 23;
    let mantissa = f32::from_bits(u.to_bits() + (k << 23));
    let numerator = if k == 0 { v } else { TWO_31 - mantissa };
    let ratio = numerator / (TWO_31 + mantissa);
    let square = ratio * ratio;
    let twice_atanh = ratio * (2.0 + square * (C1 + square * C2));
    k.cast_signed() as f32 * LN_2 + twice_atanh
}

/// `1 / weight`, the weight clamped to `MIN_WEIGHT..=MAX_WEIGHT`.
#[inline(always)]
pub(super) const fn inverse(weight: f32) -> f32 {
    // `max` gives the other one for NaN, so that NaN is the least weight.
    1.0 / weight.max(MIN_WEIGHT).min(MAX_WEIGHT)
}

/// The race of one node: positive and finite, unless `inverse` is infinite (padding), where it is infinite.
#[inline(always)]
pub(super) const fn race(key: Halves, seed: Halves, inverse: f32) -> f32 {
    exponential(draw(key, seed)) * inverse
}

/// A lower bound of `race * FILTER_SCALE`, at a third of the cost. NaN or infinite for padding.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "a bound needs no exactness")]
pub(super) const fn bound(key: Halves, seed: Halves, inverse: f32) -> f32 {
    draw(key, seed) as f32 * inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: i32 = i32::MAX;

    fn exact(draw: i32) -> f64 {
        -f64::ln_1p(-((f64::from(draw) + 0.5) / f64::from(TWO_31)))
    }

    #[derive(Debug, Default)]
    struct Faults {
        relative_error: f64,
        worst_draw: i32,
        /// Draws whose `E` is less than `v`, which the filter takes for a lower bound.
        below_v: u64,
        /// Draws whose `E` is less than that of the draw before.
        falls: u64,
    }

    /// Checks `E` for the draws given, which ascend.
    fn faults(draws: impl Iterator<Item = i32>) -> Faults {
        let mut faults = Faults::default();
        let mut before = 0.0;
        for draw in draws {
            let e = exponential(draw);
            assert!(e > 0.0 && e.is_finite(), "draw {draw}: {e}");
            let v = (f64::from(draw) + 0.5) / f64::from(TWO_31);
            let error = (f64::from(e) / exact(draw) - 1.0).abs();
            if error > faults.relative_error {
                (faults.relative_error, faults.worst_draw) = (error, draw);
            }
            faults.below_v += u64::from(f64::from(e) < v);
            faults.falls += u64::from(e < before);
            before = e;
        }
        faults
    }

    fn assert_sound(faults: &Faults) {
        assert!(faults.relative_error < 4.6e-7, "{faults:?}");
        assert_eq!(faults.below_v, 0, "{faults:?}");
        assert_eq!(faults.falls, 0, "{faults:?}");
    }

    #[test]
    fn the_logarithm_is_sound_where_it_could_break() {
        // Both ends, every meeting of two pieces, and a sample of the rest.
        let mut draws: Vec<i32> = (0..5_000).chain(LAST - 5_000..=LAST).collect();
        for k in 0..31 {
            let meeting = f64::from(TWO_31) * (1.0 - f64::from(k).exp2().recip() * 0.5_f64.sqrt());
            #[expect(clippy::cast_possible_truncation, reason = "below 2^31")]
            let near = (meeting as i32).min(LAST - 500);
            draws.extend(near - 500..near + 500);
        }
        draws.extend((0..LAST).step_by(9_973));
        draws.sort_unstable();
        assert_sound(&faults(draws.into_iter()));
    }

    /// All 2^31 draws: `cargo test --release --lib -- --ignored --nocapture every_draw`, half a minute.
    #[test]
    #[ignore = "takes half a minute in release mode"]
    fn the_logarithm_is_sound_for_every_draw() {
        let faults = faults(0..=LAST);
        println!("{faults:?}");
        assert_sound(&faults);
    }

    #[test]
    fn the_ends_are_what_they_should_be() {
        assert_eq!(exponential(0).to_bits(), (-32_f32).exp2().to_bits());
        assert_eq!(exponential(LAST).to_bits(), (32.0 * LN_2).to_bits());
    }

    #[test]
    fn any_weight_gives_a_race() {
        let key = Halves::of_key(KeyHash(1));
        let seed = Halves::of_seed(NodeSeed(2));
        for weight in [
            0.0,
            -1.0,
            f32::NAN,
            f32::MIN_POSITIVE,
            f32::MAX,
            f32::INFINITY,
        ] {
            let race = race(key, seed, inverse(weight));
            assert!(race.is_normal() && race > 0.0, "weight {weight}: {race}");
        }
        let least = exponential(0) * inverse(MAX_WEIGHT);
        let greatest = exponential(LAST) * inverse(MIN_WEIGHT);
        assert!(least.is_normal() && greatest.is_normal());
        assert!(inverse(0.0) > inverse(1.0) && inverse(1.0) > inverse(f32::INFINITY));
    }

    #[test]
    fn padding_is_infinite_and_its_bound_never_small() {
        let key = Halves::of_key(KeyHash(7));
        let seed = Halves::of_seed(NodeSeed(7));
        assert_eq!(
            draw(key, seed),
            0,
            "equal halves give the draw 0, the worst case"
        );
        assert!(race(key, seed, f32::INFINITY).is_infinite());
        assert!(bound(key, seed, f32::INFINITY).is_nan());
    }
}
