//! Groups of clients that share their way to sites.

use super::cell::Cell;
use super::place::Asn;

/// Clients that share their way to sites, as far as anybody knows: those of one cell, and where it is known those of one
/// operator's network, for paths and last miles are the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// Where they are. A cell of the grid, so that it means the same whatever geo files are in use.
    pub cell: Cell,
    /// Whose network they are in; `None` for all of the cell.
    pub asn: Option<Asn>,
}

impl Group {
    /// All of the cell, in whatever network.
    #[must_use]
    pub fn whole_cell(self) -> Self {
        Self { asn: None, ..self }
    }
}
