//! How often two sidecars would send a key to the same node, by what each knows of a site's nodes.

/// The share of keys that weighted rendezvous gives to the same node under both lists of weights, 0 to 1. A key's race at
/// a node ends after an exponential time of its weight, so the node wins under both with the chance that it wins one
/// where every other has the larger of its two weights, each relative to its own.
pub fn of(one: &[f64], other: &[f64]) -> f64 {
    if one == other {
        return 1.0;
    }
    let pairs = || one.iter().zip(other);
    let mut same = 0.0;
    for (w, v) in pairs() {
        if *w <= 0.0 || *v <= 0.0 {
            continue;
        }
        let rivals: f64 = pairs().map(|(a, b)| (a / w).max(b / v)).sum();
        same += 1.0 / rivals;
    }
    same
}

/// Agreement of any two, where so many have each list of weights.
pub fn of_groups(groups: &[(Vec<f64>, u64)]) -> f64 {
    let all: u64 = groups.iter().map(|(_, count)| count).sum();
    let pairs = |n: u64| n * n.saturating_sub(1) / 2;
    if pairs(all) == 0 {
        return 1.0;
    }
    let mut sum = 0.0;
    for (at, (one, count)) in groups.iter().enumerate() {
        sum += super::land::share(pairs(*count), 1);
        for (other, more) in groups.iter().skip(at + 1) {
            sum += of(one, other) * super::land::share(count * more, 1);
        }
    }
    sum / super::land::share(pairs(all), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lacks_one_of_forty_nodes_disagrees_on_its_keys() {
        let all = vec![1.0; 40];
        let mut less = all.clone();
        less[7] = 0.0;
        assert!((of(&all, &less) - 39.0 / 40.0).abs() < 1e-9);
        assert!((of(&all, &all) - 1.0).abs() < 1e-9);
        let groups = [(all, 3), (less, 1)];
        let expected = (3.0 + 3.0 * 39.0 / 40.0) / 6.0;
        assert!((of_groups(&groups) - expected).abs() < 1e-9);
    }
}
