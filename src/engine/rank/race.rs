//! The definition of the race, one lane at a time, bit for bit as in `docs/hashing.md`.
//!
//! Node `i` draws an exponential time whose rate is its weight: `race = -ln(u) / weight`, `u` uniform in (0, 1) from
//! the key and the seed of the node. The smallest time wins, and node `i` wins with probability `weight_i / sum`.
//!
//! Only operations that IEEE 754 defines exactly are used: conversion of a 32-bit integer, add, subtract, multiply,
//! divide, each rounded to nearest even, in a written order. There is no call to a mathematics library and no fused
//! multiply-add, so every processor and every compiler gives the same bits. There is no branch either: each line of
//! these functions becomes one vector instruction where the kernel runs it over many lanes.

use crate::engine::hash::{KeyHash, NodeSeed};

/// Greatest weight of a node in the race; greater ones count as this. No unit.
pub const MAX_WEIGHT: f32 = 18_446_744_073_709_551_616.0;

/// Least weight of a node in the race; smaller ones, zero and NaN count as this. No unit. `MIN_WEIGHT * MAX_WEIGHT` is
/// 1, so that no race is ever zero, infinite or subnormal.
pub const MIN_WEIGHT: f32 = 1.0 / MAX_WEIGHT;

/// `E(v) >= v * (1 - 2^-20)` for every `v`, shown for all of them by the exhaustive test. The filter of the kernel
/// allows four times as much, for the two roundings of its own.
pub(super) const FILTER_SCALE: f32 = TWO_31 * (1.0 + 1.0 / 262_144.0);

const TWO_31: f32 = 2_147_483_648.0;
const LN_2: f32 = 0.693_147_2;

/// Coefficients of `2 atanh(s) / s = 2 + C1 z + C2 z^2`, `z = s^2`: relative minimax for `|s| <= (1 - r) / (1 + r)`,
/// `r = sqrt(1/2)`, rounded to single precision. Relative error 1.5e-7. All are positive, which makes each piece of the
/// logarithm monotone by construction; the 2 is exact, which makes small values exact.
const C1: f32 = 0.666_556_24;
const C2: f32 = 0.412_019_94;

/// Bits of the greatest single below `2^31 * sqrt(1/2) * 2`, less one step: where the pieces of the logarithm meet.
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
    let m = f32::from_bits(u.to_bits() + (k << 23));
    let numerator = if k == 0 { v } else { TWO_31 - m };
    let s = numerator / (TWO_31 + m);
    let z = s * s;
    let atanh = s * (2.0 + z * (C1 + z * C2));
    k.cast_signed() as f32 * LN_2 + atanh
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
