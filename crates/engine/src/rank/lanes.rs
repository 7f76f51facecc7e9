//! From a vector to the lanes that matter: the one step that compilers do badly, so it is written twice.
//!
//! Few lanes matter. Among 64 races, a list kept from left to right would take in `k (1 + ln(64 / k))` of them, 12 for
//! `k = 3`, each a branch that cannot be predicted. So a threshold is found first, which the `k`-th best does not
//! exceed: the `k`-th least of the minima of eight groups of lanes. While at least `k` groups have a node, `k` lanes are
//! at or under it; and for `k = 3` only about 3.5 lanes are.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined is compiled for the instruction set of its caller"
)]

use super::race::Halves;
use super::{Block, LANES, Races};

/// Groups of lanes whose minima give the threshold, so the greatest `k` it serves.
const GROUPS: usize = 8;

/// For any processor.
pub(super) mod portable {
    use super::{Block, GROUPS, Halves, Races};

    /// Lanes among which the `k` best are, one bit each; more than those if `k` exceeds eight.
    #[inline(always)]
    pub(in super::super) fn few(races: &Races, k: usize) -> u64 {
        let threshold = threshold(races, k);
        let (rows, _) = races.as_flattened().as_chunks::<GROUPS>();
        let mut lanes = 0;
        for (row, races) in rows.iter().enumerate() {
            // Most rows have none, and to ask a whole row at once is what vectors do well.
            let mut any = false;
            for race in races {
                any |= *race <= threshold;
            }
            if any {
                for (lane, race) in races.iter().enumerate() {
                    lanes |= u64::from(*race <= threshold) << (row * GROUPS + lane);
                }
            }
        }
        lanes
    }

    #[inline(always)]
    fn threshold(races: &Races, k: usize) -> f32 {
        if k > GROUPS {
            return f32::MAX;
        }
        let (rows, _) = races.as_flattened().as_chunks::<GROUPS>();
        let mut minima = [f32::MAX; GROUPS];
        for row in rows {
            for (least, race) in minima.iter_mut().zip(row) {
                *least = if *race < *least { *race } else { *least };
            }
        }
        minima.sort_unstable_by(f32::total_cmp);
        minima.get(k - 1).copied().unwrap_or(f32::MAX)
    }

    /// Lanes whose bound is at most the limit, one bit each.
    #[inline(always)]
    pub(in super::super) fn within(block: &Block, key: Halves, limit: f32) -> u32 {
        let mut any = false;
        for bound in block.bounds(key) {
            any |= bound <= limit;
        }
        if any { bits(block, key, limit) } else { 0 }
    }

    /// A bit for each lane that is within the limit. Not inlined, because it spoils the vectors of the loop around it.
    #[inline(never)]
    fn bits(block: &Block, key: Halves, limit: f32) -> u32 {
        (0..)
            .zip(block.bounds(key))
            .fold(0, |lanes, (lane, bound)| {
                lanes | u32::from(bound <= limit) << lane
            })
    }
}

/// The same for AVX2. The calls are safe, because these functions are compiled for it.
#[cfg(target_arch = "x86_64")]
pub(super) mod avx2 {
    use super::{Block, GROUPS, Halves, LANES, Races};
    use std::arch::x86_64::{
        __m256, __m256i, _CMP_LE_OQ, _CMP_LT_OQ, _mm256_and_ps, _mm256_castps_si256,
        _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_cmpgt_epi32, _mm256_max_ps, _mm256_min_ps,
        _mm256_movemask_epi8, _mm256_packs_epi16, _mm256_packs_epi32, _mm256_permute_ps,
        _mm256_permute2f128_ps, _mm256_permutevar8x32_epi32, _mm256_set1_epi32, _mm256_set1_ps,
        _mm256_setr_epi32, _mm256_setr_ps, _mm256_setzero_si256, _mm256_sub_epi32,
    };

