//! What is published to all members: editions of policy and topology, which each takes in its wave, and drains, which hold at
//! once.
//!
//! Texts lie on the bus in pieces, under their digests; a pointer says which edition all are to have. A pointer takes the place of
//! the one before by comparing, so that of two who publish at once one is told. Revisions only rise, over a bus that lost some
//! too. What is heard is a hint only: it is looked up in the store, which says who may write there.

mod orders;
mod publish;
mod standing;
mod store;
mod taking;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message as Letter, Subscriber};
use tokio::sync::oneshot;
use tokio::time::{self, MissedTickBehavior};
use tokio_stream::StreamExt as _;

use super::Fleet;
use super::subjects::Subjects;
use crate::clock;
use crate::wire::fleet as wire;
use crate::wire::proto::FleetAdminState;
use tradewind_engine::fleet::MemberId;
use tradewind_engine::fleet::waves::waits_ms;
use tradewind_engine::lifecycle::{StateChange, StateError};
use tradewind_engine::model::AdminState;

pub use orders::{Done, EditionOrder, Held, StateHeld, StateOrder, Text};
pub(super) use publish::Waiting;
pub use publish::{Draft, Published, Publisher, Unpublished};
pub use standing::Followed;
use store::{Fault, Found, Store};

/// How often it is looked whether anything was missed.
const LOOK: Duration = Duration::from_secs(5);

/// Most states of what is not in the fleet yet that are remembered.
const MAX_UNKNOWN: usize = 1_024;

/// What is published, as this member follows it.
pub(super) struct Config {
    fleet: Arc<Fleet>,
    store: Store,
    editions: Subscriber,
    states: Subscriber,
    /// Up to where the store was looked through.
    looked: Option<u64>,
    /// Of each node and site the place of the state that was heard last.
    known: BTreeMap<u64, u64>,
    /// States of nodes and sites that are not in the fleet here, or not yet.
    unknown: BTreeMap<u64, FleetAdminState>,
}

impl Config {
    /// Comes to the store, makes it where there is none.
    pub(super) async fn open(client: &Client, fleet: &Arc<Fleet>) -> Result<Self, String> {
        let subjects = Subjects::of(&fleet.membership.fleet);
        let store = Store::open(client, &fleet.membership, &subjects).await?;
        let hear = async |subject: String| {
            let heard = client.subscribe(subject.clone()).await;
            heard.map_err(|error| format!("{subject} cannot be listened to: {error}"))
        };
        Ok(Self {
            fleet: Arc::clone(fleet),
            editions: hear(subjects.edition_heard()).await?,
            states: hear(subjects.states_heard()).await?,
            store,
            looked: None,
            known: BTreeMap::new(),
            unknown: BTreeMap::new(),
        })
    }

    /// Follows, until that cannot go on; why.
    pub(super) async fn follow(mut self) -> String {
        let fleet = Arc::clone(&self.fleet);
        let store = self.store.clone();
        // What takes long is done beside this: drains do not wait for texts.
        let taking = taking::take_editions(&fleet, &store);
        tokio::select! {
            why = self.hear_all() => why,
            never = taking => match never {},
        }
    }

