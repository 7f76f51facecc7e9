//! The same safe code compiled twice: for the baseline of the target, and for AVX2.
//!
//! Nothing here names a vector instruction. Loops run over the sixteen lanes of a [`Block`], and the compiler turns
//! them into vectors of whatever width the instruction set has. Since every operation of the race is exact, both
//! versions give the same bits; the tests compare them with the plain oracle.
//!
//! Two ways through a segment:
//! * Its first 64 lanes, when the list has room: the race of every lane, then a threshold that only a few of them pass.
//! * The rest: a lower bound of the race (no logarithm), and the race itself only for lanes whose bound beats the worst
//!   entry so far, about `k ln(N / 64)` of `N`.

use super::race::{self, FILTER_SCALE, Halves};
use super::top::{Entry, Top};
use super::{Block, LANES};

/// Which compiled version of the kernel runs. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Version);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Baseline,
    /// Made only where the processor was asked and has it.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

/// Blocks of which every lane is run at once: 64 lanes, so that one word can hold a bit for each.
const BLOCKS_AT_ONCE: usize = 4;

/// Groups of lanes whose minima give the threshold, so the greatest `k` it serves.
const GROUPS: usize = 8;

impl Kernel {
    /// The version for the baseline of the target: SSE2 on `x86_64`, NEON on `aarch64`.
    pub const fn baseline() -> Self {
        Self(Version::Baseline)
    }

