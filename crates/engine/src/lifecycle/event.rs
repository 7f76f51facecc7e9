//! What the steward is told, and what it says is to be done.

use std::sync::Arc;

use super::notice::Notice;
use super::{
    Applied, ApplyError, Entries, Geo, PolicyApplied, PolicyUpdate, Revision, RolloutAnswer,
    RolloutError, RolloutOrder, RolloutRecord, RolloutRequest, StateChange, StateChanged,
    StateError, Tried, Update, Wanted,
};
use crate::edition::Edition;
use crate::rollout::Seen;
use crate::topology::Topology;

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The sources were read. Nothing comes of the same once more.
    Read(Wanted),
    /// Other geo tables are to be used.
    Geo(Geo),
    /// A policy is given by a call, to be used with the topology in force.
    ApplyPolicy(PolicyUpdate),
    /// A topology is given by a call, to be used with the policy in force.
    ApplyTopology(Update),
    /// A policy is to be rolled out, or looked at.
    StartRollout(Box<RolloutRequest>),
    /// An operator asks something of the rollout that there is.
    OrderRollout(RolloutOrder),
    /// What is seen of the candidate, over the [windows](super::Steward::rollout_windows_ms) of guards.
    Seen(Seen),
    /// An operator sets a state, or takes it away.
    SetState(StateChange),
    /// Time has passed.
    Tick,
    /// This is on disk now. What the host is not sure of it does not tell, so that it is asked to keep it again.
    Kept(Keep),
}

/// What is to be done about an event: keep, publish, reply, in this order. What need not be done is not there.
#[derive(Debug, Default)]
#[must_use = "an event whose effects are not carried out is lost"]
pub struct Effects {
    /// To be on disk before anything is published. What fails is told and passed over: serving goes on.
    pub keep: Vec<Keep>,
    /// To be logged and counted.
    pub say: Vec<Notice>,
    /// To be served from now on.
    pub publish: Option<Publish>,
    /// The answer to whoever asked.
    pub reply: Option<Reply>,
}

/// Something to be kept over a restart, whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub enum Keep {
    /// What took effect; in the place of what is kept under the same number.
    Revision(Arc<Revision>),
    /// The rollout that there is; `None` for none.
    Rollout(Option<Arc<RolloutRecord>>),
    /// The states that operators set.
    States(Arc<Entries>),
}

/// What is to be served.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The policy, and the fleet as its text says.
    pub edition: Edition,
    /// The same fleet with the states that operators set; the very same value while neither has changed.
    pub topology: Arc<Topology>,
    /// Counts editions that took effect.
    pub revision: u64,
    /// A policy that is tried beside it.
    pub candidate: Option<Tried>,
    /// Where clients are.
    pub geo: Geo,
}

/// The answer to an event that asks for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`Event::ApplyPolicy`].
    Policy(Result<PolicyApplied, ApplyError>),
    /// To [`Event::ApplyTopology`].
    Topology(Result<Applied, ApplyError>),
    /// To [`Event::StartRollout`] and [`Event::OrderRollout`].
    Rollout(Result<RolloutAnswer, RolloutError>),
    /// To [`Event::SetState`].
    State(Result<StateChanged, StateError>),
}

impl Effects {
    /// Whether there is nothing to do.
    pub fn is_nothing(&self) -> bool {
        let Self {
            keep,
            publish,
            say,
            reply,
        } = self;
        keep.is_empty() && publish.is_none() && say.is_empty() && reply.is_none()
    }

    /// Nothing but an answer.
    pub(super) fn reply(reply: Reply) -> Self {
        Self {
            reply: Some(reply),
            ..Self::default()
        }
    }
}
