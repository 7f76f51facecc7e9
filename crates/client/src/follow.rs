//! Keeps the copy of the sidecar's snapshot as fresh as the sidecar tells of it.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;

use super::Shared;
use super::assembly::{Assembly, CopyFault, NewTexts};
use super::counters::bump;
use tradewind_engine::document::MAX_DOCUMENT_BYTES;
use tradewind_engine::edition::Which;
use tradewind_wire::follow::MAX_STATE_BYTES;
use tradewind_wire::proto::decision_service_client::DecisionServiceClient;
use tradewind_wire::proto::followed::Part;
use tradewind_wire::proto::{Followed, FollowedState};
use tradewind_wire::receipt::{CopyNumbers, ReceiptKey};

/// From the end of a stream to the next; each further one waits twice as long, up to the second.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// From a policy that this client cannot read to the next look: whole texts are told each time.
const UNREADABLE_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Why a stream was given up.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The sidecar is not there, or has ended it.
    #[error("the sidecar does not tell: {0}")]
    Stream(#[from] Status),
    /// What it tells cannot be used.
    #[error(transparent)]
    Fault(#[from] CopyFault),
    /// A text is longer than a document may be.
    #[error("a text that was told has more than {MAX_DOCUMENT_BYTES} bytes")]
    TooLong,
    /// The runtime is ending.
    #[error("the runtime ends")]
    Runtime,
}

/// Follows for as long as the client lives.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut assembly = Assembly::default();
    let (shortest, longest) = AGAIN_AFTER;
    let mut wait = shortest;
    loop {
        let taken = shared.counts.read().copies;
        let mut least = Duration::ZERO;
        match follow(&shared, &mut assembly).await {
            Ok(()) | Err(Ended::Stream(_) | Ended::Runtime) => {}
            Err(fault @ Ended::Fault(CopyFault::Expressions)) => {
                bump(&shared.counts.bad_copies, 1);
                tracing::warn!(%fault, "no copy of the sidecar's snapshot is kept: only the sidecar decides");
                assembly = Assembly::default();
                shared.copied.store(None);
                least = UNREADABLE_AGAIN_AFTER;
            }
            Err(fault) => {
                bump(&shared.counts.bad_copies, 1);
                tracing::warn!(%fault, "the copy of the sidecar's snapshot stays as it was");
                assembly.forget();
            }
        }
        wait = if shared.counts.read().copies > taken {
            shortest
        } else {
            longest.min(wait * 2)
        };
        tokio::time::sleep(wait.max(least)).await;
    }
}

/// Takes copies until the stream ends.
async fn follow(shared: &Shared, assembly: &mut Assembly) -> Result<(), Ended> {
    let mut client = DecisionServiceClient::new(shared.lines.side.clone())
        .max_decoding_message_size(MAX_STATE_BYTES);
    let mut parts = client.follow(assembly.holds()).await?.into_inner();
    let mut pieces = Pieces::default();
    while let Some(Followed { part }) = parts.message().await? {
        match part {
            Some(Part::Policy(piece)) => pieces.policy.add(&piece)?,
            Some(Part::Topology(piece)) => pieces.topology.add(&piece)?,
            Some(Part::Receipts(told)) => {
                let key = ReceiptKey::from_bytes(&told.key);
                let numbers = key.map(|key| Arc::new(CopyNumbers::new(told.first_id, key)));
                shared.numbers.store(numbers);
            }
            Some(Part::State(state)) => {
                let texts = std::mem::take(&mut pieces).texts()?;
                take(shared, assembly, (texts, *state)).await?;
            }
            // Of a later version: nothing this one needs.
            None => {}
        }
    }
    Ok(())
}

/// Makes the next copy aside, because compiling a large fleet takes longer than other tasks of the runtime should wait.
async fn take(
    shared: &Shared,
    assembly: &mut Assembly,
    (texts, state): (NewTexts, FollowedState),
) -> Result<(), Ended> {
    let mut own = std::mem::take(assembly);
    let made = tokio::task::spawn_blocking(move || {
        let made = own.next(texts, &state);
        (own, made)
    });
    let (own, made) = made.await.map_err(|_| Ended::Runtime)?;
    *assembly = own;
    shared.copied.store(Some(made?));
    bump(&shared.counts.copies, 1);
    Ok(())
}

/// Texts whose pieces are still coming.
#[derive(Debug, Default)]
struct Pieces {
    policy: Pending,
    topology: Pending,
}

/// A text of which some came; `None` before the first piece.
#[derive(Debug, Default)]
struct Pending(Option<Vec<u8>>);

impl Pieces {
    fn texts(self) -> Result<NewTexts, Ended> {
        Ok(NewTexts {
            policy: self.policy.text(Which::Policy)?,
            topology: self.topology.text(Which::Topology)?,
        })
    }
}

impl Pending {
    fn add(&mut self, piece: &[u8]) -> Result<(), Ended> {
        let text = self.0.get_or_insert_default();
        text.extend_from_slice(piece);
        if text.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(Ended::TooLong);
        }
        Ok(())
    }

    fn text(self, which: Which) -> Result<Option<String>, Ended> {
        let text = self.0.map(String::from_utf8).transpose();
        text.map_err(|error| CopyFault::Unusable(which, error.to_string()).into())
    }
}
