//! What a difference may change for those who ask.

use crate::model::names;

/// What a difference may change. The order is that of how far it goes: what requests a rule gets may change everything
/// about their answers, words change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Which requests match a rule, and so anything about their answers.
    Matching,
    /// What the key of a request is, or which node of a site has it.
    Placement,
    /// Which sites are chosen, or how many are named.
    Site,
    /// How the engine reacts to what happens: breakers, probes, budgets, times that proxies are told.
    Operation,
    /// What people read, and nothing else.
    Words,
}

names! { Reach {
    Matching = "matching",
    Placement = "placement",
    Site = "site",
    Operation = "operation",
    Words = "words",
} }
