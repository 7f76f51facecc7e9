//! What followers are told of purges: all that there are, then each as it comes into force.

use std::sync::Arc;

use prost::Message;
use tokio::sync::mpsc;

use crate::clock;
use crate::freshness::Freshness;
use crate::freshness::records::age_ms;
use crate::freshness::telling::{Hearer, tell_after};
use crate::wire::proto::followed::Part;
use crate::wire::proto::{Followed, FollowedFloors, FollowedPurge, FollowedPurges, Purged};
use tradewind_engine::freshness::floors::NodeFloors;

/// Bytes of purges in one message, but for the last of them, which has half a MiB at most where it was purged here and one where
/// the fleet's bus brought it.
const PIECE_BYTES: usize = 128 << 10;

/// Purges in one message.
const PIECE_PURGES: usize = 1_024;

/// What a follower is told of purges.
pub(super) struct Purges {
    freshness: Arc<Freshness>,
    /// The last that was told.
    after: u64,
    /// The floors of nodes that were told.
    floors: NodeFloors,
    told: Telling,
}

/// Purges on their way.
struct Telling {
    parts: mpsc::Sender<Followed>,
    next: FollowedPurges,
    bytes: usize,
}

impl Purges {
    /// For somebody who has all up to `after`, if that is a purge that is known here.
    pub(super) fn after(
        after: u64,
        freshness: Arc<Freshness>,
        parts: mpsc::Sender<Followed>,
    ) -> Self {
        let is_known = freshness.records(|it| it.find(after).is_some());
        let next = FollowedPurges {
            is_anew: !is_known,
            ..FollowedPurges::default()
        };
        Self {
            freshness,
            after: if is_known { after } else { 0 },
            floors: NodeFloors::default(),
            told: Telling {
                parts,
                next,
                bytes: 0,
            },
        }
    }

    /// Tells of what there is now, and that this is all; whether there is still somebody to tell.
    pub(super) async fn tell(&mut self) -> bool {
        let before = self.after;
        if !tell_after(&self.freshness, &mut self.after, &mut self.told).await {
            return false;
        }
        // Looked at afterwards: what was lost while the others were told counts as well.
        let untold = self.freshness.records(|it| it.untold_after(before));
        let floors = self.freshness.floors();
        let next = &mut self.told.next;
        if *floors != self.floors {
            next.floors = Some(floors_message(&floors));
            self.floors = (*floors).clone();
        }
        next.head = self.after;
        next.floor = self.freshness.floor().max(untold);
        next.life_ms = self.freshness.life_ms();
        next.is_all = true;
        next.may_miss = !self.freshness.is_known();
        self.told.send().await
    }
}

impl Telling {
    async fn send(&mut self) -> bool {
        self.bytes = 0;
        let part = Part::Purges(std::mem::take(&mut self.next));
        let part = Followed { part: Some(part) };
        self.parts.send(part).await.is_ok()
    }
}

impl Hearer for Telling {
    async fn hear(&mut self, purged: &Purged) -> bool {
        // Who asked for it, and why, is nobody's business who only decides by it.
        let told = Purged {
            sequence: purged.sequence,
            namespace: purged.namespace.clone(),
            selectors: purged.selectors.clone(),
            not_older_than_unix_ms: purged.not_older_than_unix_ms,
            over: purged.over,
            everything: purged.everything,
            ..Purged::default()
        };
        self.bytes += told.encoded_len();
        self.next.head = told.sequence;
        self.next.purges.push(FollowedPurge {
            purged: Some(told),
            age_ms: age_ms(purged, clock::unix_ms()),
        });
        let is_full = self.bytes >= PIECE_BYTES || self.next.purges.len() >= PIECE_PURGES;
        !is_full || self.send().await
    }
}

fn floors_message(floors: &NodeFloors) -> FollowedFloors {
    let mut message = FollowedFloors::default();
    for (node, sequence) in floors.iter() {
        message.nodes.push(node.to_owned());
        message.sequences.push(sequence);
    }
    message
}
