//! Which edition is in force, and why: a state machine without a file, a clock or a socket.
//!
//! In the manner of raft-rs's `Ready`: the host tells the [`Steward`] what happened, one [`Event`] after the other, and does
//! what the [`Effects`] say: it keeps (and tells what is [`Kept`](Event::Kept)), publishes, replies, in this order. Whatever
//! it dies of in between, what an earlier run kept and the sources as they are then lead to a good edition again; the tests
//! look at every such end.
//!
//! It does not read sources, hash keys, watch nodes or count: those are the host's and the control loop's.

mod event;
mod given;
mod held;
pub mod notice;
mod now;
mod operators;
mod overlay;
mod revisions;
mod rollouts;
mod settle;
mod status;
mod unusable;

use std::sync::Arc;

pub use event::{Effects, Event, Keep, Publish, Reply};
pub use given::{
    Applied, ApplyError, Document, MIN_DIGEST_DIGITS, PolicyApplied, PolicyDocument, PolicyUpdate,
    Update,
};
pub use held::Held;
pub use now::Now;
pub use overlay::{
    Entries, Entry, Full, MAX_ENTRIES, MAX_WORDS, StateChange, StateChanged, StateError, Target,
};
pub use revisions::{MAX_REVISIONS, NoRevision, Origin, Over, Revision, Revisions};
pub use rollouts::{
    Ended, Rolling, RolloutAnswer, RolloutError, RolloutOrder, RolloutRecord, RolloutRequest, Tried,
};
pub use settle::{Fate, Outcome, Wanted};
pub use status::{Degraded, DocumentState, DocumentStatus, Given};
pub use unusable::Unusable;

use crate::document::{Code, Diagnostic, Diagnostics};
use crate::edition::{Edition, Known, Names, Which};
use crate::geo::ranges::Ranges;
use crate::model::Digest;
use crate::snapshot::GeoState;
use crate::topology::LaidOver;
use notice::{Notice, SourceNotice};
use overlay::Overlay;
use settle::{Ask, Settled};

/// What a steward begins with.
#[derive(Debug, Clone)]
pub struct Start {
    /// What findings call the sources.
    pub names: Names,
    /// The revisions that an earlier run kept, in any order.
    pub kept: Vec<Revision>,
    /// The largest number that an earlier run gave a revision, as far as is known: what was kept under it may be lost.
    pub last_number: u64,
    /// The rollout that an earlier run kept.
    pub rollout: Option<RolloutRecord>,
    /// The states that an earlier run kept.
    pub states: Entries,
    /// Where clients are.
    pub geo: Geo,
    /// Whether this process knows where it is: then a policy needs no place for clients whom nobody can place.
    pub knows_its_place: bool,
}

/// The geo tables in force.
#[derive(Debug, Clone)]
pub struct Geo {
    /// The tables.
    pub ranges: Arc<Ranges>,
    /// Whether they can be relied on.
    pub state: GeoState,
}

/// How the sources of both documents fare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statuses {
    /// The policy.
    pub policy: DocumentStatus,
    /// The topology.
    pub topology: DocumentStatus,
}

/// Decides which edition is in force; see the module.
#[derive(Debug, Clone)]
pub struct Steward {
    names: Names,
    knows_its_place: bool,
    current: Option<Edition>,
    /// The largest number that an earlier run gave a revision.
    last_number: u64,
    revisions: Revisions,
    /// What the sources said last.
    tried: Option<Wanted>,
    /// Which of the texts in force were given by a call since their source last changed.
    over: Over,
    held: Option<Arc<Held>>,
    rolling: Option<Rolling>,
    last_rollout: Option<Ended>,
    /// The rollout that an earlier run kept, until it is gone on with.
    kept_rollout: Option<RolloutRecord>,
    /// The rollout on disk, as far as that is known.
    rollout_on_disk: Option<Arc<RolloutRecord>>,
    /// When the disk is to be asked again to keep the rollout, ms since 1970.
    keep_again_unix_ms: u64,
    /// What is to be said at the end of this step.
    pending: Vec<Notice>,
    overlay: Overlay,
    laid_over: LaidOver,
    geo: Geo,
    status: Statuses,
}

