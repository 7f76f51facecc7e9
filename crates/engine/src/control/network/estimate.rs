//! What is common to a group's paths and what is special about each: the arithmetic.
//!
//! ```text
//! y(g,s) = geo(g,s) + o(g) + r(g,s) + noise
//! ```
//!
//! `o` is what every site pays (last mile, way of measuring), `r` what is special about one path. Both have priors; with
//! them `o` is a weighted mean and `r` what is left, shrunk (best linear unbiased prediction, Henderson 1975). Without `o`
//! a measured site would pay a last mile that its unmeasured neighbour does not, and groups would wander for ever.
//!
//! Detours are outliers: one of 200 ms is twelve deviations out. Taken at its word it would pull `o` up and make every
//! unmeasured site look better than all that were measured. So once several sites are measured, those far above the rest
//! count less in `o` (Huber's weights, squared). Far below cannot be: nothing is faster than what it has to pay.

/// What a last mile takes before any was measured, in ms: cable, DSL and mobile networks have 10 to 40.
pub(super) const USUAL_MS: f64 = 25.0;

/// A single measured path that is later than last miles can explain, by so many deviations, is a detour.
const UNEXPLAINED: f64 = 2.5;

/// How far groups' last miles differ from what is usual around them: standard deviation in ms.
pub(super) const OFFSET_DEVIATION_MS: f64 = 30.0;

/// How far paths differ from the geographic estimate: standard deviation, in ms and as a share of it.
const PATH_DEVIATION: (f64, f64) = (2.0, 0.15);

/// So many deviations above the rest a path counts less in what is common.
const OUTLIER: f64 = 2.0;

/// Rounds of that: each halves what is left to find, and 1 ms is enough.
const ROUNDS: u32 = 6;

/// The variance of what is special about a path with this geographic estimate, before anything is known of it.
pub(super) fn path_variance(geographic_ms: f64) -> f64 {
    let (least, share) = PATH_DEVIATION;
    let deviation = least + share * geographic_ms;
    deviation * deviation
}

/// A number and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Belief {
    pub(super) ms: f64,
    /// In ms².
    pub(super) variance: f64,
}

/// A path that was measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    /// By how much it takes longer than the geographic estimate, last mile included.
    pub(super) excess: Belief,
    /// What is assumed of it without that.
    pub(super) prior: Belief,
    /// How much less is assumed of it because it does not fit, as a variance beside the prior's.
    strange: f64,
}

impl Path {
    pub(super) fn new(excess: Belief, prior: Belief) -> Self {
        Self {
            excess,
            prior,
            strange: 0.0,
        }
    }

    /// How late it is beyond what is assumed of it.
    fn late_ms(&self) -> f64 {
        self.excess.ms - self.prior.ms
    }

    /// How far that may be off.
    fn variance(&self) -> f64 {
        self.prior.variance + self.strange + self.excess.variance
    }

    /// How well it fits what is common, 0 to 1.
    fn fit(&self, offset: Belief) -> f64 {
        trust((self.late_ms() - offset.ms) / libm::sqrt(self.variance()))
    }
}

/// What is common to the paths of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Offset {
    /// As far as is known.
    pub(super) belief: Belief,
    /// As far as its own paths say, without what is usual around it; `None` where none was measured. This is what other
    /// groups may learn from it: what it took from them would come back to them as news.
    pub(super) own: Option<Belief>,
    /// Whether these are several. What one path alone says of a last mile may be its detour, and then it is that of other
    /// networks of the cell too: they must not confirm each other.
    is_sure: bool,
}

impl Offset {
    /// What other networks of the cell may learn from it.
    pub(super) fn sure(&self) -> Option<Belief> {
        self.own.filter(|_| self.is_sure)
    }
}

