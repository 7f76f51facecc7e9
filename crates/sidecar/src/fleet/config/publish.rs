//! How this member publishes, for operators who ask it to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::orders::StateHeld;
use super::store::{Put, Store};
use crate::clock;
use crate::fleet::Fleet;
use crate::wire::fleet as wire;
use crate::wire::proto::{FleetAdminState, FleetPointer, SetAdminStateRequest};
use tradewind_engine::edition::Which;
use tradewind_engine::fleet::member::Standing;
use tradewind_engine::fleet::waves::USUALLY_WITHIN_MS;
use tradewind_engine::lifecycle::StateError;
use tradewind_engine::model::Digest;

/// How long it may take until what was told to all is in force here.
const HERE_WITHIN: Duration = Duration::from_secs(3);

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

/// What became of a state here.
type Held = Result<StateHeld, StateError>;

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

/// A place in the history of a kind of texts, for one that is about to be published.
#[derive(Debug)]
pub struct Draft {
    which: Which,
    /// Behind which message of the store it goes.
    behind: u64,
    /// The digest of what it takes the place of.
    before: Option<Digest>,
    revision: u64,
    publisher: Arc<Publisher>,
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
    /// What was published last is not in force here, so nothing that was tried here says anything about it.
    #[error(
        "{which} {revision} of the fleet was published {ago} ago by {by}, and is not in force here: {why}; wait for it, or force this"
    )]
    UnderWay {
        /// What it is.
        which: Which,
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
    #[error("another {0} was published at the same time")]
    Overtaken(Which),
    /// All were told, but it is not known what came of it here.
    #[error("all were told, but it is not in force here yet: see the log")]
    NotHere,
    /// It was refused here.
    #[error(transparent)]
    State(#[from] StateError),
}

impl Fleet {
    fn publisher(&self) -> Result<Arc<Publisher>, Unpublished> {
        let open = self.publisher.load_full();
        open.ok_or_else(|| {
            let why = self.configless.lock();
            let why = why.unwrap_or_else(PoisonError::into_inner).clone();
            Unpublished::Away(if why.is_empty() {
                "it was not reached yet".to_owned()
            } else {
                why
            })
        })
    }

    /// A place for a text, if one may be published now; with `force` though another one is under way.
    ///
    /// # Errors
    ///
    /// The bus is away, or another one is under way.
    pub async fn draft(&self, which: Which, force: bool) -> Result<Draft, Unpublished> {
        let publisher = self.publisher()?;
        let last = publisher.store.pointer(which).await;
        let last = last.map_err(Unpublished::Failed)?;
        let (behind, pointer) = last.map_or((0, None), |(at, pointer)| (at, Some(pointer)));
        let (own, highest) =
            self.followed(|followed| (followed.following(which), followed.highest(which)));
        if let Some(last) = pointer
            .as_ref()
            .filter(|it| it.revision > own.revision && !force)
        {
            let ago_ms = clock::unix_ms().saturating_sub(last.at_unix_ms);
            return Err(Unpublished::UnderWay {
                which,
                revision: last.revision,
                ago: format!("{} s", ago_ms / 1_000),
                by: wire::author(last),
                why: own.why,
            });
        }
        // A bus that lost some has less than members know, and those would not follow what is not above that.
        let elsewhere = self.highest_elsewhere(which).await;
        let on_bus = pointer.as_ref().map_or(0, |it| it.revision);
        Ok(Draft {
            which,
            behind,
            before: pointer.and_then(|it| it.digest.parse().ok()),
            revision: on_bus.max(highest).max(elsewhere).saturating_add(1),
            publisher,
        })
    }

    /// The highest revision that other members have.
    async fn highest_elsewhere(&self, which: Which) -> u64 {
        let now = self.now();
        if self.member(|member| member.standing(now)) != Standing::Following {
            return 0;
        }
        let roll = self.roll().await.unwrap_or_default();
        let reports = roll.members.into_iter().filter_map(|it| it.report);
        let highest = reports.filter_map(|report| match which {
            Which::Policy => report.policy_following,
            Which::Topology => report.topology_following,
        });
        highest
            .map(|it| it.revision.max(it.heard))
            .max()
            .unwrap_or(0)
    }

    /// Has all follow a text that is in force here; its revision.
    ///
    /// # Errors
    ///
    /// The bus does not take it, or has taken another one.
    pub async fn publish(&self, draft: Draft, wanted: Published) -> Result<u64, Unpublished> {
        let which = draft.which;
        let digest = Digest::of(wanted.text.as_bytes());
        let store = &draft.publisher.store;
        let laid = store.lay(&wanted.text, &digest).await;
        laid.map_err(Unpublished::Failed)?;
        let other = match which {
            Which::Policy => Which::Topology,
            Which::Topology => Which::Policy,
        };
        let message = FleetPointer {
            kind: wire::text_kind(which).into(),
            revision: draft.revision,
            digest: digest.to_string(),
            size: wanted.text.len() as u64,
            needs: self.followed(|followed| followed.revision(other)),
            within_ms: wanted.within_ms.unwrap_or(USUALLY_WITHIN_MS),
            who: wanted.who,
            why: wanted.why,
            member: self.membership.member.clone(),
            at_unix_ms: clock::unix_ms(),
            signature: wanted.signature,
            force: wanted.force,
        };
        let Some((_, pointer)) = wire::pointer(&message) else {
            return Err(Unpublished::Failed(format!(
                "{which} {} of the fleet cannot be said on the bus",
                draft.revision
            )));
        };
        let put = store.point(which, draft.behind, &message).await;
        match put.map_err(Unpublished::Failed)? {
            Put::Overtaken => return Err(Unpublished::Overtaken(which)),
            Put::At(_) => {}
        }
        tracing::info!(
            kind = which.name(),
            revision = draft.revision,
            digest = digest.short(),
            who = message.who,
            why = message.why,
            within_ms = message.within_ms,
            "published to the fleet"
        );
        self.followed(|followed| followed.took(which, pointer));
        if let Some(before) = draft.before.filter(|before| *before != digest) {
            store.clear(&before).await;
        }
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
        let told = publisher.store.tell(target, &message).await;
        if let Err(why) = told {
            drop(self.waiting.end(number));
            return Err(Unpublished::Failed(why));
        }
        let answered = timeout(HERE_WITHIN, answer).await;
        drop(self.waiting.end(number));
        match answered {
            Ok(Ok(held)) => Ok(held?),
            Ok(Err(_)) | Err(_) => Err(Unpublished::NotHere),
        }
    }
}
