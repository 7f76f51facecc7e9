//! What is another byte in one state than in the state before: most of a fleet's is the same from one tenth of a second to the
//! next.

/// Bytes that are the same between two that are not, and yet go with them: writing where the next begins takes more.
const BRIDGED: usize = 12;

/// Bytes, and where they begin.
pub(super) type Run<'n> = (usize, &'n [u8]);

/// What differs, by where it begins; `None` where it is not worth it, or the length is another.
pub(super) fn between<'n>(old: &[u8], new: &'n [u8]) -> Option<Vec<Run<'n>>> {
    if old.len() != new.len() {
        return None;
    }
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let differing = old.iter().zip(new).enumerate();
    for (at, _) in differing.filter(|(_, (old, new))| old != new) {
        match runs.last_mut() {
            Some((_, end)) if at - *end <= BRIDGED => *end = at + 1,
            _ => runs.push((at, at + 1)),
        }
    }
    let size: usize = runs.iter().map(|(from, to)| to - from + BRIDGED).sum();
    let slices = runs.into_iter();
    let slices = slices.map(|(from, to)| (from, new.get(from..to).unwrap_or_default()));
    (size < new.len() / 2).then(|| slices.collect())
}

/// Puts bytes in their place; `None` where they have none.
pub(super) fn apply(state: &mut [u8], from: usize, bytes: &[u8]) -> Option<()> {
    let end = from.checked_add(bytes.len())?;
    state.get_mut(from..end)?.copy_from_slice(bytes);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_differs_makes_one_of_the_other(
            old in proptest::collection::vec(any::<u8>(), 0..400),
            changes in proptest::collection::vec((0..400_usize, any::<u8>()), 0..9),
        ) {
            let mut new = old.clone();
            for (at, byte) in changes {
                if let Some(place) = new.get_mut(at) {
                    *place = byte;
                }
            }
            if let Some(patch) = between(&old, &new) {
                let mut made = old.clone();
                for (from, bytes) in patch {
                    apply(&mut made, from, bytes).unwrap();
                }
                prop_assert_eq!(made, new);
            }
        }
    }

    #[test]
    fn what_has_no_place_is_not_put_anywhere() {
        let mut state = [0; 4];
        assert!(apply(&mut state, 3, &[1, 2]).is_none());
        assert!(apply(&mut state, usize::MAX, &[1]).is_none());
        assert_eq!(between(&state, &[0; 5]), None);
        assert_eq!(between(&[0; 99], &[0; 99]), Some(vec![]));
    }
}
