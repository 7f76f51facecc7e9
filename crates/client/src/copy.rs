//! Deciding from the last copy of what the sidecar decides from, without asking it and without a string made.

use std::net::SocketAddr;

use super::assembly::{Beside, Copied};
use super::counters::bump;
use super::made::Made;
use super::ruling::Ruling;
use super::{InvalidRequest, Shared};
use tradewind_engine::decision::Decision;
use tradewind_engine::request::Reading;
use tradewind_engine::signal::observation::DecisionNumber;
use tradewind_wire::decided;
use tradewind_wire::question::Question;
use tradewind_wire::receipt::DecisionId;

/// The last copy of what the sidecar decides from; [`Client::on_copy`](super::Client::on_copy) shows it.
#[derive(Debug, Clone, Copy)]
pub struct LastCopy<'c> {
    pub(super) shared: &'c Shared,
    pub(super) copied: &'c Copied,
}

impl LastCopy<'_> {
    /// How its policy reads requests: a question needs no other headers than those that this names.
    pub fn reading(&self) -> &Reading {
        self.copied.reading()
    }

    /// Decides, and gives the decision to `then`. Waits for nothing, and allocates nothing unless the policy looks at headers or
    /// the request's spelling has to be changed. Only a request that is itself wrong is an error.
    pub fn decide<T>(
        &self,
        question: &Question<'_>,
        then: impl FnOnce(&Ruling<'_>) -> T,
    ) -> Result<T, InvalidRequest> {
        let shared = self.shared;
        let numbers = shared.numbers.load();
        let made = numbers.as_ref().and_then(|numbers| numbers.next());
        let id = made.as_ref().map_or("", |(_, id)| DecisionId::as_str(id));
        let told = |client| shared.place_of(client);
        let beside = Beside {
            decision_id: id,
            purges: &shared.purges,
            limiter: &shared.limiter,
        };
        let decided = self.copied.decide(question, (told, &beside), |ruling| {
            if let Some((number, _)) = made {
                self.keep(number, &ruling.decision);
            }
            then(ruling)
        })?;
        bump(&shared.counts.asked, 1);
        bump(&shared.counts.local, 1);
        Ok(decided)
    }

    /// Keeps what will have to be told of a decision.
    fn keep(&self, number: u64, decision: &Decision<'_>) {
        let dispatch = decision.dispatch(DecisionNumber::of(number));
        if let (Some(dispatch), Some(tier)) = (dispatch, decision.tier()) {
            self.shared.made.put(Made {
                number,
                key: dispatch.key.0,
                decided: decided::message(&dispatch, tier.affinity, self.copied.revision()),
            });
        }
    }

    /// Counts policies and topologies that took effect in the sidecar's process.
    pub fn revision(&self) -> u64 {
        self.copied.revision()
    }

    /// Of 10,000 requests, how many a candidate decides at the sidecar and not here.
    pub fn candidate_buckets(&self) -> u16 {
        self.copied.candidate_buckets()
    }

    /// The id of the node at an address; of several at one the first.
    pub fn node_at(&self, address: SocketAddr) -> Option<&str> {
        self.copied.node_at(address)
    }
}
