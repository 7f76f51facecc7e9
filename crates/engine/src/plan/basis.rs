//! What a plan rests on.

use serde::Serialize;

use crate::model::names;

/// What a plan rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Requests that were sent.
    Traffic,
    /// Requests that were made up. How many go somewhere says nothing of traffic; that one goes there does.
    Probes,
}

names! { Basis {
    Traffic = "traffic",
    Probes = "probes",
} }