    async fn hear_all(&mut self) -> String {
        // Listened to before it is looked through: what comes in between is heard twice, and not missed.
        if let Err(why) = self.look().await {
            return why;
        }
        self.fleet.with_config(Publisher::of(self.store.clone()));
        let mut look = time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let gone = || "nothing more is heard of what is published".to_owned();
            let done = tokio::select! {
                letter = self.editions.next() => match letter {
                    Some(_hint) => self.hear_edition(false).await,
                    None => Err(gone()),
                },
                letter = self.states.next() => match letter {
                    Some(letter) => self.hear_state(&letter).await,
                    None => Err(gone()),
                },
                _ = look.tick() => self.look().await,
            };
            if let Err(why) = done {
                return why;
            }
        }
    }

    /// Looks whether anything was missed, or lost by the bus.
    async fn look(&mut self) -> Result<(), String> {
        self.set_unknown().await;
        // What comes from now on is heard.
        let last = self.store.last().await?;
        let before = self.looked.unwrap_or(0);
        if last < before {
            return Err("the bus lost the end of what was published".to_owned());
        }
        if self.looked == Some(last) {
            return Ok(());
        }
        self.hear_edition(self.looked.is_none()).await?;
        for target in self.store.targets().await? {
            let state = self.store.state(target).await;
            self.take_state(target, state, false).await?;
        }
        self.looked = Some(last);
        Ok(())
    }

    /// Hears which edition all are to have. Who comes to it counts its wave from when the bus had it; all others from now.
    async fn hear_edition(&self, comes: bool) -> Result<(), String> {
        let found = match self.store.pointer().await {
            Ok(None) => return Ok(()),
            Ok(Some(found)) => found,
            Err(fault) => return unless_unreadable(fault),
        };
        let Found {
            unix_ms, message, ..
        } = found;
        let pointer = wire::pointer(&message);
        let revision = message.revision;
        let pointer = pointer.filter(|_| self.fleet.followed(|it| it.is_believable(revision)));
        let Some(pointer) = pointer else {
            tracing::warn!(
                revision,
                "what was published cannot be used: its revision, texts or words cannot be"
            );
            return Ok(());
        };
        let me = MemberId::of_name(&self.fleet.membership.member);
        let waits_ms = waits_ms(me, pointer.texts, message.within_ms);
        let age_ms = if comes {
            clock::unix_ms().saturating_sub(unix_ms)
        } else {
            0
        };
        let now = self.fleet.now();
        self.fleet.followed(|followed| {
            followed.hear(now, (pointer, message), waits_ms.saturating_sub(age_ms));
        });
        self.fleet.is_due.notify_one();
        Ok(())
    }

    async fn hear_state(&mut self, hint: &Letter) -> Result<(), String> {
        let Some(target) = Subjects::target(&hint.subject) else {
            return Ok(());
        };
        let state = self.store.state(target).await;
        self.take_state(target, state, true).await
    }

    /// Has a state hold here, as the store has it.
    async fn take_state(
        &mut self,
        target: u64,
        found: Result<Option<Found<FleetAdminState>>, Fault>,
        is_news: bool,
    ) -> Result<(), String> {
        let found = match found {
            Ok(None) => return Ok(()),
            Ok(Some(found)) => found,
            Err(fault) => return unless_unreadable(fault),
        };
        if self.known.get(&target) == Some(&found.at) {
            return Ok(());
        }
        self.known.insert(target, found.at);
        // What is said of the same node or site later holds instead.
        self.unknown.remove(&target);
        let state = found.message;
        let Some(change) = wire::state_change(&state, clock::unix_ms()) else {
            tracing::warn!(at = found.at, "a state that was published can be none");
            return Ok(());
        };
        let is_end = change.state == AdminState::Ready;
        let Some(held) = self.set(change, is_news).await else {
            return Ok(());
        };
        if let Err(error) = &held
            && !is_end
        {
            tracing::warn!(%error, "a state that was published does not hold here yet");
            if self.unknown.len() < MAX_UNKNOWN {
                self.unknown.insert(target, state.clone());
            } else {
                tracing::error!(
                    "states of more than {MAX_UNKNOWN} nodes that are not here were published: of the rest none is remembered"
                );
            }
        }
        let is_own = state.member == self.fleet.membership.member;
        let waiting = is_own.then(|| self.fleet.waiting.end(state.number));
        if let Some(waiting) = waiting.flatten() {
            // Whoever asked may have gone.
            let _gone = waiting.send(held);
        }
        Ok(())
    }

    /// Tries those again that were of what is not in the fleet.
    async fn set_unknown(&mut self) {
        for (target, state) in std::mem::take(&mut self.unknown) {
            let Some(change) = wire::state_change(&state, clock::unix_ms()) else {
                continue;
            };
            if change.state == AdminState::Ready {
                continue;
            }
            let held = self.set(change, true).await;
            if matches!(
                held,
                Some(Err(StateError::Unknown(_)
                    | StateError::NothingInForce
                    | StateError::Full(_)))
            ) {
                self.unknown.insert(target, state);
            }
        }
    }

    /// `None` when this sidecar is ending.
    async fn set(&self, change: StateChange, is_news: bool) -> Option<Held> {
        let (reply, answer) = oneshot::channel();
        let order = StateOrder {
            change,
            is_news,
            reply,
        };
        self.fleet.states.send(order).await.ok()?;
        answer.await.ok()
    }
}

/// What is no message is passed over; what cannot be had ends it.
fn unless_unreadable(fault: Fault) -> Result<(), String> {
    match fault {
        Fault::NoMessage(why) => {
            tracing::warn!(why, "something that was published is passed over");
            Ok(())
        }
        Fault::Away(why) => Err(why),
    }
}
