//! The topology, the policy, the rollout and the admin service: what operators ask, on its way to the writer.
//!
//! They read requests, hand them to the writer, which alone changes anything, and put its word into messages. They are
//! served on the admin door only, whose gate lets through who may; what changes something is recorded with who it was.

mod everywhere;
mod fleet;
mod log_filter;
mod messages;
mod policy;
mod policy_messages;
mod policy_plan;
mod purge;
mod purge_messages;
mod rollout;
mod rollout_messages;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::in_words;
use crate::clock;
use crate::fleet::config::StateHeld;
use crate::identity::Caller;
use crate::intake::recent::RecentDecisions;
use crate::state::{Fleet, State};
use crate::wire::proto;
use crate::wire::proto::server::admin_service_server::AdminService;
use crate::wire::proto::server::topology_service_server::TopologyService;
use crate::writer::store::MAX_DOCUMENT_BYTES;
use crate::writer::{Mailbox, StateSet};
use messages::Faults;
pub(crate) use policy_messages::changes as policy_changes;
pub(crate) use rollout_messages::status as rollout_status;
use tradewind_engine::edition::Which;
use tradewind_engine::lifecycle::{ApplyError, StateChange, StateError};
use tradewind_engine::model::AdminState;

/// Largest message to apply, in bytes: a whole document, and 64 KiB for what stands beside it.
pub const MAX_APPLY_BYTES: usize = (32 << 20) + (64 << 10);

/// Largest of all other messages, in bytes.
pub const MAX_ADMIN_BYTES: usize = 16 << 10;

/// Largest purge, in bytes.
pub const MAX_PURGE_BYTES: usize = 512 << 10;

/// Most watches at once; each is a call that does not end.
const MAX_WATCHES: usize = 64;

/// Most documents of operators looked at at once; others wait.
const MAX_LOOKS: usize = 2;

const _: () = assert!(MAX_DOCUMENT_BYTES == 32 << 20, "an apply holds a document");

/// Takes what operators ask.
#[derive(Debug, Clone)]
pub struct AdminDesk {
    mailbox: Mailbox,
    state: Arc<State>,
    recent: Arc<RecentDecisions>,
    watches: Arc<Semaphore>,
    /// Places of those whose document is being looked at, which takes a thread for seconds, whoever waits for it.
    looks: Arc<Semaphore>,
}

impl AdminDesk {
    /// The services in front of the writer of this mailbox, which tells of the fleet in `state`; plans rest on what is
    /// kept of `recent` decisions.
    pub fn new(mailbox: Mailbox, state: Arc<State>, recent: Arc<RecentDecisions>) -> Self {
        Self {
            mailbox,
            state,
            recent,
            watches: Arc::new(Semaphore::new(MAX_WATCHES)),
            looks: Arc::new(Semaphore::new(MAX_LOOKS)),
        }
    }

    /// The same desk for a door that others reach: it has a place of its own to look at documents, so that who asks there
    /// for one plan after the other keeps no operator waiting.
    #[must_use]
    pub fn apart(self) -> Self {
        Self {
            looks: Arc::new(Semaphore::new(1)),
            ..self
        }
    }

    /// A place to look at a document, waited for, and to be held until that has been done.
    async fn look_place(&self) -> Result<OwnedSemaphorePermit, Status> {
        let place = Arc::clone(&self.looks).acquire_owned().await;
        place.map_err(|_closed| ended())
    }

    /// Whether what is to be set is of a node or site that there is: before all members are told.
    async fn check_there(&self, change: &StateChange) -> Result<(), Status> {
        let in_force = self.mailbox.fleet().await;
        let in_force = in_force.ok_or_else(|| state_refused(&StateError::NothingInForce))?;
        if change.state != AdminState::Ready && !change.target.is_in(&in_force.topology) {
            return Err(state_refused(&StateError::Unknown(change.target.clone())));
        }
        Ok(())
    }