impl Steward {
    /// A steward that knows what an earlier run kept, and nothing of the sources yet.
    pub fn new(start: Start) -> Self {
        Self {
            status: Statuses {
                policy: DocumentStatus::unread(&start.names.policy),
                topology: DocumentStatus::unread(&start.names.topology),
            },
            names: start.names,
            knows_its_place: start.knows_its_place,
            current: None,
            last_number: start.last_number,
            revisions: Revisions::kept(start.kept),
            tried: None,
            over: Over::default(),
            held: None,
            rolling: None,
            last_rollout: None,
            rollout_on_disk: start.rollout.clone().map(Arc::new),
            kept_rollout: start.rollout,
            keep_again_unix_ms: 0,
            pending: Vec::new(),
            overlay: Overlay::new(start.states),
            laid_over: LaidOver::default(),
            geo: start.geo,
        }
    }

    /// Takes in what happened. The wall clock's time is asked for because ends of states must hold over a restart; the other
    /// clock's because somebody may set that one meanwhile.
    pub fn step(&mut self, now: impl Into<Now>, event: Event) -> Effects {
        let now: Now = now.into();
        let now_unix_ms = now.unix_ms;
        let is_quiet = matches!(event, Event::Tick | Event::Kept(_));
        let mut effects = self.handle(now, event);
        effects.say.append(&mut self.pending);
        effects
            .keep
            .extend(self.unkept_rollout(now_unix_ms, is_quiet));
        effects
    }

    fn handle(&mut self, now: Now, event: Event) -> Effects {
        let now_unix_ms = now.unix_ms;
        match event {
            Event::Read(wanted) => self.read(now_unix_ms, wanted),
            Event::Geo(geo) => {
                self.geo = geo;
                Effects {
                    publish: self.publish(),
                    ..Effects::default()
                }
            }
            Event::ApplyPolicy(update) => self.apply_policy(now_unix_ms, update),
            Event::ApplyTopology(update) => self.apply_topology(now_unix_ms, update),
            Event::StartRollout(request) => self.start_rollout(now_unix_ms, *request),
            Event::OrderRollout(order) => self.order_rollout(now_unix_ms, order),
            Event::Seen(seen) => self.seen(now_unix_ms, seen),
            Event::SetState(change) => self.set_state(now, change),
            Event::Tick => self.end_states(now),
            Event::Kept(keep) => {
                match keep {
                    Keep::Revision(revision) => self.revisions.is_kept(&revision),
                    Keep::Rollout(record) => self.rollout_on_disk = record,
                    Keep::States(_) => {}
                }
                Effects::default()
            }
        }
    }

    /// What is in force; `None` before the first good pair.
    pub fn current(&self) -> Option<&Edition> {
        self.current.as_ref()
    }

    /// The number of the revision in force; 0 before the first good pair.
    pub fn revision(&self) -> u64 {
        let newest = self.revisions.newest();
        let in_force = newest.filter(|_| self.current.is_some());
        in_force.map_or(0, |it| it.number)
    }

    /// What took effect, as far as it is remembered.
    pub fn revisions(&self) -> &Revisions {
        &self.revisions
    }

    /// Whether the sources said just this when they were read last.
    pub fn has_tried(&self, wanted: &Wanted) -> bool {
        self.tried.as_ref() == Some(wanted)
    }

    /// The topology that waits to be confirmed.
    pub fn held(&self) -> Option<&Arc<Held>> {
        self.held.as_ref()
    }

    /// The states that operators set; the very same value while they are the same.
    pub fn states_set(&self) -> &Arc<Entries> {
        self.overlay.entries()
    }

    /// How the sources fare.
    pub fn status(&self) -> &Statuses {
        &self.status
    }

