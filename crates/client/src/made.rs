//! Decisions made here, for the outcomes that will be told of them: the sidecar, which did not make them, cannot know.

use std::sync::Mutex;

use tradewind_wire::proto::DecidedAlone;

/// Decisions by number, each of which has one place; a later one takes it. What is told of too late is told as of an unknown one.
#[derive(Debug)]
pub(super) struct Decisions {
    places: Box<[Mutex<Option<Made>>]>,
}

/// A decision made here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Made {
    pub(super) number: u64,
    /// The key that nodes were ranked by.
    pub(super) key: u64,
    pub(super) decided: DecidedAlone,
}

impl Decisions {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: (0..most.max(1)).map(|_| Mutex::default()).collect(),
        }
    }

    /// Keeps a decision. Where somebody is at its place just now, it is not kept: nobody waits.
    pub(super) fn put(&self, made: Made) {
        let place = self.place(made.number).map(Mutex::try_lock);
        if let Some(Ok(mut place)) = place {
            *place = Some(made);
        }
    }

    /// The decision of this number, if it is kept still.
    pub(super) fn get(&self, number: u64) -> Option<Made> {
        let place = self.place(number)?.try_lock().ok()?;
        place.filter(|made| made.number == number)
    }

    fn place(&self, number: u64) -> Option<&Mutex<Option<Made>>> {
        let count = u64::try_from(self.places.len()).ok()?;
        self.places.get(usize::try_from(number % count).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(number: u64) -> Made {
        Made {
            number,
            key: number * 3,
            decided: DecidedAlone::default(),
        }
    }

    #[test]
    fn decisions_are_kept_until_their_place_is_anothers() {
        let decisions = Decisions::new(4);
        assert_eq!(decisions.get(7), None);
        for number in 5..10 {
            decisions.put(made(number));
        }
        let found: Vec<_> = (5..10).map(|number| decisions.get(number)).collect();
        assert_eq!(
            found,
            [
                None,
                Some(made(6)),
                Some(made(7)),
                Some(made(8)),
                Some(made(9))
            ]
        );
    }
}
