//! How everybody else reaches the writer: events over a bounded channel, and answers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::writing::Writing;
use crate::audit::{Announced, Purged, Stopped};
use crate::clock;
use crate::log_filter::{FilterSet, SwitchError, Wish};
use crate::probe::Probed;
use crate::state::Fleet;
use tradewind_engine::edition::Edition;
use tradewind_engine::lifecycle::{
    Applied, ApplyError, PolicyApplied, PolicyUpdate, Revisions, RolloutAnswer, RolloutError,
    RolloutOrder, RolloutRequest, StateChange, StateChanged, StateError, Update,
};
use tradewind_engine::topology::Topology;

/// Events that may wait; a full channel holds a "look again" already.
const MAILBOX_CAPACITY: usize = 256;

/// What the writer is asked.
pub(super) enum Event {
    /// A file may have changed.
    LookAgain,
    /// The same, for somebody who waits until all have been read.
    Look(oneshot::Sender<()>),
    /// Put a policy in force, given with a signature.
    ApplyPolicy(
        PolicyUpdate,
        String,
        oneshot::Sender<Result<PolicySet, ApplyError>>,
    ),
    /// Put a topology in force, given with a signature.
    ApplyTopology(
        Update,
        String,
        oneshot::Sender<Result<TopologySet, ApplyError>>,
    ),
    /// Begin to roll out a candidate, given with a signature, or to look at it.
    StartRollout(
        Box<RolloutRequest>,
        String,
        oneshot::Sender<Result<RolloutSet, RolloutError>>,
    ),
    /// Do something with the rollout that there is.
    OrderRollout(
        RolloutOrder,
        oneshot::Sender<Result<RolloutSet, RolloutError>>,
    ),
    /// Set a state, or take one away.
    SetState(StateChange, oneshot::Sender<Result<StateSet, StateError>>),
    /// What is in force, with its text.
    Get(oneshot::Sender<Option<InForce>>),
    /// What is in force, and what was.
    Policies(oneshot::Sender<Option<Policies>>),
    /// Gates kept a policy from coming into force.
    Stopped(Stopped),
    /// More than single objects was purged.
    Purged(Purged),
    /// A text was published to the fleet, or was not.
    Announced(Announced),
    /// A probe came back.
    Probed(Probed),
    /// Forget what this node's breaker holds against it, as somebody wants; answers whether there is such a node.
    ResetBreaker((String, String), oneshot::Sender<bool>),
    /// Write other lines to the log for a while, or those that are configured.
    SetLogFilter(Wish, oneshot::Sender<Result<FilterSet, SwitchError>>),
    /// Shutdown has begun.
    Draining,
    /// End.
    Stop,
}

/// A state that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSet {
    /// What it came to.
    pub changed: StateChanged,
    /// Whether it is on disk.
    pub is_kept: bool,
}

/// A policy that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySet {
    /// What became of it.
    pub applied: PolicyApplied,
    /// Whether that is on disk.
    pub is_kept: bool,
    /// The signature of the policy in force, where keys are pinned.
    pub signature: Option<Arc<str>>,
}

/// A topology that was given.
#[derive(Debug, Clone)]
pub struct TopologySet {
    /// What became of it.
    pub applied: Applied,
    /// The text of the topology in force.
    pub text: Arc<str>,
    /// Its signature, where keys are pinned.
    pub signature: Option<Arc<str>>,
}

/// A rollout that was begun or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutSet {
    /// What became of it.
    pub answer: RolloutAnswer,
    /// Whether that is on disk.
    pub is_kept: bool,
}

/// What is in force, and what was.
#[derive(Debug, Clone)]
pub struct Policies {
    /// The policy and the topology in force.
    pub edition: Edition,
    /// What took effect, as far as it is remembered.
    pub revisions: Revisions,
}

/// What is in force, with its text.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The topology's text.
    pub text: String,
    /// The fleet, and what operators set.
    pub fleet: Fleet,
    /// The fleet with the states that hold.
    pub topology: Arc<Topology>,
}

/// Where events for the writer go.
#[derive(Debug, Clone)]
pub struct Mailbox {
    events: SyncSender<Event>,
    look_pending: Arc<AtomicBool>,
    writing: Arc<Writing>,
}

/// The other end.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) events: Receiver<Event>,
    look_pending: Arc<AtomicBool>,
    /// Which files somebody is writing.
    pub(super) writing: Arc<Writing>,
}

impl Inbox {
    /// From now on a file that changes is a new event.
    pub(super) fn looking(&self) {
        self.look_pending.store(false, Ordering::Release);
    }
}

impl Mailbox {
    /// For files of which those that `writing` names may be written in place.
    pub(super) fn new(writing: Writing) -> (Self, Inbox) {
        let (sender, events) = sync_channel(MAILBOX_CAPACITY);
        let look_pending = Arc::new(AtomicBool::new(false));
        let writing = Arc::new(writing);
        let mailbox = Self {
            events: sender,
            look_pending: Arc::clone(&look_pending),
            writing: Arc::clone(&writing),
        };
        let inbox = Inbox {
            events,
            look_pending,
            writing,
        };
        (mailbox, inbox)
    }

