//! Admin states set at run time: an overlay over what the topology says.
//!
//! An entry is of a node or of a whole site, and may end by itself. Ends are wall-clock times, because they must hold over
//! a restart; where that clock is set meanwhile they move along. What is not in the fleet is kept: a node that is drained stays drained when it comes back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Now;
use crate::model::AdminState;
use crate::topology::{States, Topology};

/// Most entries at once.
pub const MAX_ENTRIES: usize = 10_000;

/// Longest word on who asked or why, in characters.
pub const MAX_WORDS: usize = 256;

/// What a state is set for. Sites come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// All nodes of a site, by its id.
    Site(Box<str>),
    /// A node, by its id.
    Node(Box<str>),
}

impl Target {
    /// Whether the fleet has it.
    pub fn is_in(&self, fleet: &Topology) -> bool {
        match self {
            Self::Site(id) => fleet.find_site(id).is_some(),
            Self::Node(id) => fleet.find_node(id).is_some(),
        }
    }

    /// The id of the node or site.
    pub fn id(&self) -> &str {
        match self {
            Self::Site(id) | Self::Node(id) => id,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(id) => write!(f, "site `{id}`"),
            Self::Node(id) => write!(f, "node `{id}`"),
        }
    }
}

/// A state that was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The state; never ready.
    pub state: AdminState,
    /// When it ends by itself, ms since 1970; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_unix_ms: Option<u64>,
    /// Who set it; may be empty. What they call themselves has at most [`MAX_WORDS`] characters; what they are known by may stand
    /// before it.
    pub who: String,
    /// Why. At most [`MAX_WORDS`] characters.
    pub why: String,
    /// When it was set, ms since 1970.
    pub since_unix_ms: u64,
}

/// From this on, in ms, a wall clock that differs from the monotonic one was set.
const CLOCK_STEP_MS: u64 = 1_000;

/// All entries, by what they are for.
pub type Entries = BTreeMap<Target, Entry>;

/// There are [`MAX_ENTRIES`] already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_ENTRIES} admin states are set already, take some away first")]
pub struct Full;

/// A state to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// For what.
    pub target: Target,
    /// The state; ready takes away what was set.
    pub state: AdminState,
    /// How long it lasts, in ms; `None` for until it is taken away.
    pub lasts_ms: Option<u64>,
    /// Who asks.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What setting a state came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateChanged {
    /// The target's state before.
    pub previous: AdminState,
    /// Its state now.
    pub effective: AdminState,
    /// How many nodes' states changed.
    pub nodes_changed: usize,
}

/// Why a state was not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// There is no fleet.
    #[error("no policy is in force yet, see /readyz on the debug door")]
    NothingInForce,
    /// The fleet has no such node or site.
    #[error("the fleet has no {0}")]
    Unknown(Target),
    /// No room.
    #[error(transparent)]
    Full(#[from] Full),
}

/// The states that operators set.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlay {
    entries: Arc<Entries>,
    /// When the wall clock that ends are written by was looked at first, or had been set.
    clock: Option<Now>,
}

impl Overlay {
    pub(super) fn new(entries: Entries) -> Self {
        Self {
            entries: Arc::new(entries),
            clock: None,
        }
    }

    /// Moves the times of entries along where somebody has set the wall clock, so that each lasts as long as it was to; whether any
    /// has moved. A clock that is slewed is followed by the second.
    pub(super) fn follow_clock(&mut self, now: Now) -> bool {
        let set_ms = now.set_since(*self.clock.get_or_insert(now));
        if set_ms.unsigned_abs() < CLOCK_STEP_MS {
            return false;
        }
        self.clock = Some(now);
        if self.entries.is_empty() {
            return false;
        }
        let moved = |time: u64| time.saturating_add_signed(set_ms);
        for entry in Arc::make_mut(&mut self.entries).values_mut() {
            entry.since_unix_ms = moved(entry.since_unix_ms);
            entry.until_unix_ms = entry.until_unix_ms.map(moved);
        }
        true
    }

    /// All entries.
    pub(super) fn entries(&self) -> &Arc<Entries> {
        &self.entries
    }

