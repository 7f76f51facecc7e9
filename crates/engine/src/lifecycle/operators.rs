//! States of nodes and sites that operators set at run time.

use std::sync::Arc;

use super::notice::Notice;
use super::overlay::{Entry, StateChange, StateChanged, StateError};
use super::{Effects, Keep, Now, Reply, Steward};
use crate::edition::Edition;
use crate::model::AdminState;
use crate::topology::States;

impl Steward {
    /// Sets the state of a node or site, or takes it away.
    pub(super) fn set_state(&mut self, now: Now, change: StateChange) -> Effects {
        let now_unix_ms = now.unix_ms;
        self.overlay.follow_clock(now);
        let before = self.states();
        let changed = match self.change(now_unix_ms, &change) {
            Ok(changed) => changed,
            Err(error) => return Effects::reply(Reply::State(Err(error))),
        };
        let after = self.states();
        let nodes_changed = count_changed(&before, &after);
        Effects {
            keep: vec![self.keep_states()],
            // Where no node's state is another, only those who watch the fleet are told.
            publish: (nodes_changed > 0).then(|| self.publish()).flatten(),
            say: vec![Notice::StateSet(change)],
            reply: Some(Reply::State(Ok(StateChanged {
                nodes_changed,
                ..changed
            }))),
        }
    }

    /// Changes the overlay; how many nodes that concerns is not counted yet.
    fn change(
        &mut self,
        now_unix_ms: u64,
        change: &StateChange,
    ) -> Result<StateChanged, StateError> {
        let current = self.current.as_ref().ok_or(StateError::NothingInForce)?;
        let fleet = current.topology();
        let target = &change.target;
        let previous = self.overlay.effective(target, fleet);
        let is_known = target.is_in(fleet);
        if change.state == AdminState::Ready {
            if !self.overlay.remove(target) && !is_known {
                return Err(StateError::Unknown(target.clone()));
            }
        } else if is_known {
            self.overlay
                .set(target.clone(), entry(now_unix_ms, change))?;
        } else {
            return Err(StateError::Unknown(target.clone()));
        }
        Ok(StateChanged {
            previous,
            effective: self.overlay.effective(target, fleet),
            nodes_changed: 0,
        })
    }

    /// Ends the states whose time has come.
    pub(super) fn end_states(&mut self, now: Now) -> Effects {
        let now_unix_ms = now.unix_ms;
        let has_moved = self.overlay.follow_clock(now);
        let over = self.overlay.end(now_unix_ms);
        if over.is_empty() {
            return Effects {
                keep: has_moved.then(|| self.keep_states()).into_iter().collect(),
                ..Effects::default()
            };
        }
        let say = over.into_iter().map(|(target, entry)| Notice::StateEnded {
            lasted_ms: now_unix_ms.saturating_sub(entry.since_unix_ms),
            target,
            entry,
        });
        Effects {
            keep: vec![self.keep_states()],
            publish: self.publish(),
            say: say.collect(),
            reply: None,
        }
    }

    fn keep_states(&self) -> Keep {
        Keep::States(Arc::clone(self.overlay.entries()))
    }

    /// The states that nodes of the fleet in force are in because operators said so.
    fn states(&self) -> States {
        let fleet = self.current.as_ref().map(Edition::topology);
        fleet.map_or_else(States::new, |fleet| self.overlay.states(fleet))
    }
}

fn entry(now_unix_ms: u64, change: &StateChange) -> Entry {
    Entry {
        state: change.state,
        until_unix_ms: (change.lasts_ms).map(|lasts| now_unix_ms.saturating_add(lasts)),
        who: change.who.clone(),
        why: change.why.clone(),
        since_unix_ms: now_unix_ms,
    }
}

/// How many nodes are in another state than before.
fn count_changed(before: &States, after: &States) -> usize {
    let set = after.iter();
    let set = set.filter(|(id, state)| before.get(*id) != Some(*state));
    let lifted = before.keys().filter(|id| !after.contains_key(*id));
    set.count() + lifted.count()
}
