//! What is published to all members: policies and topologies, which each takes in its wave, and drains, which hold at once.
//!
//! A text lies on the bus in pieces, under its digest; a pointer says which one all are to have. A pointer takes the place of the one
//! before by comparing, so that of two who publish at once one is told. Revisions only rise, over a bus that lost some too.

mod orders;
mod publish;
mod standing;
mod store;

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message as Letter, Subscriber};
use prost::Message;
use tokio::sync::oneshot;
use tokio::time::{self, MissedTickBehavior};
use tokio_stream::StreamExt as _;

use super::subjects::Subjects;
use super::{Fleet, purges};
use crate::clock;
use crate::wire::fleet as wire;
use crate::wire::proto::{FleetAdminState, FleetPointer};
use tradewind_engine::edition::Which;
use tradewind_engine::fleet::MemberId;
use tradewind_engine::fleet::waves::{waits_ms, waves};
use tradewind_engine::lifecycle::{StateChange, StateError};

pub use orders::{Order, StateHeld, TextDone, TextOrder};
pub(super) use publish::Waiting;
pub use publish::{Draft, Published, Publisher, Unpublished};
pub use standing::Followed;
use store::Store;

/// How often it is looked whether anything was missed.
const LOOK: Duration = Duration::from_secs(5);

/// How soon what could not be had is tried again, in ms.
const AGAIN_MS: u64 = 1_000;

/// Most states of what is not in the fleet yet that are remembered.
const MAX_UNKNOWN: usize = 1_024;

/// What is published, as this member follows it.
pub(super) struct Config {
    fleet: Arc<Fleet>,
    store: Store,
    texts: Subscriber,
    states: Subscriber,
    /// Up to where the store was looked through.
    looked: u64,
    /// States of nodes and sites that are not in the fleet here, or not yet.
    unknown: Vec<FleetAdminState>,
}

impl Config {
    /// Comes to the store, makes it where there is none, and hears what is in it.
    pub(super) async fn open(client: &Client, fleet: &Arc<Fleet>) -> Result<Self, String> {
        let subjects = Subjects::of(&fleet.membership.fleet);
        let store = Store::open(client, &subjects).await?;
        let hear = async |subject: String| {
            let heard = client.subscribe(subject.clone()).await;
            heard.map_err(|error| format!("{subject} cannot be listened to: {error}"))
        };
        // Listened to before it is looked through: what comes in between is heard twice, and not missed.
        let mut config = Self {
            fleet: Arc::clone(fleet),
            texts: hear(subjects.texts_heard()).await?,
            states: hear(subjects.states_heard()).await?,
            store,
            looked: 0,
            unknown: Vec::new(),
        };
        config.look().await?;
        fleet.with_config(Publisher::of(config.store.clone()));
        Ok(config)
    }