    /// A place for one who waits for changes.
    fn watch_place<T>(&self) -> Result<Watching<T>, Status> {
        let place = Arc::clone(&self.watches).try_acquire_owned();
        let place = place.map_err(|_| {
            Status::resource_exhausted(format!("{MAX_WATCHES} watches are open already"))
        })?;
        // One message waits at most: a slow watcher gets several changes as one.
        let (tell, events) = mpsc::channel(1);
        let events = Events {
            events,
            _place: place,
        };
        Ok((tell, events))
    }

    /// How a node fares, as far as that is known.
    fn health_of(&self, node: &str) -> Option<proto::NodeHealth> {
        let view = self.state.view.load();
        let topology = view.topology.as_ref()?;
        let index = topology.find_node(node)?;
        view.node(topology, index).map(messages::health)
    }
}

#[tonic::async_trait]
impl TopologyService for AdminDesk {
    async fn apply(
        &self,
        request: Request<proto::ApplyTopologyRequest>,
    ) -> Result<Response<proto::ApplyTopologyResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let mut request = request.into_inner();
        let signature = std::mem::take(&mut request.signature);
        let wanted = (request.everywhere, request.within_ms);
        let mut update = messages::update(request).map_err(invalid)?;
        update.who = caller.signature(&update.who);
        let everywhere = self.everywhere(Which::Topology, wanted, update.confirm_removal);
        let everywhere = everywhere.await?;
        let words = (update.who.clone(), update.why.clone());
        let answered = self.mailbox.apply_topology(update, signature.clone()).await;
        let set = answered.ok_or_else(ended)?;
        let set = set.map_err(|error| refused(&error))?;
        let mut answer = messages::applied(&set.applied);
        let is_in_force = !answer.held && answer.faults.is_empty();
        if let Some(everywhere) = everywhere.filter(|_| is_in_force) {
            let published = everywhere.publish(&set.text, (set.signature, signature), words);
            answer.fleet_revision = Some(published.await?);
        }
        Ok(Response::new(answer))
    }

    async fn get(
        &self,
        _request: Request<proto::GetTopologyRequest>,
    ) -> Result<Response<proto::GetTopologyResponse>, Status> {
        let in_force = self.mailbox.fleet().await;
        let in_force = in_force
            .ok_or_else(|| Status::failed_precondition(ApplyError::NothingInForce.to_string()))?;
        let view = self.state.view.load();
        Ok(Response::new(messages::in_force(in_force, &view)))
    }

    type WatchStream = Events<proto::TopologyEvent>;

    async fn watch(
        &self,
        _request: Request<proto::WatchTopologyRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (tell, events) = self.watch_place()?;
        tokio::spawn(tell_of_changes(Arc::clone(&self.state), tell));
        Ok(Response::new(events))
    }

    async fn set_admin_state(
        &self,
        request: Request<proto::SetAdminStateRequest>,
    ) -> Result<Response<proto::SetAdminStateResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let mut request = request.into_inner();
        let mut change = messages::state_change(request.clone()).map_err(invalid)?;
        change.who = caller.signature(&change.who);
        if let Some(fleet) = self.state.members.get().filter(|_| !request.only_here) {
            self.check_there(&change).await?;
            request.who = change.who;
            let until = change.lasts_ms;
            let until = until.map(|lasts| clock::unix_ms().saturating_add(lasts));
            let held = fleet.set_everywhere(request, until).await;
            let StateHeld { changed, is_kept } =
                held.map_err(|error| everywhere::status(&error))?;
            let answer = messages::state_set(StateSet { changed, is_kept });
            return Ok(Response::new(proto::SetAdminStateResponse {
                everywhere: true,
                ..answer
            }));
        }
        let answered = self.mailbox.set_admin_state(change).await;
        let set = answered.ok_or_else(ended)?;
        let set = set.map_err(|error| state_refused(&error))?;
        Ok(Response::new(messages::state_set(set)))
    }
}