    /// Sets or replaces an entry.
    pub(super) fn set(&mut self, target: Target, entry: Entry) -> Result<(), Full> {
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&target) {
            return Err(Full);
        }
        Arc::make_mut(&mut self.entries).insert(target, entry);
        Ok(())
    }

    /// Takes an entry away; false if there is none.
    pub(super) fn remove(&mut self, target: &Target) -> bool {
        self.entries.contains_key(target)
            && Arc::make_mut(&mut self.entries).remove(target).is_some()
    }

    /// Takes away the entries whose end has come, and gives them back.
    pub(super) fn end(&mut self, now_unix_ms: u64) -> Vec<(Target, Entry)> {
        let is_over = |entry: &Entry| entry.until_unix_ms.is_some_and(|end| end <= now_unix_ms);
        let over = self.entries.iter().filter(|(_, entry)| is_over(entry));
        let over = over.map(|(target, entry)| (target.clone(), entry.clone()));
        let over: Vec<(Target, Entry)> = over.collect();
        for (target, _) in &over {
            self.remove(target);
        }
        over
    }

    /// What is set for a node or site by itself; ready if nothing is.
    pub(super) fn state(&self, target: &Target) -> AdminState {
        self.entries
            .get(target)
            .map_or(AdminState::Ready, |entry| entry.state)
    }

    /// The strictest of what the topology says of a node or site and what is set for it.
    pub(super) fn effective(&self, target: &Target, fleet: &Topology) -> AdminState {
        let written = match target {
            Target::Site(id) => fleet.find_site(id).map(|site| fleet.site(site).state),
            Target::Node(id) => fleet.find_node(id).map(|node| {
                let node = fleet.node(node);
                let site = Target::Site(fleet.site(node.site).id.clone());
                node.state.max(self.state(&site))
            }),
        };
        written.unwrap_or_default().max(self.state(target))
    }

    /// The nodes of a fleet whose state the overlay makes stricter, with that state.
    pub(super) fn states(&self, fleet: &Topology) -> States {
        let mut states = States::new();
        if self.entries.is_empty() {
            return states;
        }
        let sites = fleet.sites().iter();
        let of_sites: Vec<AdminState> = sites
            .map(|site| self.state(&Target::Site(site.id.clone())))
            .collect();
        for node in fleet.nodes() {
            let own = self.state(&Target::Node(node.id.clone()));
            let of_site = of_sites.get(node.site.get()).copied().unwrap_or_default();
            let state = own.max(of_site);
            if state > node.state {
                states.insert(node.id.clone(), state);
            }
        }
        states
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::tests::inputs::T;
    use crate::topology::compile;

    fn entry(state: AdminState, until_unix_ms: Option<u64>) -> Entry {
        Entry {
            state,
            until_unix_ms,
            who: "me".into(),
            why: "tests \"quoted\"".into(),
            since_unix_ms: 5,
        }
    }

    #[test]
    fn entries_end_at_their_time_and_are_bounded() {
        let mut overlay = Overlay::default();
        let name = |at: usize| Target::Node(format!("n{at}").into());
        for at in 0..MAX_ENTRIES {
            let until = (at == 3).then_some(1_000);
            overlay
                .set(name(at), entry(AdminState::Drain, until))
                .unwrap();
        }
        let more = entry(AdminState::Drain, None);
        assert_eq!(overlay.set(name(MAX_ENTRIES), more.clone()), Err(Full));
        assert_eq!(overlay.set(name(1), more), Ok(()), "replaced");
        assert!(overlay.end(999).is_empty());
        let ended = overlay.end(1_000).into_iter();
        assert_eq!(
            ended.map(|(target, _)| target).collect::<Vec<_>>(),
            [name(3)]
        );
        assert!(!overlay.remove(&name(3)) && overlay.remove(&name(4)));
    }

    #[test]
    fn the_stricter_of_node_site_and_topology_holds() {
        let fleet = compile("t", &T::Usual.text()).topology.unwrap();
        let node = &fleet.nodes()[0];
        let site = fleet.site(node.site);
        let in_site = fleet.nodes().iter().filter(|n| n.site == node.site);
        let mut overlay = Overlay::default();
        let drain = entry(AdminState::Drain, None);
        overlay.set(Target::Site(site.id.clone()), drain).unwrap();
        let stricter = entry(AdminState::Maintenance, None);
        overlay
            .set(Target::Node(node.id.clone()), stricter)
            .unwrap();
        let states = overlay.states(&fleet);
        assert_eq!(states[&node.id], AdminState::Maintenance);
        assert_eq!(states.len(), in_site.count());
        let laid_over = fleet.with_states(&states);
        assert!(overlay.states(&laid_over).is_empty(), "nothing is stricter");
    }
}