    /// Tells that somebody writes to a file in place.
    pub(super) fn written(&self, path: &Path) {
        self.writing.written(path, clock::now());
    }

    /// Tells that a file was closed after it was written to, or that another one has taken its place.
    pub(super) fn closed(&self, path: &Path) {
        self.writing.closed(path);
    }

    /// Asks the writer to read its sources again; many such calls become one.
    pub fn look_again(&self) {
        if !self.look_pending.swap(true, Ordering::AcqRel)
            && self.events.try_send(Event::LookAgain).is_err()
        {
            self.look_pending.store(false, Ordering::Release);
        }
    }

    /// Has the writer read its sources again, and waits until it has; `None` when the writer has ended.
    pub async fn look(&self) -> Option<()> {
        self.ask(Event::Look).await
    }

    /// Puts a policy in force with the topology that is, without writing it to its file; `None` when the writer has ended.
    /// Where keys are pinned its text needs a `signature`; empty for none.
    pub async fn apply_policy(
        &self,
        update: PolicyUpdate,
        signature: String,
    ) -> Option<Result<PolicySet, ApplyError>> {
        self.ask(|reply| Event::ApplyPolicy(update, signature, reply))
            .await
    }

    /// Puts a topology in force, without writing it to its file; `None` when the writer has ended. As for the signature, see
    /// [`Self::apply_policy`].
    pub async fn apply_topology(
        &self,
        update: Update,
        signature: String,
    ) -> Option<Result<TopologySet, ApplyError>> {
        self.ask(|reply| Event::ApplyTopology(update, signature, reply))
            .await
    }

    /// Has it recorded that gates kept a policy from coming into force. Where the writer is far behind it is not.
    pub fn stopped(&self, stopped: Stopped) {
        drop(self.events.try_send(Event::Stopped(stopped)));
    }

    /// Tells of a purge, for the audit log; the purge is in force already.
    pub fn purged(&self, purged: Purged) {
        drop(self.events.try_send(Event::Purged(purged)));
    }

    /// Tells of a text that was published to the fleet, or was not, for the audit log.
    pub fn announced(&self, announced: Announced) {
        drop(self.events.try_send(Event::Announced(announced)));
    }

    /// Begins to roll out a candidate, or to look at it; `None` when the writer has ended. As for the signature, see
    /// [`Self::apply_policy`].
    pub async fn start_rollout(
        &self,
        request: RolloutRequest,
        signature: String,
    ) -> Option<Result<RolloutSet, RolloutError>> {
        let request = Box::new(request);
        self.ask(|reply| Event::StartRollout(request, signature, reply))
            .await
    }

    /// Does something with the rollout that there is; `None` when the writer has ended.
    pub async fn order_rollout(
        &self,
        order: RolloutOrder,
    ) -> Option<Result<RolloutSet, RolloutError>> {
        self.ask(|reply| Event::OrderRollout(order, reply)).await
    }

    /// Sets the state of a node or site, or takes it away; `None` when the writer has ended.
    pub async fn set_admin_state(
        &self,
        change: StateChange,
    ) -> Option<Result<StateSet, StateError>> {
        self.ask(|reply| Event::SetState(change, reply)).await
    }

    /// What is in force; `None` when nothing is, or the writer has ended.
    pub async fn fleet(&self) -> Option<InForce> {
        self.ask(Event::Get).await?
    }

    /// What is in force, and what was; `None` when nothing is, or the writer has ended.
    pub async fn policies(&self) -> Option<Policies> {
        self.ask(Event::Policies).await?
    }

    /// Forgets what a node's breaker holds against it; whether there is such a node, `None` when the writer has ended.
    pub async fn reset_breaker(&self, (node, who): (String, String)) -> Option<bool> {
        let asked = (node, who);
        self.ask(|reply| Event::ResetBreaker(asked, reply)).await
    }

    /// Writes other lines to the log for a while, or those that are configured; `None` when the writer has ended.
    pub async fn set_log_filter(&self, wish: Wish) -> Option<Result<FilterSet, SwitchError>> {
        self.ask(|reply| Event::SetLogFilter(wish, reply)).await
    }

    /// Sends what `event` makes of a place for the answer, and waits for that; `None` when the writer has ended.
    async fn ask<T>(&self, event: impl FnOnce(oneshot::Sender<T>) -> Event) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        // The channel is full only while the writer is behind; give it a moment rather than block a runtime.
        let mut event = Some(event(reply));
        while let Some(unsent) = event.take() {
            match self.events.try_send(unsent) {
                Ok(()) => {}
                Err(TrySendError::Full(unsent)) => {
                    event = Some(unsent);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(TrySendError::Disconnected(_)) => return None,
            }
        }
        answer.await.ok()
    }

    /// Tells what a probe found. One that finds the channel full is lost: the next comes soon.
    pub fn probed(&self, probed: Probed) {
        drop(self.events.try_send(Event::Probed(probed)));
    }

    /// Marks the status as draining.
    pub fn draining(&self) {
        drop(self.events.try_send(Event::Draining));
    }

    /// Ends the writer after the events already sent; `false` where there are too many of them, to be tried again.
    pub fn stop(&self) -> bool {
        !matches!(
            self.events.try_send(Event::Stop),
            Err(TrySendError::Full(_))
        )
    }
}