#[tonic::async_trait]
impl AdminService for AdminDesk {
    async fn reset_breaker(
        &self,
        request: Request<proto::ResetBreakerRequest>,
    ) -> Result<Response<proto::ResetBreakerResponse>, Status> {
        let who = Caller::of(request.extensions()).signature("");
        let node = messages::breaker(request.into_inner()).map_err(invalid)?;
        let unknown = Status::not_found(format!("the fleet has no node `{node}`"));
        let before = self.health_of(&node);
        match self.mailbox.reset_breaker((node, who)).await {
            Some(true) => Ok(Response::new(proto::ResetBreakerResponse { before })),
            Some(false) => Err(unknown),
            None => Err(ended()),
        }
    }

    async fn set_log_filter(
        &self,
        request: Request<proto::SetLogFilterRequest>,
    ) -> Result<Response<proto::SetLogFilterResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let mut wish = log_filter::wish(request.into_inner()).map_err(invalid)?;
        wish.who = caller.signature(&wish.who);
        let answered = self.mailbox.set_log_filter(wish).await;
        let set = answered.ok_or_else(ended)?;
        let set = set.map_err(|error| log_filter::refused(&error))?;
        Ok(Response::new(log_filter::set(&set, clock::unix_ms())))
    }

    async fn get_log_filter(
        &self,
        _request: Request<proto::GetLogFilterRequest>,
    ) -> Result<Response<proto::GetLogFilterResponse>, Status> {
        let status = self.state.log_filter.load();
        let now = Some(log_filter::in_force(&status, clock::unix_ms()));
        Ok(Response::new(proto::GetLogFilterResponse { now }))
    }
}

/// Where changes are told to, and where the watcher reads them.
type Watching<T> = (mpsc::Sender<T>, Events<T>);

/// The changes of something, for one watcher.
#[derive(Debug)]
pub struct Events<T> {
    events: mpsc::Receiver<T>,
    /// Its place among the watches, given back on drop.
    _place: OwnedSemaphorePermit,
}

impl<T> Stream for Events<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(context).map(|event| event.map(Ok))
    }
}

/// Tells of the fleet as it is and then of every change, until the watcher goes or shutdown begins.
async fn tell_of_changes(state: Arc<State>, tell: mpsc::Sender<proto::TopologyEvent>) {
    let mut changes = state.fleet.subscribe();
    // The sender must not be kept alive by those who wait for it.
    drop(state);
    let mut told: Option<Fleet> = None;
    loop {
        let now = changes.borrow_and_update().clone();
        if now.draining {
            return;
        }
        let event = messages::event(told.as_ref(), &now);
        if tell.send(event).await.is_err() {
            return;
        }
        told = Some(now);
        tokio::select! {
            news = changes.changed() => if news.is_err() { return },
            () = tell.closed() => return,
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "what errors are mapped with takes them"
)]
fn invalid(faults: Faults) -> Status {
    Status::invalid_argument(in_words(&faults))
}

fn state_refused(error: &StateError) -> Status {
    let words = error.to_string();
    match error {
        StateError::NothingInForce => Status::failed_precondition(words),
        StateError::Unknown(_) => Status::not_found(words),
        StateError::Full(_) => Status::resource_exhausted(words),
    }
}

fn refused(error: &ApplyError) -> Status {
    let words = error.to_string();
    match error {
        ApplyError::NothingInForce
        | ApplyError::NothingEarlier
        | ApplyError::RolloutUnderWay { .. } => Status::failed_precondition(words),
        ApplyError::OtherDigest { .. } | ApplyError::OtherRevision { .. } => Status::aborted(words),
        ApplyError::NoRevision(_) | ApplyError::NothingHeld => Status::not_found(words),
    }
}

fn ended() -> Status {
    Status::unavailable("the sidecar is shutting down")
}
