//! What the control loop did that an operator may want to know.

use crate::engine::health::breaker::{Cause, State};
use crate::engine::model::{NodeIndex, SiteIndex};
use crate::engine::policy::SetIndex;
use crate::engine::signal::Readmission;

/// Something that happened at a tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// A breaker changed its state.
    Breaker {
        /// The node.
        node: NodeIndex,
        /// What it is now.
        to: State,
        /// Why.
        cause: Cause,
        /// Whether it has opened too often to be trusted at once.
        flapping: bool,
    },
    /// A breaker is open, but its pool has lost too much weight already: the node stays in use.
    EjectionDenied {
        /// The node.
        node: NodeIndex,
    },
    /// Probes came to another verdict.
    Probe {
        /// The node.
        node: NodeIndex,
        /// What they found.
        healthy: bool,
    },
    /// A node's condition went to another level.
    Condition {
        /// The node.
        node: NodeIndex,
        /// 0 is the best.
        level: u8,
    },
    /// Nodes of a set are readmitted, or not any more.
    Readmission {
        /// The set.
        set: SetIndex,
        /// How far.
        to: Readmission,
    },
    /// A site's terms changed for decisions.
    SiteTerms {
        /// The site.
        site: SiteIndex,
    },
    /// This sidecar seems cut off, or not any more.
    Isolated(bool),
}
