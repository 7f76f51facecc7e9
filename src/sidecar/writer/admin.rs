//! The fleet at run time: topologies given by call, states set by operators, and updates that wait to be confirmed.
//!
//! What is compiled from text stays as it is; the states that operators set are laid over a copy, which is published. The
//! policy fits both, because their indices are the same. The copy is made again only when there is something new, so that
//! whoever compares published topologies by pointer sees a change only where there is one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::settle::{self, Candidate, Wanted};
use super::{Event, Fate, Mailbox, Outcome, Writer};
use crate::engine::control::Next;
use crate::engine::document::Diagnostics;
use crate::engine::model::{AdminState, Digest};
use crate::engine::topology::Topology;
use crate::engine::topology::removal::Removal;
use crate::sidecar::clock;
use crate::sidecar::overlay::{Entry, Full, Overlay, Target};
use crate::sidecar::state::{DocumentState, Fleet, Held};

/// Fewest hexadecimal digits that may stand for a whole digest.
pub const MIN_DIGEST_DIGITS: usize = 16;

/// What is asked about the fleet.
pub(super) enum Ask {
    /// Put a topology in force.
    Apply(Update, oneshot::Sender<Result<Applied, ApplyError>>),
    /// Set a state, or take one away.
    SetState(
        StateChange,
        oneshot::Sender<Result<StateChanged, StateError>>,
    ),
    /// What is in force, with its text.
    Get(oneshot::Sender<Option<InForce>>),
}

/// A topology to put in force.
#[derive(Debug, Clone)]
pub struct Update {
    /// Which one.
    pub document: Document,
    /// The digest that must be in force, or its first digits; empty for any.
    pub if_digest: String,
    /// Whether it may take away more than the policy allows unconfirmed.
    pub confirm_removal: bool,
    /// Who asks, for the log.
    pub who: String,
    /// Why, for the log.
    pub why: String,
}

/// Which topology to put in force.
#[derive(Debug, Clone)]
pub enum Document {
    /// The one with this text.
    Text(String),
    /// The one that is held, by its digest or the first digits of that.
    Held(String),
}

/// What became of a topology.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The digest of what is in force now.
    pub in_force: Digest,
    /// The digest of what was given.
    pub given: Digest,
    /// Counts policies and topologies that took effect.
    pub revision: u64,
    /// What it takes away of the fleet before.
    pub removal: Removal,
    /// Why it is held, if it is.
    pub held: Option<String>,
    /// Why it is refused; without errors if it is not.
    pub faults: Diagnostics,
    /// What somebody should look at.
    pub warnings: Diagnostics,
}

/// Why a topology was not looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// There is no policy to use it with.
    #[error("no policy is in force yet, see /readyz on the debug door")]
    NothingInForce,
    /// Another topology is in force than the caller thinks.
    #[error("the topology in force is {in_force}, not the one in `if_digest`")]
    OtherDigest {
        /// The digest of that.
        in_force: Digest,
    },
    /// No such update is held.
    #[error("no update with that digest is held")]
    NothingHeld,
}

/// A state to set.
#[derive(Debug, Clone)]
pub struct StateChange {
    /// For what.
    pub target: Target,
    /// The state; ready takes away what was set.
    pub state: AdminState,
    /// How long it lasts, in ms; `None` for until it is taken away.
    pub lasts_ms: Option<u64>,
    /// Who asks.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What setting a state came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateChanged {
    /// The target's state before.
    pub previous: AdminState,
    /// Its state now.
    pub effective: AdminState,
    /// How many nodes' states changed.
    pub nodes_changed: usize,
    /// Whether it is on disk.
    pub is_kept: bool,
}