    /// The sources were read.
    fn read(&mut self, now_unix_ms: u64, wanted: Wanted) -> Effects {
        if self.has_tried(&wanted) {
            return Effects::default();
        }
        let resumed = self.resumable();
        let before = resumed.as_ref().map(|it| it.edition.clone());
        let settled = self.settle(now_unix_ms, &wanted, resumed.as_ref());
        self.tried = Some(wanted);
        self.hold(&settled.topology);
        let mut effects = Effects::default();
        if let Some(edition) = settled.edition {
            let change = Change::of_sources(resumed.as_ref(), &edition, self.revisions.newest());
            effects.publish = Some(self.take(now_unix_ms, edition, change));
        }
        let is_over_else = self.current.is_some() && self.revisions.stands_over(self.over);
        if effects.publish.is_some() || is_over_else {
            effects.keep = self.unkept();
        }
        let outcomes = [
            (Which::Policy, settled.policy),
            (Which::Topology, settled.topology),
        ];
        for (which, outcome) in outcomes {
            let is_resumed = outcome.fate == Fate::Applied
                && before.is_some()
                && digest_of(before.as_ref(), which) == self.digest(which);
            effects
                .say
                .extend(self.note(now_unix_ms, which, (outcome, is_resumed)));
        }
        self.show_held();
        self.show_given();
        effects
    }

    /// The newest of the revisions that an earlier run kept that can be used; `None` once anything is in force.
    fn resumable(&self) -> Option<Resumed> {
        // Another version of this program may have kept what is refused now.
        let known = Known {
            was_in_force: true,
            ..Known::default()
        };
        let compiled = |revision: &Arc<Revision>| {
            let edition = Edition::compile(&revision.texts, &self.names, known).ok()?;
            Some(Resumed {
                edition,
                revision: Arc::clone(revision),
            })
        };
        let mut kept = self.revisions.newest_first();
        self.current
            .is_none()
            .then(|| kept.find_map(compiled))
            .flatten()
    }

    /// Which texts to use now that the sources say this.
    fn settle(&mut self, now_unix_ms: u64, wanted: &Wanted, resumed: Option<&Resumed>) -> Settled {
        if let Some(resumed) = resumed {
            self.over = resumed.revision.over;
        }
        let last_good = self.current.clone();
        let last_good = last_good.or_else(|| resumed.map(|it| it.edition.clone()));
        let asked = self.unless_given(wanted, last_good.as_ref());
        let ask = Ask {
            now_unix_ms,
            names: &self.names,
            wanted: &asked,
            last_good: last_good.as_ref(),
            is_running: self.current.is_some(),
        };
        let mut settled = ask.settle();
        self.forget_place(&mut settled.policy.warnings);
        settled
    }

    /// Says nothing of a missing place for clients whom nobody can place, where the process knows its own.
    fn forget_place(&self, warnings: &mut Diagnostics) {
        if self.knows_its_place {
            warnings.forget(NO_DEFAULT_PLACE);
        }
    }

    /// Remembers a topology that waits to be confirmed, or that a held one no longer is what the source wants.
    fn hold(&mut self, topology: &Outcome) {
        if let Some(held) = &topology.held {
            self.held = Some(Arc::new(held.clone()));
            return;
        }
        let held = self.held.as_ref();
        let is_of_source = held.is_some_and(|held| held.source != held::BY_CALL);
        if is_of_source || topology.fate == Fate::Applied {
            self.held = None;
        }
    }

    /// Whatever is held, wherever it came from, the status says so.
    fn show_held(&mut self) {
        self.status.topology.held = self.held.as_ref().map(ToString::to_string);
    }

    /// Puts an edition in force, as a new revision; a start with the texts of the newest one goes on with that.
    fn take(&mut self, now_unix_ms: u64, edition: Edition, change: Change) -> Publish {
        let texts = edition.texts();
        let newest = self.revisions.newest();
        let is_known = self.current.is_none() && newest.is_some_and(|it| it.texts == texts);
        if !is_known {
            let parent = newest.map(|it| it.number);
            self.revisions.add(Revision {
                number: parent.unwrap_or(0).max(self.last_number).saturating_add(1),
                parent,
                texts,
                origin: change.origin,
                who: change.who,
                why: change.why,
                at_unix_ms: now_unix_ms,
                over: self.over,
            });
        }
        self.current = Some(edition.clone());
        self.carry_rollout(now_unix_ms);
        self.publication(edition)
    }

