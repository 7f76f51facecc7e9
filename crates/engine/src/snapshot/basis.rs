//! What the tables of a lane are made by, beside the parts of the snapshot.

use std::sync::Arc;

use super::Parts;
use crate::model::{ClassIndex, SiteIndex};
use crate::policy::{Numbered, Routing};
use crate::signal::Standing;

/// A lane's routing, what sets and classes of it are called, and by what the terms in the signals are weighed.
#[derive(Debug)]
pub(super) struct Basis {
    routing: Arc<Routing>,
    numbered: Arc<Numbered>,
    /// What the terms in the signals are weighed by, where that is not this routing's own score.
    weighed_by: Option<Arc<Routing>>,
}

impl Basis {
    /// That of a routing; the terms in the signals are weighed by the one that is in force.
    pub(super) fn new(
        routing: &Arc<Routing>,
        numbered: Arc<Numbered>,
        in_force: &Arc<Routing>,
    ) -> Self {
        Self {
            weighed_by: (routing.score() != in_force.score()).then(|| Arc::clone(in_force)),
            routing: Arc::clone(routing),
            numbered,
        }
    }

    /// Whether it is of this very routing.
    pub(super) fn is_of(&self, routing: &Arc<Routing>) -> bool {
        Arc::ptr_eq(&self.routing, routing)
    }

    /// Whether the same terms of the same routing come to the same by both.
    pub(super) fn weighs_as(&self, other: &Self) -> bool {
        match (&self.weighed_by, &other.weighed_by) {
            (None, None) => true,
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }

    /// How requests are routed.
    #[inline]
    pub(super) fn routing(&self) -> &Routing {
        &self.routing
    }

    /// What sets and classes are called in signals.
    #[inline]
    pub(super) fn numbered(&self) -> &Arc<Numbered> {
        &self.numbered
    }

    /// What is known of a site for a class, weighed by this routing's score; `None` while nothing is.
    pub(super) fn known_of(
        &self,
        parts: &Parts,
        class: ClassIndex,
        site: SiteIndex,
    ) -> Option<Standing> {
        let sites = parts.topology.sites().len();
        let class = self.numbered.class(class);
        let known = parts.signals.standing(class, site, sites)?;
        let Some(weighed_by) = &self.weighed_by else {
            return Some(*known);
        };
        let terms = self
            .routing
            .score()
            .reweigh(site, &known.terms, weighed_by.score());
        Some(Standing { terms, ..*known })
    }
}
