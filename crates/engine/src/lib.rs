//! The pure half: no clock, lock, file, environment or task. Everything here is a function of its arguments.
//!
//! Read in this order: [`query`] (what is asked), [`snapshot`] (all that is known), [`evaluate`] (the branching),
//! [`decision`] and [`explanation`] (two views of the outcome). Below them: [`policy`] and [`topology`] (documents
//! turned into tables), [`edition`] (one of each, which take effect together), [`score`] (where), [`rank`] and
//! [`mod@hash`] (who), [`geo`] (places).

pub mod assignment;
pub mod balance;
pub mod control;
pub mod date;
pub mod decision;
pub mod difference;
pub mod document;
pub mod edition;
pub mod evaluate;
pub mod examples;
pub mod explanation;
pub mod fleet;
pub mod freshness;
pub mod geo;
pub mod hash;
pub mod health;
pub mod lifecycle;
pub mod locate;
pub mod model;
pub mod nearest;
pub mod number;
pub mod plan;
pub mod policy;
pub mod publication;
pub mod query;
pub mod rank;
pub mod request;
pub mod rollout;
pub mod score;
pub mod signal;
pub mod snapshot;
pub mod time;
pub mod topology;

#[cfg(test)]
mod explorer;