    /// What is in force, once more: with other states or other tables.
    fn publish(&mut self) -> Option<Publish> {
        let current = self.current.clone()?;
        Some(self.publication(current))
    }

    fn publication(&mut self, edition: Edition) -> Publish {
        let states = self.overlay.states(edition.topology());
        Publish {
            topology: self.laid_over.of(edition.topology(), states),
            edition,
            revision: self.revision(),
            candidate: self.rolling.as_ref().map(Rolling::tried),
            geo: self.geo.clone(),
        }
    }

    /// What took effect and is not known to be on disk.
    fn unkept(&self) -> Vec<Keep> {
        let unkept = self.revisions.unkept();
        unkept.map(|it| Keep::Revision(Arc::clone(it))).collect()
    }

    /// Whichever text was given in the place of its source's, the status says so.
    fn show_given(&mut self) {
        let given = |which, over: Option<Digest>| {
            let first = self.revisions.first_with(which).filter(|_| over.is_some());
            first.map(|it| Given::of(it))
        };
        self.status.policy.given = given(Which::Policy, self.over.policy);
        self.status.topology.given = given(Which::Topology, self.over.topology);
    }

    /// Notes what became of a source, and what there is to say of it.
    fn note(
        &mut self,
        now_unix_ms: u64,
        which: Which,
        (outcome, is_resumed): (Outcome, bool),
    ) -> Option<Notice> {
        let (serving, revision) = (self.digest(which), self.revision());
        let (source, status) = match which {
            Which::Policy => (&self.names.policy, &mut self.status.policy),
            Which::Topology => (&self.names.topology, &mut self.status.topology),
        };
        if let Some(digest) = serving {
            status.serve(now_unix_ms, digest);
        }
        let degraded = status.degraded.clone();
        let warned = status.warnings.clone();
        status.note(now_unix_ms, &outcome);
        // Another topology breaks an example of a policy that has not changed.
        let breaks = |found: &Diagnostic| found.code == Code::P038;
        let is_warned_anew =
            outcome.warnings.items().iter().any(breaks) && status.warnings != warned;
        let is_news = outcome.fate != Fate::Unchanged || degraded.is_some() || is_warned_anew;
        is_news.then(|| {
            Notice::Source(SourceNotice {
                which,
                source: Arc::clone(source),
                outcome,
                serving_digest: status.serving_digest.clone(),
                revision,
                is_resumed,
                refused_for_ms: degraded.as_ref().map(|it| it.lasted_ms(now_unix_ms)),
                first_fault: degraded.map(|it| it.first_fault),
            })
        })
    }

    /// The digest of a document in force.
    fn digest(&self, which: Which) -> Option<Digest> {
        digest_of(self.current.as_ref(), which)
    }
}

/// The digest of a document of an edition.
fn digest_of(edition: Option<&Edition>, which: Which) -> Option<Digest> {
    let edition = edition?;
    Some(match which {
        Which::Policy => edition.policy().digest(),
        Which::Topology => edition.topology().digest(),
    })
}

/// A kept revision that a start can go on with.
#[derive(Debug)]
struct Resumed {
    edition: Edition,
    revision: Arc<Revision>,
}

/// How a change comes about, who wants it, and why.
#[derive(Debug)]
struct Change {
    origin: Origin,
    who: String,
    why: String,
}

impl Change {
    /// The sources say so; or they say nothing good, and of what was kept the newest cannot be used any more.
    fn of_sources(
        resumed: Option<&Resumed>,
        edition: &Edition,
        newest: Option<&Arc<Revision>>,
    ) -> Self {
        let older = resumed.filter(|it| {
            it.edition.has_texts_of(edition)
                && newest.is_some_and(|newest| newest.number != it.revision.number)
        });
        let (origin, why) = match older {
            Some(older) => (
                Origin::Rollback(older.revision.number),
                "later revisions cannot be used by this version",
            ),
            None => (Origin::Sources, ""),
        };
        Self {
            origin,
            who: String::new(),
            why: why.to_owned(),
        }
    }
}

/// The warning of a policy without a place for clients whom nobody can place.
const NO_DEFAULT_PLACE: Code = Code::P024;

#[cfg(test)]
mod tests;
