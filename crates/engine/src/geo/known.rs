//! What databases together say of a network, as far as decisions can tell it apart.

use super::cell::Cell;
use super::place::{Asn, Country};
use super::radius::RadiusClass;

/// What tells classes of clients apart. The order of the fields makes the order of the class table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Known {
    pub(super) cell: Option<Cell>,
    pub(super) country: Option<Country>,
    pub(super) asn: Option<Asn>,
    /// Of the location; a point where there is none.
    pub(super) radius: RadiusClass,
}

impl Known {
    pub(super) fn has_geography(&self) -> bool {
        self.cell.is_some() || self.country.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_geography() && self.asn.is_none()
    }
}
