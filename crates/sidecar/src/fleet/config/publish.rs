//! How this member publishes, for operators who ask it to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::time::timeout;

use super::orders::{Held, StateHeld};
use super::store::{Found, Put, Store};
use crate::clock;
use crate::fleet::Fleet;
use crate::wire::fleet as wire;
use crate::wire::proto::{FleetAdminState, FleetPointer, FleetText, SetAdminStateRequest};
use tradewind_engine::edition::Which;
use tradewind_engine::fleet::member::Standing;
use tradewind_engine::fleet::waves::{MAX_AHEAD, USUALLY_WITHIN_MS};
use tradewind_engine::lifecycle::StateError;
use tradewind_engine::model::Digest;

/// How long it may take until what was told to all is in force here.
const HERE_WITHIN: Duration = Duration::from_secs(5);

/// So often a state is told anew that others were quicker with.
const TRIES: usize = 8;

/// The way to the store, while it is open.
#[derive(Debug)]
pub struct Publisher {
    store: Store,
}

impl Publisher {
    pub(super) fn of(store: Store) -> Self {
        Self { store }
    }
}

/// States that this member told, and who waits until they are in force here, by number.
#[derive(Debug, Default)]
pub(in crate::fleet) struct Waiting(Mutex<Waiters>);

#[derive(Debug, Default)]
struct Waiters {
    last: u64,
    by_number: BTreeMap<u64, oneshot::Sender<Held>>,
}

impl Waiting {
    fn begin(&self) -> (u64, oneshot::Receiver<Held>) {
        let mut waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Not one of an earlier run, whose states may be heard again.
        waiters.last = (waiters.last + 1).max(clock::unix_ms());
        let number = waiters.last;
        let (reply, answer) = oneshot::channel();
        waiters.by_number.insert(number, reply);
        (number, answer)
    }

    pub(super) fn end(&self, number: u64) -> Option<oneshot::Sender<Held>> {
        let mut waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.by_number.remove(&number)
    }
}

/// A place in the history of editions, for one that is about to be published. While somebody has it, nothing else that is
/// published comes into force here.
#[derive(Debug)]
pub struct Draft {
    which: Which,
    /// What it takes the place of.
    before: Option<Found<FleetPointer>>,
    revision: u64,
    publisher: Arc<Publisher>,
    _turn: OwnedMutexGuard<()>,
}

/// A text to publish.
#[derive(Debug, Clone)]
pub struct Published {
    /// The text.
    pub text: String,
    /// Its signature; empty where there is none.
    pub signature: String,
    /// How long it takes until all have it, in ms; `None` for as long as usual.
    pub within_ms: Option<u64>,
    /// Whether it may take away much of the fleet, or end a rollout.
    pub force: bool,
    /// Who wants it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// Why nothing was published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unpublished {
    /// There is no way to the store.
    #[error("the bus of the fleet is not to be used: {0}")]
    Away(String),
    /// The store does not answer, or not as it must.
    #[error("{0}")]
    Failed(String),
    /// Nobody says what other members have.
    #[error(
        "nobody has the chair of the fleet, so it is not known which editions others have: wait for it (`tradewind fleet`), or force this"
    )]
    NoChair,
    /// What was published last is not in force here, so nothing that was tried here says anything about it.
    #[error(
        "edition {revision} of the fleet was published {ago} ago by {by}, and is not in force here: {why}; wait for it, or force this"
    )]
    UnderWay {
        /// Its revision.
        revision: u64,
        /// When, in words.
        ago: String,
        /// Who wanted it.
        by: String,
        /// Why it is not.
        why: String,
    },
    /// Somebody else was quicker.
    #[error("another edition was published at the same time")]
    Overtaken,
    /// All were told, but it is not known what came of it here.
    #[error("all were told, but it is not in force here yet: see the log")]
    NotHere,
    /// All were told, and it was refused here.
    #[error("all were told; here: {0}")]
    State(StateError),
}