    /// As [`portable::few`](super::portable::few).
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(in super::super) fn few(races: &Races, k: usize) -> u64 {
        let [first, second, third, fourth] = races.each_ref().map(|lanes| load(lanes));
        let threshold = if k > GROUPS {
            _mm256_set1_ps(f32::MAX)
        } else {
            let minima = _mm256_min_ps(
                _mm256_min_ps(least(first), least(second)),
                _mm256_min_ps(least(third), least(fourth)),
            );
            // Padding is infinite, and stays above.
            _mm256_min_ps(kth_least(minima, k), _mm256_set1_ps(f32::MAX))
        };
        let low = bits(first, second, threshold);
        let high = bits(third, fourth, threshold);
        u64::from(low) | (u64::from(high) << 32)
    }

    /// As [`portable::within`](super::portable::within).
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(in super::super) fn within(block: &Block, key: Halves, limit: f32) -> u32 {
        let [a, b] = load(&block.bounds(key));
        let limit = _mm256_set1_ps(limit);
        let a = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LE_OQ>(a, limit));
        let b = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LE_OQ>(b, limit));
        let words = _mm256_packs_epi32(a, b);
        if _mm256_movemask_epi8(words) == 0 {
            return 0;
        }
        bits_of_words(words)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn least([a, b]: [__m256; 2]) -> __m256 {
        _mm256_min_ps(a, b)
    }

    /// The `k`-th least of eight values, in every lane. `k` is at most 8.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn kth_least(values: __m256, k: usize) -> __m256 {
        let turned = _mm256_permute2f128_ps::<1>(values, values);
        let mut below = _mm256_setzero_si256();
        // Each value meets the seven others: three turns within the halves, and four with the halves exchanged.
        for other in [
            _mm256_permute_ps::<0b00_11_10_01>(values),
            _mm256_permute_ps::<0b01_00_11_10>(values),
            _mm256_permute_ps::<0b10_01_00_11>(values),
            turned,
            _mm256_permute_ps::<0b00_11_10_01>(turned),
            _mm256_permute_ps::<0b01_00_11_10>(turned),
            _mm256_permute_ps::<0b10_01_00_11>(turned),
        ] {
            let less = _mm256_cmp_ps::<_CMP_LT_OQ>(other, values);
            below = _mm256_sub_epi32(below, _mm256_castps_si256(less));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "at most 8"
        )]
        let k = _mm256_set1_epi32(k as i32);
        // The greatest of those with fewer than `k` below them.
        let served = _mm256_and_ps(values, _mm256_castsi256_ps(_mm256_cmpgt_epi32(k, below)));
        let served = _mm256_max_ps(served, _mm256_permute2f128_ps::<1>(served, served));
        let served = _mm256_max_ps(served, _mm256_permute_ps::<0b01_00_11_10>(served));
        _mm256_max_ps(served, _mm256_permute_ps::<0b10_11_00_01>(served))
    }

    /// A bit for each of 32 lanes that is at most the threshold.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn bits([a, b]: [__m256; 2], [c, d]: [__m256; 2], threshold: __m256) -> u32 {
        let [a, b, c, d] = [a, b, c, d]
            .map(|row| _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LE_OQ>(row, threshold)));
        let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        // Packing works in halves: put the quarters of the rows back in order.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        _mm256_movemask_epi8(_mm256_permutevar8x32_epi32(bytes, order)).cast_unsigned()
    }

    /// A bit for each of 16 words, packed from two rows.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn bits_of_words(words: __m256i) -> u32 {
        let bytes = _mm256_packs_epi16(words, _mm256_setzero_si256());
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 3, 6, 7);
        _mm256_movemask_epi8(_mm256_permutevar8x32_epi32(bytes, order)).cast_unsigned()
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(lanes: &[f32; LANES]) -> [__m256; 2] {
        let (rows, _) = lanes.as_chunks::<8>();
        let row = |number: usize| match rows.get(number) {
            Some(&[l0, l1, l2, l3, l4, l5, l6, l7]) => {
                _mm256_setr_ps(l0, l1, l2, l3, l4, l5, l6, l7)
            }
            None => _mm256_set1_ps(f32::INFINITY),
        };
        [row(0), row(1)]
    }
}