/// What is common to the paths of a group, given what is usual around it. Of paths that do not fit less is assumed from
/// then on.
pub(super) fn offset(usual_ms: f64, paths: &mut [Path]) -> Offset {
    if let [only] = &mut *paths {
        doubt(usual_ms, only);
    }
    let usual_weight = 1.0 / (OFFSET_DEVIATION_MS * OFFSET_DEVIATION_MS);
    // One site alone cannot be told from the rest.
    let rounds = if paths.len() > 1 { ROUNDS } else { 0 };
    let mut offset = Belief {
        ms: usual_ms,
        variance: 1.0 / usual_weight,
    };
    let mut own = None;
    for round in 0..=rounds {
        let is_first = round == 0;
        // A network of phones may pay far more than is usual, if all sites say so.
        let strange = (offset.ms - usual_ms).abs() / OFFSET_DEVIATION_MS;
        let weight = if is_first { 1.0 } else { trust(strange) } * usual_weight;
        let (mut sum, mut weights) = (0.0, 0.0);
        for path in &*paths {
            let fit = if is_first { 1.0 } else { path.fit(offset) };
            let weight = fit / path.variance();
            sum += path.late_ms() * weight;
            weights += weight;
        }
        own = (weights > 0.0).then(|| Belief {
            ms: sum / weights,
            variance: 1.0 / weights,
        });
        sum += usual_ms * weight;
        weights += weight;
        offset = Belief {
            ms: sum / weights,
            variance: 1.0 / weights,
        };
    }
    if rounds > 0 {
        for path in paths {
            // A detour is not shrunk as what trembles around the distance is.
            path.strange += path.prior.variance * (1.0 / path.fit(offset) - 1.0);
        }
    }
    Offset {
        belief: offset,
        own,
        is_sure: rounds > 0,
    }
}

/// Takes the only measured path of a group for a detour as far as it is later than any last mile around explains.
///
/// With one path alone nothing tells the two apart but what is likely: a last mile 120 ms above the usual is four
/// deviations out, and one path in some thirty has a detour. Below 75 ms above the usual it is the last mile's until another
/// path is measured.
fn doubt(usual_ms: f64, path: &mut Path) {
    let spread = OFFSET_DEVIATION_MS * OFFSET_DEVIATION_MS;
    let all = spread + path.variance();
    let late_ms = (path.late_ms() - usual_ms).max(0.0);
    let unexplained = late_ms * late_ms - UNEXPLAINED * UNEXPLAINED * all;
    path.strange = unexplained.max(0.0);
}

/// How much something counts that lies so many deviations above the rest.
fn trust(deviations: f64) -> f64 {
    if deviations <= OUTLIER {
        return 1.0;
    }
    let ratio = OUTLIER / deviations;
    ratio * ratio
}

/// What is special about a path, given what is common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Special {
    pub(super) belief: Belief,
    /// How much of it is assumed, 0 to 1.
    pub(super) prior_share: f64,
    /// What would be believed if a path were never strange: from this one can see first that evidence has become too weak to
    /// speak against the path.
    pub(super) plain: Belief,
}

impl Special {
    /// What is assumed of a path that was not measured.
    pub(super) fn assumed(belief: Belief, prior_share: f64) -> Self {
        Self {
            belief,
            prior_share,
            plain: belief,
        }
    }

    pub(super) fn of(path: &Path, offset: Belief) -> Self {
        let believe = |variance: f64| {
            let share = variance / (variance + path.excess.variance);
            let belief = Belief {
                ms: path.prior.ms + share * (path.late_ms() - offset.ms),
                variance: variance * (1.0 - share) + share * share * offset.variance,
            };
            (belief, 1.0 - share)
        };
        let (belief, prior_share) = believe(path.prior.variance + path.strange);
        Self {
            belief,
            prior_share,
            plain: believe(path.prior.variance).0,
        }
    }
}

/// Several beliefs about one number together; each can be left out again, so that nobody hears himself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Together {
    sum: f64,
    weights: f64,
    count: u64,
}

impl Together {
    /// Takes in a belief that may itself be off by `variance` more.
    pub(super) fn add(&mut self, belief: Belief, variance: f64) {
        let weight = 1.0 / (belief.variance + variance);
        self.sum += belief.ms * weight;
        self.weights += weight;
        self.count += 1;
    }

