//! Followers: callers that keep a copy of what decisions are made from, to go on with when this sidecar does not answer.
//!
//! Each is a call that lives as long as its stream. What is published is looked at once a second, so the deciding path
//! knows nothing of followers; purges are told as they come into force. Texts go out in pieces that are taken one by one: a follower that reads slowly holds back
//! a piece or two, never a whole fleet.

mod purges;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::Stream;
use tonic::Status;

use crate::identity::Caller;
use crate::state::followers::{MAX_FOLLOWERS, Place};
use crate::state::{NO_POLICY, Published, State};
use crate::wire::follow;
use crate::wire::proto::followed::Part;
use crate::wire::proto::{FollowRequest, Followed, FollowedReceipts};
use purges::Purges;
use tradewind_engine::edition::Texts;

/// How often what is published is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Most bytes of a text in one message.
const PIECE_BYTES: usize = 256 << 10;

/// Lets `caller` follow, who holds what `request` says. `instance` names this process in the ids of decisions.
pub fn open(
    state: &Arc<State>,
    (instance, caller): (u16, &Caller),
    request: FollowRequest,
) -> Result<Parts, Status> {
    if state.published.load().is_none() {
        return Err(Status::failed_precondition(NO_POLICY));
    }
    let place = state.followers.place(caller).ok_or_else(|| {
        tracing::warn!(%caller, "a follower is turned away, its caller has as many places as are left");
        Status::resource_exhausted(format!(
            "of the {MAX_FOLLOWERS} places for followers {caller} has its part"
        ))
    })?;
    // One message waits at most.
    let (parts, queue) = mpsc::channel(1);
    let (first_id, key) = state.receipts.for_copy(instance);
    let receipts = FollowedReceipts {
        first_id,
        key: key.to_bytes().to_vec(),
    };
    let purges = request.purges.then(|| {
        let freshness = Arc::clone(&state.freshness);
        Purges::after(request.purges_after, freshness, parts.clone())
    });
    let follower = Follower {
        state: Arc::clone(state),
        parts,
        holds: request,
        told: None,
        purges,
    };
    tokio::spawn(follower.run(receipts));
    Ok(Parts {
        queue,
        _place: place,
    })
}

/// What a follower is told, part by part.
#[derive(Debug)]
pub struct Parts {
    queue: mpsc::Receiver<Followed>,
    /// Its place among the followers, given back on drop.
    _place: Place,
}

impl Stream for Parts {
    type Item = Result<Followed, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.queue.poll_recv(context).map(|part| part.map(Ok))
    }
}

/// One follower, for as long as its stream lives.
struct Follower {
    state: Arc<State>,
    parts: mpsc::Sender<Followed>,
    holds: FollowRequest,
    /// The generation it was told of last.
    told: Option<u64>,
    /// What it is told of purges, if it wants to be.
    purges: Option<Purges>,
}

impl Follower {
    /// Tells of what is published until the follower goes or shutdown begins.
    async fn run(mut self, receipts: FollowedReceipts) {
        let receipts = Followed {
            part: Some(Part::Receipts(receipts)),
        };
        // There is room for one.
        drop(self.parts.try_send(receipts));
        let mut draining = self.state.fleet.subscribe();
        let mut heads = self.state.freshness.heads();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_tick = tokio::select! {
                _ = ticks.tick() => true,
                Ok(()) = heads.changed(), if self.purges.is_some() => false,
                () = self.parts.closed() => return,
                _ = draining.wait_for(|fleet| fleet.draining) => return,
            };
            // First what was purged: what a follower decides by its first copy is as fresh as by any other.
            if let Some(purges) = &mut self.purges
                && !purges.tell().await
            {
                return;
            }
            if !is_tick {
                continue;
            }
            for part in self.look() {
                let part = Followed { part: Some(part) };
                if self.parts.send(part).await.is_err() {
                    return;
                }
            }
        }
    }

    /// What is to be told, if anything has changed.
    fn look(&mut self) -> impl Iterator<Item = Part> + Send + use<> {
        let published = self.state.published.load_full();
        let generation = published.as_ref().map(|p| p.snapshot.generation());
        let news = published.filter(|_| generation != self.told);
        self.told = generation;
        news.map(|published| Telling::new(&published, &mut self.holds))
            .into_iter()
            .flatten()
    }
}

/// The parts of one snapshot, made as they are taken.
struct Telling {
    texts: Texts,
    /// Pieces of the policy and then of the topology, as ranges of bytes.
    policy: VecDeque<(usize, usize)>,
    topology: VecDeque<(usize, usize)>,
    state: Option<Part>,
}

impl Telling {
    /// What somebody who `holds` these texts has to be told; then it holds those of this snapshot.
    fn new(published: &Published, holds: &mut FollowRequest) -> Self {
        let state = follow::state_message(&published.snapshot, published.revision);
        let texts = published.texts.clone();
        let wanted = |held: &mut String, digest: &String, text: &str| {
            if held == digest {
                return VecDeque::new();
            }
            held.clone_from(digest);
            pieces(text.len())
        };
        Self {
            policy: wanted(
                &mut holds.policy_digest,
                &state.policy_digest,
                &texts.policy,
            ),
            topology: wanted(
                &mut holds.topology_digest,
                &state.topology_digest,
                &texts.topology,
            ),
            texts,
            state: Some(Part::State(Box::new(state))),
        }
    }
}

impl Iterator for Telling {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let piece = |text: &str, (from, to): (usize, usize)| {
            let bytes = text.as_bytes().get(from..to);
            bytes.unwrap_or_default().to_vec()
        };
        if let Some(range) = self.policy.pop_front() {
            return Some(Part::Policy(piece(&self.texts.policy, range)));
        }
        if let Some(range) = self.topology.pop_front() {
            return Some(Part::Topology(piece(&self.texts.topology, range)));
        }
        self.state.take()
    }
}

/// A text of so many bytes in pieces. Bytes, not characters: it is put together before it is read.
fn pieces(length: usize) -> VecDeque<(usize, usize)> {
    (0..length)
        .step_by(PIECE_BYTES)
        .map(|from| (from, length.min(from + PIECE_BYTES)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_every_byte_once() {
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let pieces = pieces(length);
            let mut at = 0;
            for (from, to) in &pieces {
                assert_eq!(*from, at);
                assert!(*to - *from <= PIECE_BYTES);
                at = *to;
            }
            assert_eq!((at, pieces.len()), (length, length.div_ceil(PIECE_BYTES)));
        }
    }
}
