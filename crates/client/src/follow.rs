//! Keeps the copy of the sidecar's snapshot as fresh as the sidecar tells of it.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinHandle};
use tonic::{Code, Status, Streaming};

use super::Shared;
use super::assembly::{Assembly, Copied, CopyFault, NewTexts};
use super::counters::bump;
use super::last_good;
use super::purges::Purges;
use tradewind_engine::document::MAX_DOCUMENT_BYTES;
use tradewind_engine::edition::Which;
use tradewind_wire::clock;
use tradewind_wire::follow::MAX_STATE_BYTES;
use tradewind_wire::proto::decision_service_client::DecisionServiceClient;
use tradewind_wire::proto::followed::Part;
use tradewind_wire::proto::{FollowRequest, Followed, FollowedPurges, FollowedState};
use tradewind_wire::receipt::{CopyNumbers, ReceiptKey};

/// From the end of a stream to the next; each further one waits twice as long, up to the second.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// From a policy that this client cannot read to the next look: whole texts are told each time.
const UNREADABLE_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// How often a stream on which nothing comes is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the last good copy goes to disk at most.
const KEPT_EVERY: Duration = Duration::from_mins(1);

/// Selectors of purges that are taken between other things; hashing one takes a microsecond or two.
const MOST_AT_ONCE: usize = 64;

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
    let mut keeper = Keeper::default();
    let mut is_turned_away = false;
    if let Some(folder) = &shared.options.last_good {
        begin_with_kept(&shared, &mut assembly, folder).await;
    }
    let (shortest, longest) = AGAIN_AFTER;
    let mut wait = shortest;
    loop {
        let taken = shared.counts.read().copies;
        let mut least = Duration::ZERO;
        match follow(&shared, &mut assembly, &mut keeper).await {
            Err(Ended::Stream(status)) if turns_away(status.code()) => {
                if !std::mem::replace(&mut is_turned_away, true) {
                    tracing::warn!(
                        status = status.message(),
                        "the sidecar does not let this client follow"
                    );
                }
            }
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
            is_turned_away = false;
            shortest
        } else {
            longest.min(wait * 2)
        };
        tokio::time::sleep(wait.max(least)).await;
    }
}

/// Begins with the copy that is on disk, if that may be used.
async fn begin_with_kept(shared: &Shared, assembly: &mut Assembly, folder: &Path) {
    let at = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || last_good::read(&at)).await;
    let kept = match read {
        Ok(Ok(Some(kept))) => kept,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(fault)) => {
            tracing::warn!(folder = %folder.display(), %fault, "the last good copy is not used");
            return;
        }
    };
    let texts = NewTexts {
        policy: Some(kept.policy),
        topology: Some(kept.topology),
    };
    // First what was purged, as ever.
    if let Some(purges) = kept.purges {
        shared.purges.restore(purges, kept.age, clock::now());
    }
    let made = make(assembly, texts, &Arc::new(kept.state)).await;
    match put_in_place(shared, assembly, made) {
        Ok(()) => {
            bump(&shared.counts.copies_restored, 1);
            tracing::info!(folder = %folder.display(), age_s = kept.age.as_secs(), "begins with the last good copy");
        }
        Err(fault) => {
            tracing::warn!(folder = %folder.display(), %fault, "the last good copy is not used");
            *assembly = Assembly::default();
        }
    }
}

/// Whether it is this client that the sidecar does not want: it has no place for it, or knows nobody who may.
fn turns_away(code: Code) -> bool {
    matches!(
        code,
        Code::ResourceExhausted | Code::Unauthenticated | Code::PermissionDenied
    )
}

/// Takes copies and purges until the stream ends.
async fn follow(
    shared: &Shared,
    assembly: &mut Assembly,
    keeper: &mut Keeper,
) -> Result<(), Ended> {
    let mut client = DecisionServiceClient::new(shared.lines.side.clone())
        .max_decoding_message_size(MAX_STATE_BYTES);
    let holds = FollowRequest {
        purges: true,
        purges_after: shared.purges.head(),
        ..assembly.holds()
    };
    let mut parts = client.follow(holds).await?.into_inner();
    let mut making = None;
    let heard = hear(shared, (assembly, keeper), &mut parts, &mut making).await;
    // Whatever ended it: the assembly is there.
    let made = match making {
        Some((making, state)) => {
            let made = making.await;
            put(shared, (assembly, keeper), made, state)
        }
        None => Ok(()),
    };
    heard.and(made)
}

/// A copy on its way: it is made aside, because compiling a large fleet takes longer than what is purged meanwhile should wait, and
/// other tasks of the runtime.
type Making = JoinHandle<(Assembly, Result<Arc<Copied>, CopyFault>)>;

/// A copy that was made, and the assembly that made it.
type Made = Result<(Assembly, Result<Arc<Copied>, CopyFault>), JoinError>;

/// What comes next.
enum Next {
    Told(Result<Option<Followed>, Status>),
    Made(Made),
}

