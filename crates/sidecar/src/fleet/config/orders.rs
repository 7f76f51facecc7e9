//! What the one who puts things in force is told to put in force, of what was published.

use tokio::sync::oneshot;

use tradewind_engine::edition::Which;
use tradewind_engine::lifecycle::{StateChange, StateChanged, StateError};

/// Something to be put in force here.
#[derive(Debug)]
pub enum Order {
    /// A policy or a topology.
    Text(TextOrder),
    /// The state of a node or site, or the end of one.
    State(StateChange, oneshot::Sender<Result<StateHeld, StateError>>),
}

/// A policy or a topology to be put in force.
#[derive(Debug)]
pub struct TextOrder {
    /// What it is.
    pub which: Which,
    /// The text.
    pub text: String,
    /// Its signature; empty where there is none.
    pub signature: String,
    /// Whether it may take away much of the fleet, or end a rollout.
    pub force: bool,
    /// Who wanted it.
    pub who: String,
    /// Why.
    pub why: String,
    /// Where to say what became of it.
    pub reply: oneshot::Sender<TextDone>,
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextDone {
    /// It is in force.
    InForce,
    /// It is not, and why.
    Refused(String),
    /// There is nothing to put it in force with yet.
    NotYet,
}

/// What became of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateHeld {
    /// What it came to.
    pub changed: StateChanged,
    /// Whether it is on disk.
    pub is_kept: bool,
}
