//! "Did you mean …?": the known name that is nearest to one that nothing bears.

/// The nearest of `known`, if one is near enough to be meant; the first of several that are equally near.
pub fn nearest<'k>(seen: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let distances = known.into_iter().filter_map(|name| {
        let distance = distance(seen, name);
        (distance <= most_edits(seen, name)).then_some((distance, name))
    });
    let nearest = distances.min_by_key(|(distance, _)| *distance);
    nearest.map(|(_, name)| name)
}

/// How many edits two names may be apart and still be meant for each other: short ones differ by one letter easily.
fn most_edits(a: &str, b: &str) -> usize {
    match a.len().max(b.len()) {
        0..=2 => 0,
        3..=4 => 1,
        _ => 2,
    }
}

/// Edits that turn one name into the other, without case: a letter more, less or other, or two that changed places
/// (optimal string alignment); a large number for names of very different length.
fn distance(a: &str, b: &str) -> usize {
    let [a, b]: [Vec<char>; 2] = [a, b].map(|name| name.to_lowercase().chars().collect());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 2);
            let swapped =
                i > 0 && j > 0 && a.get(i - 1) == Some(other) && b.get(j - 1) == Some(letter);
            let swap = if swapped {
                at(&before, j - 1) + 1
            } else {
                usize::MAX
            };
            let change = at(&above, j) + usize::from(letter != other);
            let least = change.min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            row.push(least.min(swap));
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_seen_through() {
        for (seen, known, wanted) in [
            ("cuont", &["name", "count"][..], Some("count")),
            ("GTE", &["GET", "PUT"], Some("GET")),
            ("egde", &["edge", "egg"], Some("edge")),
            ("ownr", &["owner"], Some("owner")),
            ("FRA", &["fra"], Some("fra")),
            ("frb", &["par", "fra"], Some("fra")),
            ("xy", &["ab", "xz"], None),
            ("frankfurt", &["fra"], None),
            ("", &["a"], None),
            ("a", &[], None),
        ] {
            assert_eq!(nearest(seen, known.iter().copied()), wanted, "{seen}");
        }
    }

    #[test]
    fn distances_count_edits() {
        for (a, b, edits) in [
            ("edge", "edge", 0),
            ("edge", "edg", 1),
            ("egde", "edge", 1),
            ("abcd", "badc", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }
}
