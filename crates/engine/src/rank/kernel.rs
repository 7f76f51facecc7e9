//! The same safe code compiled several times: for the baseline of the target, and for newer instruction sets.
//!
//! The race itself names no vector instruction. Loops run over the sixteen lanes of a [`Block`], and the compiler turns
//! them into vectors of whatever width there is. Since every operation of the race is exact, all versions give the same
//! bits; the tests compare them with a plain oracle. Only the step from a vector to the lanes that matter is written by
//! hand where that pays ([`lanes`](super::lanes)).
//!
//! Two ways through a segment:
//! * Its first 64 lanes, when the list has room: the race of every lane, then a threshold that only a few of them pass.
//! * The rest: a lower bound of the race (no logarithm), and the race itself only for lanes whose bound beats the worst
//!   entry so far, about `k ln(N / 64)` of `N`.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined is compiled for the instruction set of its caller"
)]

#[cfg(target_arch = "x86_64")]
use super::lanes::avx2;
use super::lanes::portable;
use super::race::{self, FILTER_SCALE, Halves};
use super::top::{Entry, Top};
use super::{BLOCKS_AT_ONCE, Block, LANES, Races};

/// Which compiled version of the kernel runs. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Version);

/// Versions other than the baseline are made only where the processor was asked and has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Sse41,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

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
        } else if std::arch::is_x86_feature_detected!("sse4.1") {
            return Self(Version::Sse41);
        }
        Self::baseline()
    }

    /// All versions this processor can run, the slowest first: for measuring, and for tests that compare them.
    pub fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let newer = [
            (
                std::arch::is_x86_feature_detected!("sse4.1"),
                Version::Sse41,
            ),
            (std::arch::is_x86_feature_detected!("avx2"), Version::Avx2),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let newer: [(bool, Version); 0] = [];
        std::iter::once((true, Version::Baseline))
            .chain(newer)
            .filter(|(present, _)| *present)
            .map(|(_, version)| Self(version))
            .collect()
    }

    /// Name of the instruction set, for tables of measurements.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Version::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            Version::Sse41 => "sse4.1",
            #[cfg(target_arch = "x86_64")]
            Version::Avx2 => "avx2",
        }
    }

    /// Runs the blocks, the first of which starts at lane `position`, into `top`.
    #[inline(always)]
    #[cfg_attr(
        target_arch = "x86_64",
        expect(
            unsafe_code,
            reason = "calls of functions compiled for newer processors"
        )
    )]
    pub(super) fn run(self, blocks: &[Block], position: u32, key: Halves, top: &mut Top) {
        match self.0 {
            Version::Baseline => run_baseline(blocks, position, key, top),
            // SAFETY: this value is made in `fastest` and `all` only, after the processor said that it has SSE4.1.
            #[cfg(target_arch = "x86_64")]
            Version::Sse41 => unsafe { run_sse41(blocks, position, key, top) },
            // SAFETY: this value is made in `fastest` and `all` only, after the processor said that it has AVX2.
            #[cfg(target_arch = "x86_64")]
            Version::Avx2 => unsafe { run_avx2(blocks, position, key, top) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2(blocks: &[Block], position: u32, key: Halves, top: &mut Top) {
    let choice = Choice {
        few: |races: &Races, k: usize| avx2::few(races, k),
        within: |block: &Block, key: Halves, limit: f32| avx2::within(block, key, limit),
    };
    run(&choice, blocks, position, key, top);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.1")]
fn run_sse41(blocks: &[Block], position: u32, key: Halves, top: &mut Top) {
    run(&PORTABLE, blocks, position, key, top);
}

fn run_baseline(blocks: &[Block], position: u32, key: Halves, top: &mut Top) {
    run(&PORTABLE, blocks, position, key, top);
}

/// From a vector to the lanes that matter. A choice may let too many lanes pass, for the list decides; so the versions
/// need not agree in it.
struct Choice<Few, Within> {
    /// Lanes among which the `k` best are, one bit each.
    few: Few,
    /// Lanes whose bound is at most the limit, one bit each. NaN is not.
    within: Within,
}

type PortableChoice = Choice<fn(&Races, usize) -> u64, fn(&Block, Halves, f32) -> u32>;

const PORTABLE: PortableChoice = Choice {
    few: portable::few,
    within: portable::within,
};

#[inline(always)]
fn run<Few, Within>(
    choice: &Choice<Few, Within>,
    blocks: &[Block],
    position: u32,
    key: Halves,
    top: &mut Top,
) where
    Few: Fn(&Races, usize) -> u64,
    Within: Fn(&Block, Halves, f32) -> u32,
{
    let mut start = 0;
    if top.worst_race() >= f32::MAX {
        start = blocks.len().min(BLOCKS_AT_ONCE);
        let (first, _) = blocks.split_at(start);
        run_all(&choice.few, first, position, key, top);
    }
    let (_, rest) = blocks.split_at(start);
    run_filtered(&choice.within, rest, position + lanes_of(start), key, top);
}

/// Runs every lane of at most [`BLOCKS_AT_ONCE`] blocks.
#[inline(always)]
fn run_all(
    few: &impl Fn(&Races, usize) -> u64,
    blocks: &[Block],
    position: u32,
    key: Halves,
    top: &mut Top,
) {
    let mut races = [[f32::INFINITY; LANES]; BLOCKS_AT_ONCE];
    for (races, block) in races.iter_mut().zip(blocks) {
        *races = block.races(key);
    }
    let mut lanes = few(&races, top.capacity());
    let races = races.as_flattened();
    while lanes != 0 {
        let lane = lanes.trailing_zeros();
        lanes &= lanes - 1;
        if let Some(&race) = races.get(lane as usize) {
            top.insert(Entry {
                race,
                position: position + lane,
            });
        }
    }
}

/// Runs those lanes only which may beat the worst entry.
#[inline(always)]
fn run_filtered(
    within: &impl Fn(&Block, Halves, f32) -> u32,
    mut blocks: &[Block],
    mut position: u32,
    key: Halves,
    top: &mut Top,
) {
    loop {
        let limit = top.worst_race() * FILTER_SCALE;
        // A loop of its own, so that the compiler keeps its constants in registers.
        let mut passed = 0;
        let mut found = None;
        for (skipped, block) in blocks.iter().enumerate() {
            passed = within(block, key, limit);
            if passed != 0 {
                found = Some((skipped, block));
                break;
            }
        }
        let Some((skipped, block)) = found else {
            return;
        };
        position += lanes_of(skipped);
        block.run_lanes(passed, position, key, top);
        position += lanes_of(1);
        blocks = blocks.get(skipped + 1..).unwrap_or_default();
    }
}

impl Block {
    /// The race of every lane.
    #[inline(always)]
    fn races(&self, key: Halves) -> [f32; LANES] {
        self.each_lane(|seed, inverse| race::race(key, seed, inverse))
    }

    /// The lower bound of every lane.
    #[inline(always)]
    pub(super) fn bounds(&self, key: Halves) -> [f32; LANES] {
        self.each_lane(|seed, inverse| race::bound(key, seed, inverse))
    }

    #[inline(always)]
    fn each_lane(&self, value: impl Fn(Halves, f32) -> f32) -> [f32; LANES] {
        let mut values = [0.0; LANES];
        for (((result, low), high), inverse) in values
            .iter_mut()
            .zip(&self.seed_low)
            .zip(&self.seed_high)
            .zip(&self.inverse)
        {
            let seed = Halves {
                low: *low,
                high: *high,
            };
            *result = value(seed, *inverse);
        }
        values
    }

    /// Runs the lanes whose bits are set. Not inlined, so that its constants do not crowd out those of the filter.
    #[inline(never)]
    fn run_lanes(&self, mut lanes: u32, position: u32, key: Halves, top: &mut Top) {
        while lanes != 0 {
            let lane = lanes.trailing_zeros();
            lanes &= lanes - 1;
            if let Some(race) = self.race(lane as usize, key) {
                top.insert(Entry {
                    race,
                    position: position + lane,
                });
            }
        }
    }

    /// The race of one lane.
    #[inline(always)]
    pub(super) fn race(&self, lane: usize, key: Halves) -> Option<f32> {
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
