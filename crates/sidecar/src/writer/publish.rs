//! Carries out what the steward says: keeps on disk, publishes, and shows how things are.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Writer;
use super::say::say;
use crate::clock;
use crate::state::rows::Rows;
use crate::state::{Fleet, Published, PublishedCandidate, Rollouts, Sources, Status};
use crate::view::journal;
use crate::wire::answer::EncodedNodes;
use tradewind_engine::lifecycle::{Effects, Event, Keep, Now, Publish, Reply};
use tradewind_engine::snapshot::{Candidate, Parts, Snapshot};

/// How long after a purge somebody may still serve what is older by the clock of caches: a sidecar that lags behind asks its
/// cache, which asks a parent, and each keeps what it gets for as long as it keeps anything.
const MAX_LAG_MS: u64 = 600_000;

/// What came of an event.
pub(super) struct Done {
    /// The answer to whoever asked.
    pub(super) reply: Option<Reply>,
    /// Whether all that was to be kept is on disk.
    pub(super) is_kept: bool,
}

impl Writer {
    /// Tells the steward what happened, and does what it says, in its order.
    pub(super) fn step(&mut self, event: Event) -> Done {
        let asked = self.audit.asked(&event);
        let effects = self.steward.step(self.now(), event);
        let has_effects = !effects.is_nothing();
        let Effects {
            keep,
            publish,
            say: notices,
            reply,
        } = effects;
        let mut is_kept = true;
        for keep in keep {
            is_kept &= self.keep(keep);
        }
        // Whoever sees a refusal counted finds it in the status.
        if has_effects && publish.is_none() {
            self.show();
        }
        for notice in &notices {
            say(notice, &self.state.reloads);
            if let Some(note) = journal::of_notice(notice) {
                self.state.journal.enter(clock::unix_ms(), note);
            }
        }
        let moved = publish.and_then(|publish| {
            self.publish(publish);
            self.pulse.moved()
        });
        if has_effects {
            self.show();
        }
        // Last, for it waits for the disk; but before whoever asked is told.
        let told = (&*notices, reply.as_ref());
        let now = (self.steward.current(), moved);
        self.audit.step(&asked, told, now);
        Done { reply, is_kept }
    }

    /// The time by both clocks.
    fn now(&self) -> Now {
        Now {
            unix_ms: clock::unix_ms(),
            steady_ms: self.pulse.now().0,
        }
    }

    /// Keeps something on disk, where there is a directory for that; whether it is there now.
    fn keep(&mut self, keep: Keep) -> bool {
        let is_kept = self.write(&keep);
        if is_kept {
            let effects = self.steward.step(self.now(), Event::Kept(keep));
            debug_assert!(effects.is_nothing(), "what is kept needs nothing more");
        }
        is_kept
    }

    /// Writes something to disk. What fails is told, and serving goes on.
    pub(super) fn write(&self, keep: &Keep) -> bool {
        let kept = match keep {
            Keep::Revision(revision) => {
                let Some(history) = &self.history else {
                    return false;
                };
                let kept = history.save(revision, &self.seals).map(|()| true).inspect_err(|error| {
                    let folder = history.folder().display();
                    tracing::warn!(%folder, %error, "a revision cannot be kept, a restart would not know it");
                });
                let oldest = self.steward.revisions().newest_first().next_back();
                if let Some(oldest) = oldest.filter(|_| kept.is_ok()) {
                    history.forget_before(oldest.number);
                }
                kept
            }
            Keep::Rollout(record) => {
                let Some(history) = &self.history else {
                    return false;
                };
                let kept = history
                    .save_rollout(record.as_deref(), &self.seals)
                    .map(|()| true);
                kept.inspect_err(|error| {
                    let is_over = record.is_none();
                    tracing::error!(%error, is_over, "what there is of a rollout cannot be kept, a restart would go on with what there was");
                })
            }
            Keep::States(entries) => self.states.save(entries).inspect_err(|error| {
                tracing::error!(%error, "admin states cannot be kept, a restart forgets them");
            }),
        };
        if kept.is_err() {
            let failed = &self.state.reloads.store_failed;
            failed.fetch_add(1, Ordering::Relaxed);
        }
        kept.unwrap_or(false)
    }