    /// Takes out what was taken in.
    pub(super) fn remove(&mut self, belief: Belief, variance: f64) {
        let weight = 1.0 / (belief.variance + variance);
        self.sum -= belief.ms * weight;
        self.weights -= weight;
        self.count = self.count.saturating_sub(1);
    }

    /// What they say together, of which `prior` is assumed.
    pub(super) fn with(&self, prior: Belief) -> Belief {
        if self.count == 0 {
            return prior;
        }
        let weights = self.weights.max(0.0) + 1.0 / prior.variance;
        Belief {
            ms: (self.sum + prior.ms / prior.variance) / weights,
            variance: 1.0 / weights,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that is measured so well that nothing is left to doubt.
    fn path(geographic_ms: f64, excess_ms: f64) -> Path {
        let excess = Belief {
            ms: excess_ms,
            variance: 0.01,
        };
        let prior = Belief {
            ms: 0.0,
            variance: path_variance(geographic_ms),
        };
        Path::new(excess, prior)
    }

    fn specials(usual_ms: f64, paths: &[Path]) -> Vec<f64> {
        let mut paths = paths.to_vec();
        let offset = offset(usual_ms, &mut paths).belief;
        let special = |path| Special::of(path, offset).belief.ms;
        paths.iter().map(special).collect()
    }

    #[track_caller]
    fn near(a: f64, b: f64, within: f64) {
        assert!((a - b).abs() <= within, "{a} is not within {within} of {b}");
    }

    #[test]
    fn the_last_mile_of_one_measured_site_says_nothing_of_it() {
        // An ordinary line, and a slow one.
        near(specials(0.0, &[path(10.0, 25.0)])[0], 0.3, 0.05);
        near(specials(USUAL_MS, &[path(10.0, 90.0)])[0], 0.9, 0.1);
    }

    #[test]
    fn a_detour_is_suspected_and_then_known() {
        // One site alone: an ordinary line, a slow one, one that no line explains.
        for (late_ms, special_ms) in [
            (25.0, 0.0),
            (70.0, 0.5),
            (100.0, 1.0),
            (110.0, 54.0),
            (145.0, 108.0),
            (325.0, 297.0),
        ] {
            near(
                specials(USUAL_MS, &[path(10.0, late_ms)])[0],
                special_ms,
                4.0,
            );
        }
        // The next one is on time: it was the path.
        let [late, on_time] = specials(0.0, &[path(100.0, 300.0), path(120.0, 0.0)])[..] else {
            panic!("two paths");
        };
        near(late - on_time, 300.0, 1.0);
        near(on_time, 0.0, 10.0);
        // The next one is as late: it was the line.
        for late in specials(0.0, &[path(100.0, 300.0), path(120.0, 300.0)]) {
            near(late, 0.0, 10.0);
        }
    }

    #[test]
    fn two_detours_do_not_make_a_last_mile() {
        // Two sites of one country are badly connected, the third is not.
        let paths = [path(100.0, 200.0), path(110.0, 60.0), path(120.0, 0.0)];
        let all = specials(0.0, &paths);
        near(all[0] - all[2], 200.0, 1.0);
        near(all[1] - all[2], 60.0, 1.0);
        near(all[2], 0.0, 35.0);
    }

    #[test]
    fn a_shortcut_far_away_does_not_make_near_ones_late() {
        let paths = [path(10.0, 25.0), path(12.0, 25.0), path(130.0, -15.0)];
        let all = specials(0.0, &paths);
        near(all[0], 0.0, 1.5);
        near(all[1], 0.0, 1.5);
        near(all[2], -40.0, 3.0);
    }

    #[test]
    fn what_others_say_is_half_believed() {
        let prior = Belief {
            ms: 0.0,
            variance: 9.0,
        };
        let known = Belief {
            ms: 100.0,
            variance: 0.0001,
        };
        let mut together = Together::default();
        together.add(known, 9.0);
        near(together.with(prior).ms, 50.0, 0.1);
        together.add(known, 9.0);
        near(together.with(prior).ms, 66.7, 0.1);
        together.remove(known, 9.0);
        together.remove(known, 9.0);
        assert_eq!(together.with(prior), prior);
    }
}