    /// The fastest version this processor can run. Costs one load and a test.
    #[inline(always)]
    pub fn fastest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Self(Version::Avx2);
        }
        Self::baseline()
    }

    /// Runs the blocks, the first of which starts at lane `position`, into `top`.
    #[inline(always)]
    pub(super) fn run(self, blocks: &[Block], position: u32, key: Halves, top: &mut Top) {
        match self.0 {
            Version::Baseline => run_baseline(blocks, position, key, top),
            #[cfg(target_arch = "x86_64")]
            Version::Avx2 => {
                #[expect(unsafe_code, reason = "the call of a function compiled for AVX2")]
                // SAFETY: `Version::Avx2` is made in `fastest` only, after the processor said that it has AVX2.
                unsafe {
                    run_avx2(blocks, position, key, top);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2(blocks: &[Block], position: u32, key: Halves, top: &mut Top) {
    run_any(blocks, position, key, top);
}

fn run_baseline(blocks: &[Block], position: u32, key: Halves, top: &mut Top) {
    run_any(blocks, position, key, top);
}

#[inline(always)]
fn run_any(blocks: &[Block], position: u32, key: Halves, top: &mut Top) {
    if top.worst_race() < f32::MAX {
        run_filtered(blocks, position, key, top);
    } else {
        let (first, rest) = blocks.split_at(blocks.len().min(BLOCKS_AT_ONCE));
        run_all(first, position, key, top);
        run_filtered(rest, position + lanes_of(first.len()), key, top);
    }
}

/// Runs every lane of at most [`BLOCKS_AT_ONCE`] blocks.
#[inline(always)]
fn run_all(blocks: &[Block], position: u32, key: Halves, top: &mut Top) {
    let mut races = [[f32::INFINITY; LANES]; BLOCKS_AT_ONCE];
    for (races, block) in races.iter_mut().zip(blocks) {
        *races = block.races(key);
    }
    let threshold = threshold(&races, top);
    let races = races.as_flattened();

    // Bit b of byte g stands for lane 8 b + g, because that way a bit is a shift that is the same for a whole vector.
    let mut passed = [0_u32; GROUPS];
    for (bit, row) in races.as_chunks::<GROUPS>().0.iter().enumerate() {
        for (passed, race) in passed.iter_mut().zip(row) {
            *passed |= u32::from(*race <= threshold) << bit;
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "eight rows give eight bits"
    )]
    let mut bits = u64::from_le_bytes(passed.map(|byte| byte as u8));
    while bits != 0 {
        let bit = bits.trailing_zeros();
        bits &= bits - 1;
        let lane = (bit % 8) * 8 + bit / 8;
        if let Some(&race) = races.get(lane as usize) {
            top.insert(Entry {
                race,
                position: position + lane,
            });
        }
    }
}

/// A race that the `k`-th best of these lanes does not exceed, and few others reach: the `k`-th least of the minima of
/// eight groups of lanes. While at least `k` groups have a node, `k` lanes are at or under it. For `k = 3` about 3.5
/// lanes of 64 pass, where keeping a list from left to right would insert 12.
#[inline(always)]
fn threshold(races: &[[f32; LANES]; BLOCKS_AT_ONCE], top: &Top) -> f32 {
    if top.capacity() > GROUPS {
        return f32::MAX;
    }
    let mut minima = [f32::MAX; GROUPS];
    for row in races.as_flattened().as_chunks::<GROUPS>().0 {
        for (least, race) in minima.iter_mut().zip(row) {
            *least = if *race < *least { *race } else { *least };
        }
    }
    let mut rank = [0_u32; GROUPS];
    for other in minima {
        for (rank, own) in rank.iter_mut().zip(&minima) {
            *rank += u32::from(other < *own);
        }
    }
    let mut threshold = 0.0;
    for (rank, own) in rank.iter().zip(minima) {
        let served = if (*rank as usize) < top.capacity() {
            own
        } else {
            0.0
        };
        threshold = if served > threshold {
            served
        } else {
            threshold
        };
    }
    threshold
}

/// Runs those lanes only which may beat the worst entry.
#[inline(always)]
fn run_filtered(blocks: &[Block], position: u32, key: Halves, top: &mut Top) {
    let mut limit = top.worst_race() * FILTER_SCALE;
    let mut position = position;
    for block in blocks {
        let bounds = block.bounds(key);
        // `<=`, and padding is infinite or NaN: it passes neither way once the limit is finite.
        let mut any = false;
        for bound in bounds {
            any |= bound <= limit;
        }
        if any {
            for (lane, bound) in (0..).zip(bounds) {
                if bound <= limit {
                    let Some(race) = block.race(lane, key) else {
                        continue;
                    };
                    top.insert(Entry {
                        race,
                        position: position + lane,
                    });
                    limit = top.worst_race() * FILTER_SCALE;
                }
            }
        }
        position += lanes_of(1);
    }
}

impl Block {
    /// The race of every lane.
    #[inline(always)]
    fn races(&self, key: Halves) -> [f32; LANES] {
        let mut races = [0.0; LANES];
        for (((race, low), high), inverse) in races
            .iter_mut()
            .zip(&self.seed_low)
            .zip(&self.seed_high)
            .zip(&self.inverse)
        {
            let seed = Halves {
                low: *low,
                high: *high,
            };
            *race = race::race(key, seed, *inverse);
        }
        races
    }

    /// The lower bound of every lane.
    #[inline(always)]
    fn bounds(&self, key: Halves) -> [f32; LANES] {
        let mut bounds = [0.0; LANES];
        for (((bound, low), high), inverse) in bounds
            .iter_mut()
            .zip(&self.seed_low)
            .zip(&self.seed_high)
            .zip(&self.inverse)
        {
            let seed = Halves {
                low: *low,
                high: *high,
            };
            *bound = race::bound(key, seed, *inverse);
        }
        bounds
    }

    /// The race of one lane.
    #[inline(always)]
    pub(super) fn race(&self, lane: u32, key: Halves) -> Option<f32> {
        let lane = lane as usize;
        let seed = Halves {
            low: *self.seed_low.get(lane)?,
            high: *self.seed_high.get(lane)?,
        };
        Some(race::race(key, seed, *self.inverse.get(lane)?))
    }
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a table has fewer than 2^32 lanes"
)]
const fn lanes_of(blocks: usize) -> u32 {
    (blocks * LANES) as u32
}