/// Why a state was not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// There is no fleet.
    #[error("no policy is in force yet, see /readyz on the debug door")]
    NothingInForce,
    /// The fleet has no such node or site.
    #[error("the fleet has no {0}")]
    Unknown(Target),
    /// No room.
    #[error(transparent)]
    Full(#[from] Full),
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

impl Mailbox {
    /// Puts a topology in force, without writing it anywhere; `None` when the writer has ended.
    pub async fn apply_topology(&self, update: Update) -> Option<Result<Applied, ApplyError>> {
        self.ask(|reply| Event::Fleet(Ask::Apply(update, reply)))
            .await
    }

    /// Sets the state of a node or site, or takes it away; `None` when the writer has ended.
    pub async fn set_admin_state(
        &self,
        change: StateChange,
    ) -> Option<Result<StateChanged, StateError>> {
        self.ask(|reply| Event::Fleet(Ask::SetState(change, reply)))
            .await
    }

    /// What is in force; `None` when nothing is, or the writer has ended.
    pub async fn fleet(&self) -> Option<InForce> {
        self.ask(|reply| Event::Fleet(Ask::Get(reply))).await?
    }

    /// Forgets what a node's breaker holds against it; whether there is such a node, `None` when the writer has ended.
    pub async fn reset_breaker(&self, node: String) -> Option<bool> {
        self.ask(|reply| Event::ResetBreaker(node, reply)).await
    }
}

/// What the writer keeps of all this.
#[derive(Debug)]
pub(super) struct Admin {
    overlay: Overlay,
    laid_over: Option<LaidOver>,
    held: Option<Arc<Held>>,
    /// Whether the topology in force was given by a call since the file last changed.
    is_applied: bool,
}

/// A topology with states laid over it.
#[derive(Debug)]
struct LaidOver {
    base: Arc<Topology>,
    states: BTreeMap<Box<str>, AdminState>,
    result: Arc<Topology>,
}

impl Admin {
    pub(super) fn new(state_dir: Option<PathBuf>) -> Self {
        let mut overlay = Overlay::load(state_dir);
        overlay.end(clock::unix_ms());
        Self {
            overlay,
            laid_over: None,
            held: None,
            is_applied: false,
        }
    }

    /// `base` with the states that operators set; the very same as the last time if nothing has changed, and `base`
    /// itself if nothing is set.
    pub(super) fn lay_over(&mut self, base: &Arc<Topology>) -> Arc<Topology> {
        let states = self.overlay.states(base);
        if let Some(known) = &self.laid_over
            && Arc::ptr_eq(&known.base, base)
            && known.states == states
        {
            return Arc::clone(&known.result);
        }
        let result = if states.is_empty() {
            Arc::clone(base)
        } else {
            Arc::new(base.with_states(&states))
        };
        self.laid_over = Some(LaidOver {
            base: Arc::clone(base),
            states,
            result: Arc::clone(&result),
        });
        result
    }

    /// Takes note of what became of the topology's source: whether an update is held, or a held one no longer is.
    pub(super) fn hold(&mut self, outcome: &Outcome) {
        if let Some(held) = &outcome.held {
            self.held = Some(Arc::new(held.clone()));
            return;
        }
        let is_of_source = self.held.as_ref().is_some_and(|held| held.source != APPLY);
        if is_of_source || outcome.fate == Fate::Applied {
            self.held = None;
        }
    }
}

/// Where an update came from that was given by a call.
const APPLY: &str = "apply";

impl Writer {
    pub(super) fn answer(&mut self, ask: Ask) {
        // Whoever asked may have gone; what was asked for is done.
        match ask {
            Ask::Apply(update, reply) => drop(reply.send(self.apply_topology(update))),
            Ask::SetState(change, reply) => drop(reply.send(self.set_admin_state(change))),
            Ask::Get(reply) => drop(reply.send(self.in_force())),
        }
    }

    /// What the sources want, but with the topology that was given by a call where the file is still the one that it
    /// took the place of: a change of the policy must not undo it.
    pub(super) fn unless_applied(&mut self, wanted: &Wanted) -> Wanted {
        let mut asked = wanted.clone();
        let last = self.last_tried.as_ref();
        if last.is_none_or(|last| last.topology != wanted.topology) {
            self.admin.is_applied = false;
        } else if let Some(current) = &self.current
            && self.admin.is_applied
        {
            asked.topology = Ok(current.texts.topology.clone());
        }
        asked
    }

    fn apply_topology(&mut self, update: Update) -> Result<Applied, ApplyError> {
        let current = self.current.as_ref().ok_or(ApplyError::NothingInForce)?;
        let in_force = current.topology.digest();
        if !update.if_digest.is_empty() && !is_digest_of(&update.if_digest, in_force) {
            return Err(ApplyError::OtherDigest { in_force });
        }
        let text = match update.document {
            Document::Text(text) => text,
            Document::Held(digest) => {
                let held = self.admin.held.as_ref();
                let held = held.filter(|held| is_digest_of(&digest, held.digest));
                held.ok_or(ApplyError::NothingHeld)?.text.clone()
            }
        };
        let mut applied = Applied {
            in_force,
            given: Digest::of(text.as_bytes()),
            revision: self.revision,
            removal: Removal::default(),
            held: None,
            faults: Diagnostics::default(),
            warnings: Diagnostics::default(),
        };
        if text == current.texts.topology {
            return Ok(applied);
        }
        let (who, why) = (&update.who, &update.why);
        let candidate = match settle::with_topology(current, text) {
            Ok(candidate) => candidate,
            Err(faults) => {
                let refused = &self.state.reloads.topology_refused;
                refused.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(who, why, "a topology given by call is refused");
                applied.faults = faults;
                return Ok(applied);
            }
        };
        applied.removal = candidate.removal;
        applied.held = candidate
            .because
            .clone()
            .filter(|_| !update.confirm_removal);
        applied.warnings = candidate.warnings.clone();
        if let Some(because) = &applied.held {
            tracing::warn!(
                because,
                who,
                why,
                "a topology given by call is held until it is confirmed"
            );
            self.hold_given(&candidate, because.clone());
        } else {
            tracing::info!(digest = %applied.given, who, why, "a topology given by call takes effect");
            self.put_in_force(candidate);
            applied.in_force = applied.given;
            applied.revision = self.revision;
        }
        Ok(applied)
    }

    /// Keeps a good topology that was given by a call until it is confirmed.
    fn hold_given(&mut self, candidate: &Candidate, because: String) {
        let held = Held {
            digest: candidate.current.topology.digest(),
            text: candidate.current.texts.topology.clone(),
            removal: candidate.removal,
            because,
            source: APPLY.to_owned(),
            since_unix_ms: clock::unix_ms(),
        };
        self.status.topology.held = Some(words_on_held(&held));
        self.admin.held = Some(Arc::new(held));
        self.publish_status();
    }

    fn put_in_force(&mut self, candidate: Candidate) {
        let applied = &self.state.reloads.topology_applied;
        applied.fetch_add(1, Ordering::Relaxed);
        let status = &mut self.status.topology;
        status.serving_digest = candidate.current.topology.digest().short();
        status.serving_since_unix_ms = clock::unix_ms();
        status.warnings = candidate.warnings.to_lines();
        if status.held.take().is_some() && status.faults.is_empty() {
            status.state = DocumentState::Serving;
        }
        self.admin.held = None;
        self.admin.is_applied = true;
        self.current = Some(candidate.current);
        self.revision += 1;
        self.keep();
        self.publish();
    }

    fn set_admin_state(&mut self, change: StateChange) -> Result<StateChanged, StateError> {
        let current = self.current.as_ref().ok_or(StateError::NothingInForce)?;
        let fleet = Arc::clone(&current.topology);
        let before = self.admin.overlay.states(&fleet);
        let previous = self.state_of(&change.target, &fleet);
        let StateChange {
            target,
            state,
            lasts_ms,
            who,
            why,
        } = change;
        if state == AdminState::Ready {
            if !self.admin.overlay.remove(&target) && !target.is_in(&fleet) {
                return Err(StateError::Unknown(target));
            }
        } else if !target.is_in(&fleet) {
            return Err(StateError::Unknown(target));
        }
        let now = clock::unix_ms();
        tracing::info!(%target, state = state.name(), lasts_ms, who, why, "an operator sets a state");
        if state != AdminState::Ready {
            let entry = Entry {
                state,
                until_unix_ms: lasts_ms.map(|lasts| now.saturating_add(lasts)),
                who,
                why,
                since_unix_ms: now,
            };
            self.admin.overlay.set(target.clone(), entry)?;
        }
        let is_kept = self.keep_overlay();
        let after = self.admin.overlay.states(&fleet);
        self.show(before != after);
        let set = after.iter();
        let set = set.filter(|(id, state)| before.get(*id) != Some(*state));
        let lifted = before.keys().filter(|id| !after.contains_key(*id)).count();
        Ok(StateChanged {
            previous,
            effective: self.state_of(&target, &fleet),
            nodes_changed: set.count() + lifted,
            is_kept,
        })
    }

    /// The strictest of what the topology says of a node or site and what is set for it.
    fn state_of(&self, target: &Target, fleet: &Topology) -> AdminState {
        let overlay = &self.admin.overlay;
        let written = match target {
            Target::Site(id) => fleet.find_site(id).map(|site| fleet.site(site).state),
            Target::Node(id) => fleet.find_node(id).map(|node| {
                let node = fleet.node(node);
                let site = Target::Site(fleet.site(node.site).id.clone());
                node.state.max(overlay.state(&site))
            }),
        };
        written.unwrap_or_default().max(overlay.state(target))
    }

    /// Ends the states whose time has come.
    pub(super) fn end_admin_states(&mut self) {
        let over = self.admin.overlay.end(clock::unix_ms());
        if over.is_empty() {
            return;
        }
        for target in &over {
            tracing::info!(%target, "a state that an operator set ends");
        }
        self.keep_overlay();
        self.show(true);
    }

    /// Keeps the states that operators set on disk; whether they are there now.
    fn keep_overlay(&self) -> bool {
        self.admin.overlay.save().unwrap_or_else(|error| {
            let failed = &self.state.reloads.store_failed;
            failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "admin states can not be kept, a restart forgets them");
            false
        })
    }

    /// Shows new states: to decisions if any node's state is another, else only to those who watch.
    fn show(&mut self, for_decisions: bool) {
        if for_decisions {
            self.publish();
        } else {
            self.publish_status();
        }
    }

    fn in_force(&mut self) -> Option<InForce> {
        let fleet = self.fleet();
        let current = self.current.as_ref()?;
        Some(InForce {
            text: current.texts.topology.clone(),
            topology: self.admin.lay_over(&current.topology),
            fleet,
        })
    }

    fn fleet(&self) -> Fleet {
        let topology = self.current.as_ref().map(|c| Arc::clone(&c.topology));
        Fleet {
            topology,
            revision: self.revision,
            overrides: Arc::clone(self.admin.overlay.entries()),
            held: self.admin.held.clone(),
            draining: self.status.draining,
        }
    }

    /// Tells those who watch the fleet, if it has changed.
    pub(super) fn tell_of_the_fleet(&self) {
        let fleet = self.fleet();
        self.state.fleet.send_if_modified(|told| {
            let is_new = !fleet.is_same(told);
            *told = fleet;
            is_new
        });
    }

    /// Forgets what a node's breaker holds against it; whether there is such a node. Decisions see it at the next tick.
    pub(super) fn control_reset(&mut self, node: &str) -> bool {
        let Some(published) = self.state.published.load_full() else {
            return false;
        };
        let snapshot = &published.snapshot;
        let Some(index) = snapshot.policy().find_node(node) else {
            return false;
        };
        let now = self.pulse.now();
        let next = Next::after(snapshot);
        self.pulse.control.reset_breaker(now, index, next)
    }
}

/// What the status says of a topology that is held.
pub(super) fn words_on_held(held: &Held) -> String {
    format!("held: {} (digest {})", held.because, held.digest.short())
}

/// Whether `text` is a digest or its beginning, long enough not to be another's by chance.
fn is_digest_of(text: &str, digest: Digest) -> bool {
    text.len() >= MIN_DIGEST_DIGITS && digest.to_string().starts_with(&text.to_ascii_lowercase())
}
