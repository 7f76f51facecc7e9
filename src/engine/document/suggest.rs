//! "Did you mean …?": the known name that is nearest to one that nothing bears.

/// Names further apart than this many edits are not taken for each other.
const MAX_EDITS: usize = 2;

/// The nearest of `known`, if one is near enough to be meant; the first of several that are equally near.
pub(crate) fn nearest<'k>(seen: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let distances = known
        .into_iter()
        .map(|name| (edit_distance(name, seen), name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= MAX_EDITS).then_some(name)
}

fn edit_distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let [diagonal, above, left] =
                [row.get(j), row.get(j + 1), next.last()].map(|d| d.copied().unwrap_or(0));
            next.push(
                (diagonal + usize::from(ca != *cb))
                    .min(above + 1)
                    .min(left + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}
