//! The centre of times that come one by one and are skewed, with how sure it is.
//!
//! Round trips are lognormal at best, with spikes. What is compared with them, the geographic estimate, is a line of
//! medians. So times are gathered in blocks of eight, and of each block the median counts: no single time moves it. Of 200
//! times around 44 ms (40 and a jitter of median 4, sigma 1; 2,000 runs) the mean is 2.6 ms too high, trimmed by a quarter
//! on each side 0.7 ms, the mean of the shortest half 0.7 ms too low, the median of blocks 0.5 ms too high, with about the
//! same noise (0.4 ms). With 5 % spikes of 300 ms it is 17.4, 1.5, -0.8 and 0.7 ms, the noise 4.7, 1.4, 1.1 and 0.9.
//!
//! Nothing turns or rotates: old times count less and less, half after an hour, and no more than so many count at all.

use arrayvec::ArrayVec;

use crate::number::from_u64;
use crate::time::Moment;

/// Times of one block.
const BLOCK: usize = 8;

/// The same as a number.
const BLOCK_COUNT: f32 = 8.0;

/// Times count half after so long, in ms: paths change by the day, load on them by the hour.
const HALF_LIFE_MS: f64 = 3_600_000.0;

/// No more times count than so many: their centre is known to about 1 ms, and a change shows within as many.
const MOST: f32 = 200.0;

/// What is assumed of the noise of one time before two blocks have shown it: 5 ms and a tenth of the time.
const ASSUMED_NOISE: (f32, f32) = (5.0, 0.1);

/// So many times count for that assumption.
const ASSUMED_COUNT: f32 = 2.0 * BLOCK_COUNT;

/// A block further from the centre than so many standard deviations is not believed at once; the second in a row on the
/// same side is: then the path has changed, and what was known of it is past.
const SURPRISE: f32 = 4.0;

/// After so long without any, in ms, few times are enough for that: what they contradict is old.
const GAP_MS: u64 = 600_000;

/// How many.
const FEW: usize = 3;

/// A centre in the making.
#[derive(Debug, Clone, Default)]
pub struct Centre {
    block: ArrayVec<f32, BLOCK>,
    /// Times of whole blocks, as far as they still count.
    count: f32,
    mean_ms: f32,
    /// The sum over these times of the squares of what their blocks were off.
    squares: f32,
    /// On which side the last block was a surprise, if it was.
    surprise: f32,
    /// Whether nothing came for a while before this block.
    is_late: bool,
    last: Moment,
}

/// A centre, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    /// The centre, in ms.
    pub ms: f64,
    /// Times that count.
    pub count: f64,
    /// The variance of the centre, in ms².
    pub variance: f64,
    /// When the last came.
    pub last: Moment,
}

impl Centre {
    /// Takes in a time in ms.
    pub fn add(&mut self, now: Moment, ms: f32) {
        let faded = fading(now.since(self.last));
        self.count *= faded;
        self.squares *= faded;
        self.is_late |= now.since(self.last) >= GAP_MS;
        self.last = now;
        self.block.push(ms);
        let median = median(&self.block);
        if self.block.is_full() {
            self.block.clear();
            self.fold(median);
        } else if self.is_late && self.block.len() >= FEW && self.surprise_of(median) != 0.0 {
            // What was known is old, and not so any more.
            self.begin(median, self.begun());
        }
    }

    /// Times in the block that is being filled.
    fn begun(&self) -> f32 {
        f32::from(u8::try_from(self.block.len()).unwrap_or(u8::MAX))
    }

    /// Knows nothing but so many times around this one.
    fn begin(&mut self, median_ms: f32, count: f32) {
        *self = Self {
            mean_ms: median_ms,
            count,
            last: self.last,
            ..Self::default()
        };
    }

    /// On which side the median of the block is a surprise, if it is.
    fn surprise_of(&self, median_ms: f32) -> f32 {
        if self.count <= 0.0 {
            return 0.0;
        }
        let noise = self.noise();
        let count = if self.block.is_empty() {
            BLOCK_COUNT
        } else {
            self.begun()
        };
        let limit = SURPRISE * (noise / count + noise / self.count).sqrt();
        let off = median_ms - self.mean_ms;
        if off.abs() > limit { off.signum() } else { 0.0 }
    }

    /// When the last time came.
    pub fn last(&self) -> Moment {
        self.last
    }

    fn fold(&mut self, median_ms: f32) {
        let is_late = std::mem::take(&mut self.is_late);
        let surprise = self.surprise_of(median_ms);
        if self.count <= 0.0 || surprise * self.surprise > 0.0 || (is_late && surprise != 0.0) {
            return self.begin(median_ms, BLOCK_COUNT);
        }
        self.surprise = surprise;
        let noise = self.noise();
        let limit = SURPRISE * (noise / BLOCK_COUNT + noise / self.count).sqrt();
        let off = (median_ms - self.mean_ms).clamp(-limit, limit);
        let all = self.count + BLOCK_COUNT;
        self.mean_ms += off * BLOCK_COUNT / all;
        self.squares += BLOCK_COUNT * off * off * self.count / all;
        self.count = all.min(MOST);
        self.squares *= self.count / all;
    }

