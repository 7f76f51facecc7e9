//! What is known of the client when rules are matched.

use crate::geo::place::{Asn, Country};

/// Where the client comes from, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Origin {
    pub(super) country: Option<Country>,
    pub(super) asn: Option<Asn>,
}
