//! The definition in `docs/hashing.md`, written down a second time, plainly and without the tricks of the first.

use tradewind_engine::hash::{KeyHash, NodeSeed};

pub(super) fn draw(key: KeyHash, seed: NodeSeed) -> u32 {
    let mixed = key.0 ^ seed.0;
    let (low, high) = (mixed & 0xffff_ffff, mixed >> 32);
    let mut x = low * 0xed5a_d4bb % (1 << 32);
    x = x ^ (x >> 11) ^ high;
    x = x * 0xac4c_1b51 % (1 << 32);
    x ^= x >> 15;
    x = x * 0x3184_8bab % (1 << 32);
    u32::try_from(x / 2).unwrap()
}

pub(super) fn exponential(draw: u32) -> f32 {
    let scale = 2.0_f32.powi(-31);
    let v = (draw as f32 + 0.5) * scale;
    let mut mantissa = ((0x7fff_ffff - draw) as f32 + 0.5) * scale;
    let mut k = 0.0;
    // The single nearest to sqrt(1/2), itself counted to the next piece.
    while mantissa <= std::f32::consts::FRAC_1_SQRT_2 {
        mantissa *= 2.0;
        k += 1.0;
    }
    let ratio = if k > 0.0 { 1.0 - mantissa } else { v } / (1.0 + mantissa);
    let square = ratio * ratio;
    let twice_atanh = ratio * (2.0 + square * (0.666_556_24 + square * 0.412_019_94));
    k * std::f32::consts::LN_2 + twice_atanh
}

/// Race bits and position of every node, best first.
pub(super) fn order(key: KeyHash, nodes: &[(NodeSeed, f32)]) -> Vec<(u32, u32)> {
    let mut order: Vec<(f32, u32)> = nodes
        .iter()
        .zip(0..)
        .map(|(&(seed, weight), position)| {
            (exponential(draw(key, seed)) * (1.0 / weight), position)
        })
        .collect();
    order.sort_by(|a, b| a.partial_cmp(b).unwrap());
    order
        .into_iter()
        .map(|(race, position)| (race.to_bits(), position))
        .collect()
}