async fn hear(
    shared: &Shared,
    (assembly, keeper): (&mut Assembly, &mut Keeper),
    parts: &mut Streaming<Followed>,
    making: &mut Option<(Making, Arc<FollowedState>)>,
) -> Result<(), Ended> {
    let mut pieces = Pieces::default();
    loop {
        let next = tokio::time::timeout(LOOK_EVERY, next(parts, making)).await;
        let part = match next {
            Ok(Next::Told(Ok(Some(Followed { part })))) => part,
            Ok(Next::Told(Ok(None))) => return Ok(()),
            Ok(Next::Told(Err(status))) => return Err(status.into()),
            Ok(Next::Made(made)) => {
                if let Some((_, state)) = making.take() {
                    put(shared, (assembly, keeper), made, state)?;
                }
                None
            }
            // Nothing has changed, and the stream lives.
            Err(_elapsed) => None,
        };
        shared.heard.now(clock::now());
        match part {
            Some(Part::Policy(piece)) => pieces.policy.add(&piece)?,
            Some(Part::Topology(piece)) => pieces.topology.add(&piece)?,
            Some(Part::Receipts(told)) => {
                let key = ReceiptKey::from_bytes(&told.key);
                let numbers = key.map(|key| Arc::new(CopyNumbers::new(told.first_id, key)));
                shared.numbers.store(numbers);
            }
            Some(Part::Purges(told)) => purge(&shared.purges, told).await?,
            Some(Part::State(state)) => {
                // They come in order, one a second at most; what was purged waits only where making one takes longer.
                if let Some((before, state)) = making.take() {
                    put(shared, (assembly, keeper), before.await, state)?;
                }
                let texts = std::mem::take(&mut pieces).texts()?;
                let state = Arc::new(*state);
                *making = Some((make(assembly, texts, &state), state));
            }
            // Of a later version: nothing this one needs.
            None => {}
        }
        if let Some(folder) = &shared.options.last_good {
            keeper.keep(shared, assembly, folder).await;
        }
        let numbers = shared.numbers.load();
        // Each stream is given others.
        if numbers
            .as_ref()
            .is_some_and(|numbers| numbers.is_running_out())
        {
            return Ok(());
        }
    }
}

/// The next part that is told, or the copy that was made.
async fn next(
    parts: &mut Streaming<Followed>,
    making: &mut Option<(Making, Arc<FollowedState>)>,
) -> Next {
    let mut told = std::pin::pin!(parts.message());
    std::future::poll_fn(|context| {
        if let Some((making, _)) = making
            && let Poll::Ready(made) = Pin::new(making).poll(context)
        {
            return Poll::Ready(Next::Made(made));
        }
        told.as_mut().poll(context).map(Next::Told)
    })
    .await
}

/// Begins to make the next copy.
fn make(assembly: &mut Assembly, texts: NewTexts, state: &Arc<FollowedState>) -> Making {
    let (mut own, state) = (std::mem::take(assembly), Arc::clone(state));
    tokio::task::spawn_blocking(move || {
        let made = own.next(texts, &state);
        (own, made)
    })
}

/// Lets the sidecar's next copy be decided from.
fn put(
    shared: &Shared,
    (assembly, keeper): (&mut Assembly, &mut Keeper),
    made: Made,
    state: Arc<FollowedState>,
) -> Result<(), Ended> {
    put_in_place(shared, assembly, made)?;
    bump(&shared.counts.copies, 1);
    keeper.state = Some(state);
    keeper.is_written = false;
    Ok(())
}

/// Lets a copy be decided from, and has the assembly back.
fn put_in_place(shared: &Shared, assembly: &mut Assembly, made: Made) -> Result<(), Ended> {
    let (own, made) = made.map_err(|_| Ended::Runtime)?;
    *assembly = own;
    let copied = made?;
    let before = shared.copied.load();
    let before = before.as_ref().map_or(0, |it| it.candidate_buckets());
    if before == 0 && copied.candidate_buckets() > 0 {
        tracing::warn!(
            "a candidate decides some of the requests that the sidecar is asked about, and none of those decided here"
        );
    }
    shared.copied.store(Some(copied));
    Ok(())
}

/// Takes what was purged; aside where that is much.
async fn purge(purges: &Arc<Purges>, told: FollowedPurges) -> Result<(), Ended> {
    let each = told.purges.iter().filter_map(|it| it.purged.as_ref());
    let selectors: usize = each.map(|it| it.selectors.len()).sum();
    if selectors <= MOST_AT_ONCE {
        purges.take(&told, clock::now());
        return Ok(());
    }
    let purges = Arc::clone(purges);
    let taking = tokio::task::spawn_blocking(move || purges.take(&told, clock::now()));
    taking.await.map_err(|_| Ended::Runtime)
}

/// Keeps the last good copy on disk.
#[derive(Debug, Default)]
struct Keeper {
    /// The last state that was told: what lay on disk before may be of long ago.
    state: Option<Arc<FollowedState>>,
    /// Whether it is on disk, and how many changes of what was purged are.
    is_written: bool,
    purges_written: u64,
    /// When it was last tried.
    tried: Option<Instant>,
    is_failing: bool,
}

impl Keeper {
    /// Writes the last copy, or says that it still holds; once a minute.
    async fn keep(&mut self, shared: &Shared, assembly: &Assembly, folder: &Path) {
        let now = clock::now();
        let is_early = |tried: Instant| now.saturating_duration_since(tried) < KEPT_EVERY;
        if self.tried.is_some_and(is_early) {
            return;
        }
        let Some((texts, state)) = assembly.texts().zip(self.state.clone()) else {
            return;
        };
        self.tried = Some(now);
        let at = folder.to_owned();
        let purges = Arc::clone(&shared.purges);
        let changes = purges.changes();
        let is_same = self.is_written && changes == self.purges_written;
        let kept = tokio::task::spawn_blocking(move || {
            if is_same {
                return last_good::renew(&at);
            }
            let purges = purges.to_keep(clock::now());
            last_good::write(&at, &texts, (&state, purges))
        });
        match kept.await {
            Ok(Ok(())) => {
                bump(&shared.counts.copies_kept, 1);
                (self.is_written, self.purges_written) = (true, changes);
                self.is_failing = false;
            }
            Ok(Err(error)) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(folder = %folder.display(), %error, "the last good copy cannot be kept");
                }
            }
            // The runtime ends.
            Err(_) => {}
        }
    }
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