    /// The variance of one time, such that the centre of so many of them has so many times less.
    fn noise(&self) -> f32 {
        let (least, share) = ASSUMED_NOISE;
        let level = if self.count > 0.0 {
            self.mean_ms
        } else {
            median(&self.block)
        };
        let assumed = (least + share * level) * (least + share * level);
        // A block's median has an eighth of it.
        (ASSUMED_COUNT * assumed + BLOCK_COUNT * self.squares) / (ASSUMED_COUNT + self.count)
    }

    /// What is known now; `None` before anything came.
    pub fn known(&self, now: Moment) -> Option<Known> {
        let begun = self.begun();
        let all = self.count + begun;
        if all <= 0.0 {
            return None;
        }
        let begun_ms = median(&self.block);
        let ms = (self.mean_ms * self.count + begun_ms * begun) / all;
        let count = f64::from(all * fading(now.since(self.last)));
        // Long ago is as good as never: the least keeps the division from running away.
        let count = count.max(1e-6);
        Some(Known {
            ms: f64::from(ms),
            count,
            variance: f64::from(self.noise()) / count,
            last: self.last,
        })
    }
}

/// How much a time of so many ms ago still counts.
fn fading(age_ms: u64) -> f32 {
    if age_ms == 0 {
        return 1.0;
    }
    crate::number::narrow(libm::exp2(-from_u64(age_ms) / HALF_LIFE_MS))
}

/// The median; 0 of nothing.
fn median(times: &[f32]) -> f32 {
    let mut sorted: ArrayVec<f32, BLOCK> = times.iter().copied().take(BLOCK).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied().unwrap_or(0.0);
    if sorted.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|at| sorted.get(at)).copied();
    lower.map_or(upper, |lower| f32::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::Rng as _;
    use proptest::test_runner::{RngAlgorithm, TestRng};

    use super::*;

    fn of(times: impl IntoIterator<Item = f32>) -> Centre {
        let mut centre = Centre::default();
        for (at, ms) in times.into_iter().enumerate() {
            centre.add(Moment(at as u64 * 100), ms);
        }
        centre
    }

    /// 40 ms and a jitter of median 4 (lognormal with deviation 1), with a spike of 300 ms for one in twenty.
    fn spiky(random: &mut TestRng) -> f32 {
        let mut unit = || f64::from(random.next_u32()) / f64::from(u32::MAX);
        let spike = if unit() < 0.05 { 300.0 } else { 0.0 };
        // Box and Muller 1958.
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - unit() * 0.999_999));
        let normal = radius * libm::cos(std::f64::consts::TAU * unit());
        crate::number::narrow(40.0 + 4.0 * libm::exp(normal) + spike)
    }

    #[test]
    fn spikes_do_not_move_it_and_it_knows_how_sure_it_is() {
        let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut within = 0;
        for _ in 0..2_000 {
            let centre = of((0..200).map(|_| spiky(&mut random)));
            let known = centre.known(Moment(20_000)).unwrap();
            assert!((known.ms - 44.3).abs() < 5.0, "{known:?}");
            within += i32::from((known.ms - 45.0).abs() < 2.0 * known.variance.sqrt());
        }
        assert!(within > 1_800, "{within} of 2,000 within two deviations");
    }

    #[test]
    fn no_more_than_so_many_count_and_half_after_an_hour() {
        let centre = of((0..1_000).map(|_| 50.0));
        let now = centre.last();
        let known = centre.known(now).unwrap();
        assert!(
            (known.count - 200.0).abs() < 0.1 && (known.ms - 50.0).abs() < 0.01,
            "{known:?}"
        );
        let later = centre.known(now.plus(3_600_000)).unwrap();
        assert!((later.count - 100.0).abs() < 0.1 && (later.ms - 50.0).abs() < 0.01);
        assert!((later.variance / known.variance - 2.0).abs() < 0.01);
        let never = centre.known(now.plus(3_600_000_000)).unwrap();
        assert!(never.variance > 1e6 && never.variance.is_finite());
    }

    #[test]
    fn after_a_pause_three_times_are_believed() {
        let mut centre = of((0..200).map(|_| 150.0));
        let later = centre.last().plus(1_500_000);
        centre.add(later, 30.0);
        centre.add(later, 31.0);
        assert!(centre.known(later).unwrap().ms > 100.0);
        centre.add(later, 32.0);
        let known = centre.known(later).unwrap();
        assert!(
            (known.ms - 31.0).abs() < 0.1 && known.count < 3.1,
            "{known:?}"
        );
    }

    #[test]
    fn one_strange_block_is_not_believed_and_two_are() {
        let strange = of((0..400).map(|k| if (200..208).contains(&k) { 250.0 } else { 50.0 }));
        assert!((strange.known(Moment(0)).unwrap().ms - 50.0).abs() < 1.0);
        let changed = of((0..216).map(|k| if k < 200 { 50.0 } else { 250.0 }));
        assert!((changed.known(Moment(0)).unwrap().ms - 250.0).abs() < 0.1);
    }
}
