//! A step function over addresses: from each start on a value holds, until the next start.
//!
//! It is the form in which ranges are merged: sorted by construction, adjacent equal values joined at once, so memory
//! follows what differs and not how many networks were read.

/// The value of addresses nobody said anything about.
pub(super) const NOTHING: u32 = u32::MAX;

/// An address as a number.
pub(super) trait Address: Copy + Ord {
    /// The lowest address.
    const ZERO: Self;
    /// The next address, or `None` after the highest.
    fn successor(self) -> Option<Self>;
}

impl Address for u32 {
    const ZERO: Self = 0;

    fn successor(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    const ZERO: Self = 0;

    fn successor(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// Starts, ascending, and the value that holds from each on. Before the first start nothing holds.
#[derive(Debug, Clone)]
pub(super) struct Steps<A> {
    starts: Vec<A>,
    values: Vec<u32>,
    /// The lowest address not covered by a range yet; `None` when the last range reached the highest address.
    free: Option<A>,
}

impl<A: Address> Steps<A> {
    pub(super) fn new() -> Self {
        Self {
            starts: Vec::new(),
            values: Vec::new(),
            free: Some(A::ZERO),
        }
    }

    /// None yet, with room for that many where there is room.
    pub(super) fn with_room(count: usize) -> Self {
        let mut steps = Self::new();
        // Without it, memory is copied when it must grow, and both copies are there for a moment.
        let _grows_later = (
            steps.starts.try_reserve_exact(count),
            steps.values.try_reserve_exact(count),
        );
        steps
    }

    /// Lets a value hold from `first` to `last`, both included. Returns false, and does nothing, if the range does not
    /// lie behind all earlier ones.
    pub(super) fn append(&mut self, first: A, last: A, value: u32) -> bool {
        let Some(free) = self.free else { return false };
        if first < free || last < first {
            return false;
        }
        if first > free {
            self.step(free, NOTHING);
        }
        self.step(first, value);
        self.free = last.successor();
        true
    }

    /// Lets a value hold from `start`, which must lie behind the last start, until further notice.
    fn step(&mut self, start: A, value: u32) {
        if self.values.last().copied().unwrap_or(NOTHING) != value {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    /// All steps, with the one that ends the last range.
    fn iter(&self) -> impl Iterator<Item = (A, u32)> {
        let is_open = self.values.last().is_some_and(|value| *value != NOTHING);
        let end = self.free.filter(|_| is_open).map(|free| (free, NOTHING));
        self.starts
            .iter()
            .copied()
            .zip(self.values.iter().copied())
            .chain(end)
    }

    /// Whether nothing was said about any address.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The same steps with other numbers for their values; different ones stay different.
    pub(super) fn renumbered(mut self, number: impl Fn(u32) -> u32) -> Self {
        for value in &mut self.values {
            if *value != NOTHING {
                *value = number(*value);
            }
        }
        self
    }

    /// The value of each step.
    pub(super) fn values(&self) -> &[u32] {
        &self.values
    }

    /// The steps as starts and values.
    pub(super) fn into_columns(mut self) -> (Vec<A>, Vec<u32>) {
        if let Some(free) = self.free {
            self.step(free, NOTHING);
        }
        (self.starts, self.values)
    }

    /// Number of ranges that have a value.
    pub(super) fn range_count(&self) -> usize {
        self.values
            .iter()
            .filter(|value| **value != NOTHING)
            .count()
    }
}

/// Joins several step functions into one whose values `join` makes of theirs, in one sweep over all starts.
pub(super) fn merge<A: Address>(
    parts: &[&Steps<A>],
    mut join: impl FnMut(&[u32]) -> u32,
) -> Steps<A> {
    let mut cursors: Vec<_> = parts.iter().map(|part| part.iter().peekable()).collect();
    let mut values = vec![NOTHING; parts.len()];
    let mut merged = Steps {
        starts: Vec::new(),
        values: Vec::new(),
        free: None,
    };
    while let Some(start) = cursors
        .iter_mut()
        .filter_map(|cursor| cursor.peek().map(|step| step.0))
        .min()
    {
        for (cursor, value) in cursors.iter_mut().zip(&mut values) {
            if let Some((_, next)) = cursor.next_if(|step| step.0 == start) {
                *value = next;
            }
        }
        merged.step(start, join(&values));
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(ranges: &[(u32, u32, u32)]) -> (Vec<u32>, Vec<u32>) {
        let mut steps = Steps::new();
        for &(first, last, value) in ranges {
            assert!(steps.append(first, last, value));
        }
        steps.into_columns()
    }

    #[test]
    fn adjacent_equal_ranges_are_joined_and_gaps_kept() {
        assert_eq!(
            columns(&[(0, 4, 7), (5, 9, 7), (20, 20, 7)]),
            (vec![0, 10, 20, 21], vec![7, NOTHING, 7, NOTHING])
        );
        assert_eq!(columns(&[(5, u32::MAX, 1)]), (vec![5], vec![1]));
        assert_eq!(columns(&[]), (vec![], vec![]));
    }

    #[test]
    fn ranges_out_of_order_are_refused() {
        let mut steps = Steps::<u32>::new();
        assert!(steps.append(10, 20, 1));
        assert!(!steps.append(20, 30, 1));
        assert!(!steps.append(40, 30, 1));
        assert!(steps.append(21, u32::MAX, 1));
        assert!(!steps.append(u32::MAX, u32::MAX, 1));
        assert_eq!(steps.range_count(), 1);
    }

    #[test]
    fn a_merge_sees_every_combination_once() {
        let mut one = Steps::<u32>::new();
        let mut two = Steps::<u32>::new();
        assert!(one.append(0, 9, 1) && two.append(5, 14, 10));
        let mut seen = Vec::new();
        let merged = merge(&[&one, &two], |values| {
            seen.push(values.to_vec());
            values.iter().filter(|value| **value != NOTHING).sum()
        });
        assert_eq!(
            merged.into_columns(),
            (vec![0, 5, 10, 15], vec![1, 11, 10, 0])
        );
        assert_eq!(
            seen,
            [[1, NOTHING], [1, 10], [NOTHING, 10], [NOTHING, NOTHING]]
        );
    }
}