impl Fleet {
    fn publisher(&self) -> Result<Arc<Publisher>, Unpublished> {
        let open = self.publisher.load_full();
        open.ok_or_else(|| {
            let why = self.configless.get();
            Unpublished::Away(if why.is_empty() {
                "it was not reached yet".to_owned()
            } else {
                why
            })
        })
    }

    /// A place for a text, if one may be published now; with `force` though another one is under way, or nobody knows what others
    /// have.
    ///
    /// # Errors
    ///
    /// The bus is away, another one is under way, or nobody has the chair.
    pub async fn draft(&self, which: Which, force: bool) -> Result<Draft, Unpublished> {
        let publisher = self.publisher()?;
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let before = publisher.store.pointer().await;
        let before = before.map_err(|fault| Unpublished::Failed(fault.to_string()))?;
        let last = before.as_ref().map(|it| &it.message);
        let (own, highest) = self.followed(|it| (it.following(), it.highest()));
        if let Some(last) = last.filter(|it| it.revision > own.revision && !force) {
            let ago_ms = clock::unix_ms().saturating_sub(last.at_unix_ms);
            return Err(Unpublished::UnderWay {
                revision: last.revision,
                ago: format!("{} s", ago_ms / 1_000),
                by: wire::author(last),
                why: own.why,
            });
        }
        // A bus that lost some has less than members know, and those would not follow what is not above that.
        let known = last.map_or(0, |it| it.revision).max(highest);
        let elsewhere = match self.highest_elsewhere(known).await {
            Some(elsewhere) => elsewhere,
            None if force => 0,
            None => return Err(Unpublished::NoChair),
        };
        Ok(Draft {
            which,
            before,
            revision: known.max(elsewhere) + 1,
            publisher,
            _turn: turn,
        })
    }

    /// The highest revision that other members have; `None` where nobody says. What is far above all that is known here nobody
    /// has: a member tells it that lies, or is broken.
    async fn highest_elsewhere(&self, known: u64) -> Option<u64> {
        let now = self.now();
        if self.member(|member| member.standing(now)) != Standing::Following {
            return None;
        }
        let roll = self.roll().await?;
        let reports = roll.members.into_iter().filter_map(|it| it.report);
        let revisions = reports.filter_map(|report| {
            let following = report.following?;
            let highest = following.revision.max(following.heard);
            let is_believable = highest <= known.saturating_add(MAX_AHEAD);
            if !is_believable {
                tracing::warn!(
                    member = report.name,
                    revision = highest,
                    "a member tells of an edition that cannot be"
                );
            }
            is_believable.then_some(highest)
        });
        Some(revisions.max().unwrap_or(0))
    }

    /// Has all follow a text that is in force here; the revision of the edition.
    ///
    /// # Errors
    ///
    /// The bus does not take it, or has taken another one. What it has comes into force here again then.
    pub async fn publish(&self, draft: Draft, wanted: Published) -> Result<u64, Unpublished> {
        let published = self.try_publish(&draft, wanted).await;
        if published.is_err() {
            let now = self.now();
            self.followed(|it| it.again(now));
            self.is_due.notify_one();
        }
        published
    }

