//! The best few of a race, kept sorted on the stack.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined is compiled for the instruction set of its caller"
)]

/// A node that ran: its race and its lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// The time drawn, `-ln(u) / weight`, in units of 1 / weight. Positive and finite.
    pub race: f32,
    /// The lane of the node in its [`Columns`](super::Columns).
    pub position: u32,
}

/// The `k` best entries met so far, best first; ties go to the lower position. Ranking several segments into one `Top`
/// gives the best of all of them, in whatever order they are ranked.
#[derive(Clone, Debug)]
pub struct Top {
    /// Race bits above, position below, ascending; [`EMPTY`] past the entries met. Positive singles order as their bits
    /// do, so one integer comparison orders by race and then by position. Slots from `k` on are not shown: the one behind
    /// the last tells whether that one is tied, and the first four are always kept, for a loop of known length.
    slots: [u64; Top::CAPACITY + 1],
    /// Slots in use, 1..=CAPACITY.
    k: usize,
}

/// A slot without an entry: worse than any race that is finite, better than the infinite race of padding.
const EMPTY: u64 = ((f32::MAX.to_bits() as u64) << 32) | u32::MAX as u64;

impl Top {
    /// Most entries a list can hold: the copies of the hottest key (24) and a few excluded nodes.
    pub const CAPACITY: usize = 32;

    /// An empty list for the `k` best, clamped to `1..=CAPACITY`.
    pub const fn new(k: usize) -> Self {
        let k = match k {
            0 => 1,
            1..=Self::CAPACITY => k,
            _ => Self::CAPACITY,
        };
        Self {
            slots: [EMPTY; Self::CAPACITY + 1],
            k,
        }
    }

    /// Forgets all entries.
    pub fn clear(&mut self) {
        self.slots = [EMPTY; Self::CAPACITY + 1];
    }

    /// Entries wanted, 1..=CAPACITY.
    pub const fn capacity(&self) -> usize {
        self.k
    }

    /// Entries held, 0..=capacity.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether nothing has run yet.
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// The winner.
    pub fn first(&self) -> Option<Entry> {
        self.iter().next()
    }

    /// The entries, best first.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.slots
            .iter()
            .take(self.k)
            .take_while(|&&slot| slot != EMPTY)
            .map(|&slot| Entry::unpack(slot))
    }

    /// Whether two of the entries have the same race, or the last has the same as one that was left out.
    pub fn is_tied(&self) -> bool {
        let met = self.slots.iter().take(self.k + 1);
        let races = met
            .take_while(|&&slot| slot != EMPTY)
            .map(|slot| slot >> 32);
        !races.is_sorted_by(|a, b| a < b)
    }

    /// Holds these entries instead, best first, as far as there is room, and takes their order as it is. For a list that is
    /// ranked no further.
    pub fn hold(&mut self, entries: &[Entry]) {
        self.clear();
        for (slot, entry) in self.slots.iter_mut().zip(entries).take(self.k) {
            *slot = entry.pack();
        }
    }

    /// A race above this cannot enter: that of the last entry, or the greatest single while there is room.
    #[inline(always)]
    pub(super) fn worst_race(&self) -> f32 {
        let last = self.slots.get(self.k - 1).copied().unwrap_or(EMPTY);
        Entry::unpack(last).race
    }

    /// Puts an entry in its place and drops the worst, which may be the new one.
    #[inline(always)]
    pub(super) fn insert(&mut self, entry: Entry) {
        let mut carried = entry.pack();
        // Without branches: the place of a random entry cannot be predicted.
        let mut pass = |slot: &mut u64| {
            let better = carried.min(*slot);
            carried = carried.max(*slot);
            *slot = better;
        };
        let (few, more) = self.slots.split_at_mut(FEW);
        few.iter_mut().for_each(&mut pass);
        if self.k >= FEW {
            more.iter_mut().take(self.k - FEW + 1).for_each(pass);
        }
    }
}

/// Slots that are always kept: the usual fallback list has three entries.
const FEW: usize = 4;

impl Entry {
    #[inline(always)]
    fn pack(self) -> u64 {
        (u64::from(self.race.to_bits()) << 32) | u64::from(self.position)
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is the position"
    )]
    const fn unpack(slot: u64) -> Self {
        Self {
            race: f32::from_bits((slot >> 32) as u32),
            position: slot as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(top: &Top) -> Vec<(f32, u32)> {
        top.iter()
            .map(|entry| (entry.race, entry.position))
            .collect()
    }

    #[test]
    fn keeps_the_best_in_order_and_breaks_ties_by_position() {
        let mut top = Top::new(3);
        for (race, position) in [(2.0, 7), (1.0, 9), (3.0, 1), (1.0, 4), (0.5, 8)] {
            top.insert(Entry { race, position });
        }
        assert_eq!(held(&top), [(0.5, 8), (1.0, 4), (1.0, 9)]);
    }

    #[test]
    fn ties_are_seen_within_the_list_and_at_its_end() {
        for k in [1, 2, 3, 4, 5, 8, 31, 32] {
            let mut top = Top::new(k);
            let mut race = 0.5;
            for position in 0..40 {
                race += 1.0;
                top.insert(Entry { race, position });
            }
            assert!(!top.is_tied(), "k {k}");
            let last = top.iter().last().unwrap();
            let position = 99;
            let race = last.race;
            top.insert(Entry { race, position });
            assert!(
                top.is_tied(),
                "a tie with the last of {k} is left out and seen"
            );
            assert_eq!(top.iter().last(), Some(last));
        }
        let mut top = Top::new(5);
        assert!(!top.is_tied());
        for (race, position) in [(1.0, 3), (2.0, 9), (2.0, 4)] {
            top.insert(Entry { race, position });
        }
        assert!(top.is_tied());
        let turned =
            [(1.0, 3), (2.0, 9), (2.0, 4)].map(|(race, position)| Entry { race, position });
        top.hold(&turned);
        assert_eq!(held(&top), [(1.0, 3), (2.0, 9), (2.0, 4)]);
        top.hold(&[turned[0]]);
        assert_eq!(top.len(), 1);
    }

    #[test]
    fn padding_never_enters() {
        let mut top = Top::new(2);
        top.insert(Entry {
            race: f32::INFINITY,
            position: 0,
        });
        assert!(top.is_empty());
        assert_eq!(top.len(), 0);
    }

    #[test]
    fn k_is_clamped() {
        assert_eq!(Top::new(0).capacity(), 1);
        assert_eq!(Top::new(1_000).capacity(), Top::CAPACITY);
    }
}
