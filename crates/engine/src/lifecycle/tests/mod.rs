//! The steward by itself: every transition, every short sequence of events, every moment at which its host may die.

mod clock;
mod crashes;
mod examples;
pub(super) mod inputs;
mod revisions;
mod rollouts;
mod sequences;
mod transitions;