    /// Builds the next snapshot and swaps it in.
    fn publish(&mut self, publish: Publish) {
        let Publish {
            edition,
            topology,
            revision,
            candidate,
            geo,
        } = publish;
        let before = self.state.published.load_full();
        let max_ttl_ms = edition.policy().operation().max_cache_ttl_ms;
        self.state.freshness.keep_for(max_ttl_ms + MAX_LAG_MS);
        self.place.look(&topology);
        if let Some(before) = &before {
            // What happened has names as long as the fleet it happened in is known.
            self.pulse.tell(&before.snapshot, &self.state);
        }
        let parts = Parts {
            topology,
            policy: Arc::clone(edition.policy()),
            candidate: candidate.as_ref().map(|it| Candidate {
                routing: Arc::clone(it.policy.routing()),
                split: it.split,
            }),
            geo: geo.ranges,
            geo_state: geo.state,
            here: self.place.location(),
            signals: Arc::default(),
        };
        let last = before.as_deref().map(|before| &before.snapshot);
        let left = before.as_ref().filter(|it| it.revision != revision);
        if let Some(before) = left {
            self.pulse.catch_up(&before.snapshot, before.revision);
        }
        let snapshot = self.pulse.adopt(parts, last);
        if let Some(before) = left {
            self.pulse.cross(before.revision, revision);
        }
        let texts = edition.texts();
        let same_nodes = before.filter(|before| before.texts.topology == texts.topology);
        self.state.published.store(Some(Arc::new(Published {
            snapshot,
            revision,
            policy_digest: edition.policy().digest().short(),
            nodes: same_nodes.map_or_else(
                || Arc::new(EncodedNodes::new(edition.topology())),
                |before| Arc::clone(&before.nodes),
            ),
            rows: Rows::of(edition.policy().routing(), &self.state.row_names),
            candidate: candidate.map(|it| PublishedCandidate {
                digest: it.policy.digest().short(),
                rows: Rows::of(it.policy.routing(), &self.state.row_names),
                policy: it.policy,
                text: it.text,
            }),
            texts,
        })));
        // What is known of its nodes holds for the new fleet too: pages need not wait for the next second.
        if let Some(published) = self.state.published.load_full() {
            let view = self.pulse.view_now(&published.snapshot);
            self.state.view.store(Arc::new(view));
        }
    }

    /// Publishes the snapshot in force with other signals: nothing else has changed.
    pub(super) fn publish_signals(&self, before: &Published, snapshot: Snapshot) {
        self.state.published.store(Some(Arc::new(Published {
            snapshot,
            revision: before.revision,
            policy_digest: before.policy_digest.clone(),
            nodes: Arc::clone(&before.nodes),
            rows: before.rows.clone(),
            candidate: before.candidate.clone(),
            texts: before.texts.clone(),
        })));
    }

    /// Shows how things are to those who look at them or wait for a change.
    pub(super) fn show(&self) {
        let sources = self.steward.status();
        let is_loaded = self.steward.current().is_some();
        let ready = is_loaded && self.geo.is_ready() && !self.is_draining;
        self.state.ready.send_replace(ready);
        self.state.status.store(Arc::new(Status {
            policy: sources.policy.clone(),
            topology: sources.topology.clone(),
            geo: self.geo.status(),
            here: self.place.status(),
            draining: self.is_draining,
        }));
        let sources = Sources {
            statuses: sources.clone(),
            revisions: self.steward.revisions().clone(),
            draining: self.is_draining,
        };
        self.state.sources.send_if_modified(|told| {
            let is_new = !sources.is_same(told);
            *told = sources;
            is_new
        });
        self.show_rollouts();
        let fleet = self.fleet();
        self.state.fleet.send_if_modified(|told| {
            let is_new = !fleet.is_same(told);
            *told = fleet;
            is_new
        });
    }

    /// Shows the candidate that there is. Its guards say something new all the time, so this is always news; where there is
    /// none, another revision is.
    pub(super) fn show_rollouts(&self) {
        let rolling = self.steward.rollout();
        let revision = self.steward.revision();
        let is_old = {
            let told = self.state.rollouts.borrow();
            told.rolling.is_none() && told.revision == revision
        };
        if rolling.is_none() && is_old && !self.is_draining {
            return;
        }
        if let Some(rolling) = rolling.filter(|it| !it.is_shadow) {
            self.state.guards.note(clock::unix_ms(), rolling);
        }
        self.state.rollouts.send_replace(Rollouts {
            rolling: rolling.cloned().map(Arc::new),
            last: self.steward.last_rollout().cloned(),
            revision,
            draining: self.is_draining,
        });
    }

    /// The fleet, and what operators set.
    pub(super) fn fleet(&self) -> Fleet {
        let current = self.steward.current();
        Fleet {
            topology: current.map(|current| Arc::clone(current.topology())),
            revision: self.steward.revision(),
            overrides: Arc::clone(self.steward.states_set()),
            held: self.steward.held().cloned(),
            draining: self.is_draining,
        }
    }
}