    async fn try_publish(&self, draft: &Draft, wanted: Published) -> Result<u64, Unpublished> {
        let digest = Digest::of(wanted.text.as_bytes());
        let store = &draft.publisher.store;
        let laid = store.lay(&wanted.text, &digest).await;
        laid.map_err(Unpublished::Failed)?;
        let before = draft.before.as_ref();
        let message = edition(draft, (&wanted, &digest), &self.membership.member);
        let Some(pointer) = wire::pointer(&message) else {
            let why = format!("edition {} cannot be said on the bus", draft.revision);
            return Err(Unpublished::Failed(why));
        };
        let behind = before.map_or(0, |it| it.at);
        let put = store.point(behind, &message).await;
        if put.map_err(Unpublished::Failed)? == Put::Overtaken {
            return Err(Unpublished::Overtaken);
        }
        // Somebody may have taken the text away meanwhile, to whom nothing pointed to it.
        let laid = store.lay(&wanted.text, &digest).await;
        laid.map_err(Unpublished::Failed)?;
        tracing::info!(
            revision = draft.revision,
            kind = draft.which.name(),
            digest = digest.short(),
            who = message.who,
            why = message.why,
            within_ms = message.within_ms,
            force = wanted.force,
            "published to the fleet"
        );
        self.followed(|it| it.took(pointer)).write().await;
        // Members may be about to fetch what this took the place of.
        let needed = [Some(&message), before.map(|it| &it.message)];
        let texts = needed.into_iter().flatten();
        let texts = texts.flat_map(|it| [&it.policy, &it.topology]).flatten();
        let needed: BTreeSet<String> = texts.map(|it| it.digest.clone()).collect();
        store.clear_but(&needed).await;
        Ok(draft.revision)
    }

    /// Has a state hold at all members; what came of it here.
    ///
    /// # Errors
    ///
    /// The bus is away, or the state is refused here.
    pub async fn set_everywhere(
        &self,
        change: SetAdminStateRequest,
        until_unix_ms: Option<u64>,
    ) -> Result<StateHeld, Unpublished> {
        let publisher = self.publisher()?;
        let target = wire::target_number(&change)
            .ok_or_else(|| Unpublished::Failed("neither node nor site is given".to_owned()))?;
        let (number, answer) = self.waiting.begin();
        let message = FleetAdminState {
            change: Some(change),
            until_unix_ms,
            member: self.membership.member.clone(),
            number,
        };
        let told = tell(&publisher.store, target, &message).await;
        if let Err(why) = told {
            drop(self.waiting.end(number));
            return Err(why);
        }
        let answered = timeout(HERE_WITHIN, answer).await;
        drop(self.waiting.end(number));
        match answered {
            Ok(Ok(Ok(Some(held)))) => Ok(held),
            Ok(Ok(Err(error))) => Err(Unpublished::State(error)),
            Ok(Ok(Ok(None)) | Err(_)) | Err(_) => Err(Unpublished::NotHere),
        }
    }
}

/// Tells a state, behind what is known of that node or site: one that comes late does not take the place of what others said since.
async fn tell(store: &Store, target: u64, message: &FleetAdminState) -> Result<(), Unpublished> {
    for _ in 0..TRIES {
        let known = store.state(target).await;
        let known = known.map_err(|fault| Unpublished::Failed(fault.to_string()))?;
        let behind = known.map_or(0, |it| it.at);
        let put = store.tell((target, behind), message).await;
        if put.map_err(Unpublished::Failed)? == Put::Done {
            return Ok(());
        }
    }
    Err(Unpublished::Failed(
        "others set the state of this at the same time, again and again".to_owned(),
    ))
}

/// The edition with a text in the place of the one of its kind.
fn edition(draft: &Draft, (wanted, digest): (&Published, &Digest), member: &str) -> FleetPointer {
    let before = draft.before.as_ref().map(|it| it.message.clone());
    let before = before.unwrap_or_default();
    let old = |text: Option<FleetText>| {
        text.map(|text| FleetText {
            is_new: false,
            ..text
        })
    };
    let text = FleetText {
        digest: digest.to_string(),
        size: wanted.text.len() as u64,
        signature: wanted.signature.clone(),
        force: wanted.force,
        is_new: true,
    };
    let (policy, topology) = match draft.which {
        Which::Policy => (Some(text), old(before.topology)),
        Which::Topology => (old(before.policy), Some(text)),
    };
    FleetPointer {
        revision: draft.revision,
        policy,
        topology,
        within_ms: wanted.within_ms.unwrap_or(USUALLY_WITHIN_MS),
        who: wanted.who.clone(),
        why: wanted.why.clone(),
        member: member.to_owned(),
        at_unix_ms: clock::unix_ms(),
    }
}