    /// Follows, until that cannot go on; why.
    pub(super) async fn follow(mut self) -> String {
        let mut look = time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = self.fleet.now();
            let when = self.fleet.followed(|followed| followed.when());
            let due = async {
                match when {
                    Some(when) => time::sleep(Duration::from_millis(when.since(now))).await,
                    None => std::future::pending().await,
                }
            };
            let gone = || "nothing more is heard of what is published".to_owned();
            let done = tokio::select! {
                () = due => {
                    self.take_due().await;
                    Ok(())
                }
                letter = self.texts.next() => letter.ok_or_else(gone).map(|letter| self.hear_text(&letter)),
                letter = self.states.next() => match letter {
                    Some(letter) => {
                        self.hear_state(&letter).await;
                        Ok(())
                    }
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
        let last = self.store.last().await?;
        if last < self.looked {
            return Err("the bus lost the end of what was published".to_owned());
        }
        if last == self.looked {
            return Ok(());
        }
        for which in [Which::Policy, Which::Topology] {
            if let Some((_, message)) = self.store.pointer(which).await? {
                let age_ms = clock::unix_ms().saturating_sub(message.at_unix_ms);
                self.hear_pointer(message, age_ms);
            }
        }
        let known = self.fleet.followed(|it| it.states_of(self.store.id));
        for (at, state) in self.store.states().await?.split_off(&(known + 1)) {
            self.take_state(at, state).await;
        }
        self.looked = last;
        Ok(())
    }

    fn hear_text(&self, letter: &Letter) {
        if purges::sequence_of(letter).is_none() {
            tracing::debug!(subject = %letter.subject, "what is said on the bus as published is not from the store, and is not heard");
            return;
        }
        match FleetPointer::decode(letter.payload.clone()) {
            // By the clock of who listens, which need not be that of who speaks.
            Ok(message) => self.hear_pointer(message, 0),
            Err(error) => tracing::warn!(%error, "what was published cannot be read"),
        }
    }

    /// Hears which text all are to have, which was said so long ago.
    fn hear_pointer(&self, message: FleetPointer, age_ms: u64) {
        let Some((which, pointer)) = wire::pointer(&message) else {
            tracing::warn!(
                revision = message.revision,
                "what was published cannot be used: its kind, digest, size or time is none"
            );
            return;
        };
        let me = MemberId::of_name(&self.fleet.membership.member);
        let waits_ms = waits_ms(me, pointer.text, &waves(message.within_ms));
        let waits_ms = waits_ms.unwrap_or(message.within_ms);
        let now = self.fleet.now();
        self.fleet.followed(|followed| {
            followed.hear(
                (now, which),
                (pointer, message),
                waits_ms.saturating_sub(age_ms),
            );
        });
    }

    /// Puts in force what its wave has come for.
    async fn take_due(&self) {
        let now = self.fleet.now();
        let Some((which, pointer, message)) = self.fleet.followed(|it| it.due(now)) else {
            return;
        };
        let revision = pointer.revision;
        let again = |why: String| {
            let until = self.fleet.now().plus(AGAIN_MS);
            self.fleet
                .followed(|it| it.put_off(which, revision, (until, why)));
        };
        match self.put_in_force(which, &message).await {
            Ok(TextDone::InForce) => {
                tracing::info!(
                    kind = which.name(),
                    revision,
                    "what was published to the fleet is in force here"
                );
                self.fleet.followed(|it| it.took(which, pointer));
            }
            Ok(TextDone::Refused(why)) => {
                tracing::warn!(
                    kind = which.name(),
                    revision,
                    why,
                    "what was published to the fleet is refused here"
                );
                self.fleet
                    .followed(|it| it.refused(which, revision, format!("refused: {why}")));
            }
            Ok(TextDone::NotYet) => again("no policy is in force here yet".to_owned()),
            Err(why) => {
                tracing::debug!(
                    kind = which.name(),
                    revision,
                    why,
                    "what was published cannot be had yet"
                );
                again(format!("it cannot be had: {why}"));
            }
        }
    }

    async fn put_in_force(&self, which: Which, message: &FleetPointer) -> Result<TextDone, String> {
        let digest = message.digest.parse();
        let digest = digest.map_err(|_| "its digest is none".to_owned())?;
        let size = usize::try_from(message.size).unwrap_or(usize::MAX);
        let text = self.store.fetch(&digest, size).await?;
        let (reply, answer) = oneshot::channel();
        let order = Order::Text(TextOrder {
            which,
            text,
            signature: message.signature.clone(),
            force: message.force,
            who: wire::author(message),
            why: wire::words(&message.why),
            reply,
        });
        let ended = || "this sidecar is ending".to_owned();
        let sent = self.fleet.orders.send(order).await;
        sent.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }

    async fn hear_state(&mut self, letter: &Letter) {
        let Some(at) = purges::sequence_of(letter) else {
            return;
        };
        if at <= self.fleet.followed(|it| it.states_of(self.store.id)) {
            return;
        }
        match FleetAdminState::decode(letter.payload.clone()) {
            Ok(state) => self.take_state(at, state).await,
            Err(error) => {
                tracing::warn!(%error, "a state that was published cannot be read");
            }
        }
    }

    /// Has a state hold here, whose place in the store this is.
    async fn take_state(&mut self, at: u64, state: FleetAdminState) {
        self.fleet.followed(|it| it.heard_states(self.store.id, at));
        let Some(change) = wire::state_change(&state, clock::unix_ms()) else {
            tracing::debug!(at, "a state that was published is over, or none");
            return;
        };
        // What is said of the same node or site later holds instead.
        self.unknown.retain(|it| !is_same(it, &state));
        let held = self.set(change).await;
        let is_unknown = matches!(
            held,
            Some(Err(StateError::Unknown(_) | StateError::NothingInForce))
        );
        if is_unknown && self.unknown.len() < MAX_UNKNOWN {
            self.unknown.push(state.clone());
        }
        if let Some(Err(error)) = &held {
            tracing::warn!(%error, "a state that was published does not hold here yet");
        }
        let is_own = state.member == self.fleet.membership.member;
        let waiting = is_own.then(|| self.fleet.waiting.end(state.number));
        if let (Some(waiting), Some(held)) = (waiting.flatten(), held) {
            // Whoever asked may have gone.
            let _gone = waiting.send(held);
        }
    }

    /// Tries those again that were of what is not in the fleet.
    async fn set_unknown(&mut self) {
        for state in std::mem::take(&mut self.unknown) {
            let Some(change) = wire::state_change(&state, clock::unix_ms()) else {
                continue;
            };
            if !matches!(self.set(change).await, Some(Ok(_))) {
                self.unknown.push(state);
            }
        }
    }

    async fn set(&self, change: StateChange) -> Option<Result<StateHeld, StateError>> {
        let (reply, answer) = oneshot::channel();
        self.fleet
            .orders
            .send(Order::State(change, reply))
            .await
            .ok()?;
        answer.await.ok()
    }
}

/// Whether two states are of the same node or site.
fn is_same(one: &FleetAdminState, other: &FleetAdminState) -> bool {
    let target = |state: &FleetAdminState| state.change.as_ref()?.target.clone();
    target(one) == target(other)
}
