//! What workers take in and hand over: decisions asked for, and what is told of how they went.
//!
//! The [`decider`] decides, whichever door asks; one in so many is kept by [`recent`], with how its
//! [`attempts`] went; what is [`explained`] is neither counted nor kept. What is told comes through
//! [`feedback`], within the quotas of [`reporters`], and explained to [`explainers`] within theirs; [`tally`] and [`counters`] count. All of it reaches the writer by the
//! [`handover`].

pub mod attempts;
pub mod counters;
pub mod decider;
pub mod explained;
pub mod explainers;
pub mod feedback;
pub mod handover;
pub mod lanes;
pub mod recent;
pub mod reporters;
pub mod tally;
