//! What the one who puts things in force is told to put in force, of what was published.

use tokio::sync::oneshot;

use tradewind_engine::lifecycle::{StateChange, StateChanged, StateError};

/// An edition to be put in force here.
#[derive(Debug)]
pub struct EditionOrder {
    /// Its policy, if it has one.
    pub policy: Option<Text>,
    /// Its topology, if it has one.
    pub topology: Option<Text>,
    /// Who wanted it.
    pub who: String,
    /// Why.
    pub why: String,
    /// Where to say what became of it.
    pub reply: oneshot::Sender<Done>,
}

/// A text of an edition.
#[derive(Debug, Clone)]
pub struct Text {
    /// What it says.
    pub text: String,
    /// Its signature; empty where there is none.
    pub signature: String,
    /// Whether it may take away much of the fleet, or end a rollout.
    pub force: bool,
}

/// What became of an edition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It is in force.
    InForce,
    /// It is not, and why.
    Refused(String),
    /// It is not, and why; that passes.
    NotYet(String),
}

/// The state of a node or site to be set here, or ended.
#[derive(Debug)]
pub struct StateOrder {
    /// What is to be so.
    pub change: StateChange,
    /// Whether it was just told. Else it is looked at first whether it is so already, and nobody is told that it was set.
    pub is_news: bool,
    /// Where to say what became of it.
    pub reply: oneshot::Sender<Held>,
}

/// What became of a state; `None` where it was so already.
pub type Held = Result<Option<StateHeld>, StateError>;

/// What setting a state came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateHeld {
    /// What it came to.
    pub changed: StateChanged,
    /// Whether it is on disk.
    pub is_kept: bool,
}
