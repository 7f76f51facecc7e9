//! The last decisions, so that an outcome told later can be laid at the right door.

use crate::engine::model::{ClassIndex, NodeIndex};
use crate::engine::signal::observation::{DecisionNumber, Dispatch};

/// Decisions kept: a power of two. Several seconds of a busy sidecar, in 4 MB.
const KEPT: usize = 1 << 17;

/// What an outcome needs to know of its decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Recent {
    number: DecisionNumber,
    /// The generation of the snapshot it was made on.
    pub(super) generation: u64,
    /// The client's cell.
    pub(super) cell: Option<u32>,
    /// The content class.
    pub(super) class: ClassIndex,
    /// The node named first.
    pub(super) node: NodeIndex,
}

/// Each decision has one place, by its number; a later one with the same place takes it.
#[derive(Debug, Default)]
pub(super) struct RecentDecisions {
    places: Vec<Option<Recent>>,
}

impl RecentDecisions {
    /// Keeps a decision.
    pub(super) fn insert(&mut self, dispatch: &Dispatch) {
        if self.places.is_empty() {
            self.places = vec![None; KEPT];
        }
        if let Some(place) = self.places.get_mut(place_of(dispatch.number)) {
            *place = Some(Recent {
                number: dispatch.number,
                generation: dispatch.generation,
                cell: dispatch.cell,
                class: dispatch.class,
                node: dispatch.node,
            });
        }
    }

    /// The decision of that number, if it is not too long ago.
    pub(super) fn find(&self, number: DecisionNumber) -> Option<Recent> {
        let place = self.places.get(place_of(number))?;
        place.filter(|recent| recent.number == number)
    }

    /// Forgets everything: positions have other meanings now.
    pub(super) fn clear(&mut self) {
        self.places.clear();
    }
}

/// Numbers count up for each worker, whose own number is above: mixing keeps the workers apart.
#[expect(clippy::cast_possible_truncation, reason = "masked to the table")]
fn place_of(number: DecisionNumber) -> usize {
    let worker = number.0 >> 40;
    (number
        .0
        .wrapping_add(worker.wrapping_mul(0x9e37_79b9_7f4a_7c15)) as usize)
        & (KEPT - 1)
}
