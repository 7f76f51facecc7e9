//! The oracle: what each site costs, in plain arithmetic.

use super::{NODES, SetUp, Told};

/// The oracle's bill of a site.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bill {
    pub(super) service: f64,
    pub(super) queue: f64,
    pub(super) miss: f64,
    pub(super) error: f64,
}

/// The number of observations that count as much as the prior, and the age in seconds from which they fade.
type Kind = (f64, f64);
const TIMES: Kind = (20.0, 30.0);
const FETCHES: Kind = (50.0, 120.0);
const ERRORS: Kind = (100.0, 120.0);
const HITS: Kind = (200.0, 120.0);
const LOAD_S: f64 = 5.0;

fn fade(age_s: f64, max_s: f64) -> f64 {
    0.5_f64.powf((age_s - max_s).max(0.0) / max_s)
}

/// How much of a number is observed.
fn share(count: f64, (prior, max_s): Kind, age_s: f64) -> f64 {
    count / (count + prior) * fade(age_s, max_s)
}

/// The value, how often it was observed, and its kind.
type Seen = (Option<f64>, f64, Kind);

/// The prior of a number: the lower median of the sites of which at least half as much is observed as of the best known, and
/// a tenth; and of what it was.
fn level(before: Option<f64>, seen: &[Seen], age_s: f64) -> Option<f64> {
    let share_of = |(value, count, kind): &Seen| value.map_or(0.0, |_| share(*count, *kind, age_s));
    let best = seen.iter().map(share_of).fold(0.0, f64::max);
    let is_known = |seen: &&Seen| share_of(seen) >= (best / 2.0).max(0.1);
    let known = seen.iter().filter(is_known);
    let mut values: Vec<f64> = known.filter_map(|(value, ..)| *value).collect();
    if values.is_empty() {
        return None;
    }
    values.extend(before);
    values.sort_by(f64::total_cmp);
    Some(values[(values.len() - 1) / 2])
}

/// Hits told long before all else, so that a site has not just begun, where it says enough to count by itself.
pub(super) fn before(told: &Told, nodes: u64) -> u32 {
    let all = u64::from(told.hits) * nodes + u64::from(told.misses);
    if all >= 1_000 { 250 } else { 0 }
}

/// Each kind of number of a site: service time, error ratio, miss ratio, fetch time.
fn seen(told: &Told, nodes: u64) -> [Seen; 4] {
    let hits = f64::from(told.hits) * nodes as f64;
    let (misses, failures) = (f64::from(told.misses), f64::from(told.failures));
    let before = f64::from(before(told, nodes));
    let attempts = hits + before + misses + failures;
    [
        ((hits > 0.0).then_some(told.hit_ms), hits, TIMES),
        (
            (attempts > 0.0).then(|| failures / attempts),
            attempts,
            ERRORS,
        ),
        // A thousand of them, or the site counts with its tier.
        (
            (before > 0.0).then(|| misses / (hits + before + misses)),
            hits + before + misses,
            HITS,
        ),
        (
            // What is usual for a hit is left out where it is known, and here nothing is yet.
            (misses > 0.0).then_some(told.fetch_ms),
            misses,
            FETCHES,
        ),
    ]
}

/// The bills `silence_s` seconds after all was told.
pub(super) fn oracle((told, silence_s): &SetUp) -> [Bill; 3] {
    let sites: Vec<[Seen; 4]> = told.iter().zip(NODES).map(|(t, n)| seen(t, n)).collect();
    // What stands before anything is measured, and what the first to be measured is compared with.
    let priors = [0.0, 0.001, 0.5, 40.0];
    let assumed = [Some(5.0), Some(0.001), None, None];
    let mut levels: [Option<f64>; 4] = [None; 4];
    if told
        .iter()
        .zip(NODES)
        .any(|(told, nodes)| before(told, nodes) > 0)
    {
        // By then nothing had failed.
        levels[1] = Some(0.0);
    }
    for second in 1..=*silence_s {
        for (at, known) in levels.iter_mut().enumerate() {
            let of_sites: Vec<Seen> = sites.iter().map(|site| site[at]).collect();
            let age_s = second as f64;
            *known = level(known.or(assumed[at]), &of_sites, age_s).or(*known);
        }
    }
    let age_s = *silence_s as f64;
    [0, 1, 2].map(|site| {
        let number = |at: usize| {
            let prior = levels[at].unwrap_or(priors[at]);
            let (value, count, kind) = sites[site][at];
            value.map_or(prior, |value| {
                prior + (value - prior) * share(count, kind, age_s)
            })
        };
        let waits = told[site].utilisation.map_or(0.0, |u| {
            let left = fade(age_s, LOAD_S);
            if left > 0.01 {
                left * u / (1.0 - u)
            } else {
                0.0
            }
        });
        Bill {
            service: 2.0 * number(0),
            queue: 0.5 * (number(0) * waits).min(500.0),
            miss: number(2) * number(3),
            error: 250.0 * number(1),
        }
    })
}

/// 5 ms, and 0.016 ms for every km of great circle.
pub(super) fn way_ms((lat, lon): (f64, f64)) -> f64 {
    let (lat, lon, lat_0, lon_0) = (
        lat.to_radians(),
        lon.to_radians(),
        50.0_f64.to_radians(),
        8.0_f64.to_radians(),
    );
    let cos = lat.sin() * lat_0.sin() + lat.cos() * lat_0.cos() * (lon - lon_0).cos();
    5.0 + 0.016 * 6_371.0 * cos.clamp(-1.0, 1.0).acos()
}
