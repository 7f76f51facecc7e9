//! The one task that changes what is served.
//!
//! It owns the sources (files or the embedded example), settles which texts to use, builds snapshots and publishes
//! them. It runs on a thread of its own, because compiling a large fleet takes milliseconds that no request should wait
//! for. Everybody else sends it events over a bounded channel.

pub mod admin;
mod geo;
mod keeper;
mod pulse;
mod settle;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::here::{Here, UnknownSite};
use super::intake::Intake;
use super::probe::Probed;
use super::settings::Settings;
use super::state::{DocumentState, DocumentStatus, Held, HereStatus, Published, State, Status};
use super::store::{self, Store};
use super::{clock, metrics};
use crate::engine::control::Next;
use crate::engine::document::{Code, Diagnostics};
use crate::engine::geo::Location;
use crate::engine::geo::ranges::Ranges;
use crate::engine::signal::Signals;
use crate::engine::snapshot::{Parts, Snapshot};
use crate::engine::topology::Topology;
use crate::example;
use admin::Admin;
use geo::GeoSource;
use pulse::Pulse;
use settle::{Current, Settled, Wanted};

/// Events that may wait; a full channel holds a "look again" already.
const MAILBOX_CAPACITY: usize = 256;

/// After a sign of change, how long it must be quiet before files are read, and how long that may take at most.
const QUIET: Duration = Duration::from_millis(50);
const QUIET_AT_MOST: Duration = Duration::from_millis(200);

/// A changed file must read the same twice, this far apart, so that none is taken while it is being written.
const STEADY_PAUSE: Duration = Duration::from_millis(20);
const STEADY_TRIES: usize = 25;

/// What the writer is asked.
enum Event {
    /// A file may have changed.
    LookAgain,
    /// Use this policy text with the topology in force; answers the revision or the faults.
    ApplyPolicy(String, oneshot::Sender<Result<u64, Diagnostics>>),
    /// A probe came back.
    Probed(Probed),
    /// Something about the fleet.
    Fleet(admin::Ask),
    /// Forget what this node's breaker holds against it; answers whether there is such a node.
    ResetBreaker(String, oneshot::Sender<bool>),
    /// Shutdown has begun.
    Draining,
    /// End.
    Stop,
}

/// Where events for the writer go.
#[derive(Debug, Clone)]
pub struct Mailbox {
    events: SyncSender<Event>,
    look_pending: Arc<AtomicBool>,
}

impl Mailbox {
    /// Asks the writer to read its sources again; many such calls become one.
    pub fn look_again(&self) {
        if !self.look_pending.swap(true, Ordering::AcqRel)
            && self.events.try_send(Event::LookAgain).is_err()
        {
            self.look_pending.store(false, Ordering::Release);
        }
    }

    /// Puts a policy text in force, against the topology in force, without writing it anywhere.
    ///
    /// Answers the revision it became, or all its faults; `None` when the writer has ended.
    pub async fn apply_policy(&self, text: String) -> Option<Result<u64, Diagnostics>> {
        self.ask(|reply| Event::ApplyPolicy(text, reply)).await
    }

    /// Sends what `event` makes of a place for the answer, and waits for that; `None` when the writer has ended.
    async fn ask<T>(&self, event: impl FnOnce(oneshot::Sender<T>) -> Event) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let event = event(reply);
        // The channel is full only while the writer is behind; give it a moment rather than block a runtime.
        let mut event = Some(event);
        while let Some(unsent) = event.take() {
            match self.events.try_send(unsent) {
                Ok(()) => {}
                Err(std::sync::mpsc::TrySendError::Full(unsent)) => {
                    event = Some(unsent);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(std::sync::mpsc::TrySendError::Disconnected(_)) => return None,
            }
        }
        answer.await.ok()
    }

    /// Tells what a probe found. One that finds the channel full is lost: the next comes soon.
    pub fn probed(&self, probed: Probed) {
        drop(self.events.try_send(Event::Probed(probed)));
    }

    /// Marks the status as draining.
    pub fn draining(&self) {
        drop(self.events.try_send(Event::Draining));
    }

    /// Ends the writer after the events already sent.
    pub fn stop(&self) {
        drop(self.events.send(Event::Stop));
    }
}

/// The writer; see the module.
#[derive(Debug)]
pub struct Writer {
    policy_path: Option<PathBuf>,
    topology_path: Option<PathBuf>,
    state: Arc<State>,
    events: Receiver<Event>,
    look_pending: Arc<AtomicBool>,
    store: Option<Store>,
    geo: GeoSource,
    here: Option<Here>,
    /// Where that is, as the last topology that could tell said.
    place: Option<Location>,
    admin: Admin,
    current: Option<Current>,
    last_tried: Option<Wanted>,
    status: Status,
    generation: u64,
    revision: u64,
    pulse: Pulse,
    /// What the next snapshot holds of the fleet's behaviour.
    signals: Arc<Signals>,
}

impl Writer {
    /// A writer for these settings, which has read nothing yet.
    pub fn new(settings: &Settings, state: Arc<State>) -> (Self, Mailbox) {
        let (sender, events) = sync_channel(MAILBOX_CAPACITY);
        let look_pending = Arc::new(AtomicBool::new(false));
        let mailbox = Mailbox {
            events: sender,
            look_pending: Arc::clone(&look_pending),
        };
        let document = |path: &Option<PathBuf>| DocumentStatus {
            source: path.as_ref().map_or_else(
                || "embedded example".to_owned(),
                |path| path.display().to_string(),
            ),
            ..DocumentStatus::default()
        };
        let status = Status {
            policy: document(&settings.policy),
            topology: document(&settings.topology),
            ..Status::default()
        };
        let writer = Self {
            policy_path: settings.policy.clone(),
            topology_path: settings.topology.clone(),
            geo: GeoSource::new(settings, Arc::clone(&state)),
            state,
            events,
            look_pending,
            store: settings.state_dir.clone().map(Store::new),
            here: settings.here.clone(),
            place: None,
            admin: Admin::new(settings.state_dir.clone()),
            current: None,
            last_tried: None,
            status,
            generation: 0,
            revision: 0,
            pulse: Pulse::new(),
            signals: Arc::default(),
        };
        (writer, mailbox)
    }

    /// Takes in what workers hand over, from now on.
    pub fn connect(&mut self, intake: Arc<Intake>) {
        self.pulse.connect(intake);
    }

    /// Reads everything for the first time and publishes what can be served: the files, or the last good texts.
    pub fn load(&mut self) {
        let changed_geo = self.geo.load_first();
        self.count_geo(changed_geo);
        let kept = self.store.as_ref().and_then(Store::load);
        let wanted = self.read_wanted();
        let settled = settle::settle(&wanted, kept.as_ref(), None);
        self.last_tried = Some(wanted);
        self.take(settled);
    }

    /// Whether the site that this sidecar is said to be at exists, as far as there is a topology to tell.
    pub fn check_here(&self) -> Result<(), UnknownSite> {
        match (&self.here, &self.current) {
            (Some(here), Some(current)) => here.resolve(&current.topology).map(drop),
            _ => Ok(()),
        }
    }

    /// Runs on a thread of its own until told to stop.
    pub fn spawn(mut self) -> std::io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name("tradewind-writer".to_owned())
            .spawn(move || {
                loop {
                    let flow = match self.events.recv_timeout(self.pulse.left()) {
                        Ok(event) => self.handle(event),
                        Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
                        Err(RecvTimeoutError::Disconnected) => ControlFlow::Break(()),
                    };
                    if flow.is_break() {
                        return;
                    }
                    self.end_admin_states();
                    self.tick_if_due();
                }
            })
    }

    /// Lets the control loop run when its time has come, and publishes what it changed.
    fn tick_if_due(&mut self) {
        if !self.pulse.is_due() {
            return;
        }
        let Some(published) = self.state.published.load_full() else {
            return;
        };
        if let Some(signals) = self.pulse.tick(&published.snapshot, self.revision) {
            self.signals = signals;
            self.publish_signals(&published);
        }
        if let Some(view) = self.pulse.view(&published.snapshot) {
            self.state.view.store(Arc::new(view));
        }
    }

    /// Publishes the snapshot in force with other signals: nothing else has changed.
    fn publish_signals(&mut self, before: &Published) {
        self.generation += 1;
        let parts = Parts {
            signals: Arc::clone(&self.signals),
            ..before.snapshot.parts().clone()
        };
        let snapshot = Snapshot::build(self.generation, parts, Some(&before.snapshot));
        self.pulse
            .control
            .published(&snapshot, Some(&before.snapshot));
        self.state.published.store(Some(Arc::new(Published {
            snapshot,
            revision: before.revision,
            policy_digest: before.policy_digest.clone(),
            nodes: Arc::clone(&before.nodes),
            pool_rows: before.pool_rows.clone(),
            texts: Arc::clone(&before.texts),
        })));
    }

    /// Does what an event asks for; breaks when it is to end.
    fn handle(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::LookAgain => return self.look_again(),
            Event::ApplyPolicy(text, reply) => drop(reply.send(self.apply_policy(text))),
            Event::Probed(probed) => {
                if let Some(published) = self.state.published.load_full() {
                    self.pulse.probed(&probed, &published.snapshot);
                }
            }
            Event::Fleet(ask) => self.answer(ask),
            Event::ResetBreaker(node, reply) => drop(reply.send(self.control_reset(&node))),
            Event::Draining => {
                self.status.draining = true;
                self.publish_status();
            }
            Event::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Waits until it is quiet, then reads what has changed. Other events are not kept waiting meanwhile.
    fn look_again(&mut self) -> ControlFlow<()> {
        let deadline = clock::now() + QUIET_AT_MOST;
        loop {
            self.look_pending.store(false, Ordering::Release);
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                break;
            }
            match self.events.recv_timeout(QUIET.min(left)) {
                Ok(Event::LookAgain) => {}
                Ok(event) => self.handle(event)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
            }
        }
        self.reload();
        ControlFlow::Continue(())
    }

    fn reload(&mut self) {
        let wanted = self.read_steady();
        let is_new = self.last_tried.as_ref() != Some(&wanted);
        if is_new {
            let base = (self.current.as_ref()).map(|current| Arc::clone(&current.texts));
            let asked = self.unless_applied(&wanted);
            let settled = settle::settle(&asked, base.as_deref(), self.current.as_ref());
            self.last_tried = Some(wanted);
            self.take(settled);
        }
        let geo = self.geo.reload();
        if geo.is_some() {
            self.count_geo(geo);
            self.publish();
        }
    }

    fn read_wanted(&self) -> Wanted {
        let read = |path: &Option<PathBuf>, embedded: &str| match path {
            None => Ok(embedded.to_owned()),
            Some(path) => store::read_document(path).map_err(|error| error.to_string()),
        };
        Wanted {
            policy: read(&self.policy_path, example::POLICY),
            topology: read(&self.topology_path, example::TOPOLOGY),
            policy_name: self.status.policy.source.clone(),
            topology_name: self.status.topology.source.clone(),
        }
    }

    fn read_steady(&self) -> Wanted {
        let mut wanted = self.read_wanted();
        if self.last_tried.as_ref() == Some(&wanted) {
            return wanted;
        }
        for _ in 0..STEADY_TRIES {
            thread::sleep(STEADY_PAUSE);
            let again = self.read_wanted();
            if again == wanted {
                break;
            }
            wanted = again;
        }
        wanted
    }

    /// Publishes what was settled on, keeps it, and tells how it came about.
    fn take(&mut self, settled: Settled) {
        let Settled {
            current,
            mut policy,
            topology,
        } = settled;
        if self.here.is_some() {
            policy.warnings.forget(NO_DEFAULT_PLACE);
        }
        let reloads = &self.state.reloads;
        report(
            "policy",
            &policy,
            (&reloads.policy_applied, &reloads.policy_refused),
        );
        report(
            "topology",
            &topology,
            (&reloads.topology_applied, &reloads.topology_refused),
        );
        self.admin.hold(&topology);
        let changed = current.is_some();
        if let Some(current) = current {
            self.current = Some(current);
            self.revision += 1;
            self.keep();
        }
        let digests = self
            .current
            .as_ref()
            .map(|c| (c.policy.digest().short(), c.topology.digest().short()));
        let (policy_digest, topology_digest) = digests.unwrap_or_default();
        update(&mut self.status.policy, &policy, policy_digest);
        update(&mut self.status.topology, &topology, topology_digest);
        if changed {
            self.publish();
        } else {
            self.publish_status();
        }
    }

    /// Keeps the pair in force on disk, where files are configured.
    fn keep(&self) {
        let (Some(store), Some(current)) = (&self.store, &self.current) else {
            return;
        };
        if store.load().as_ref() == Some(&*current.texts) {
            return;
        }
        if let Err(error) = store.save(&current.texts) {
            self.state
                .reloads
                .store_failed
                .fetch_add(1, Ordering::Relaxed);
            tracing::warn!(dir = %store.dir().display(), %error, "the last good policy can not be kept");
        }
    }

    fn apply_policy(&mut self, text: String) -> Result<u64, Diagnostics> {
        let Some(current) = &self.current else {
            return Err(Diagnostics::default());
        };
        let current = settle::with_policy(current, text)?;
        self.state
            .reloads
            .policy_applied
            .fetch_add(1, Ordering::Relaxed);
        self.status.policy.serving_digest = current.policy.digest().short();
        self.status.policy.serving_since_unix_ms = clock::unix_ms();
        self.current = Some(current);
        self.revision += 1;
        self.publish();
        Ok(self.revision)
    }

    fn count_geo(&mut self, changed: Option<bool>) {
        let reloads = &self.state.reloads;
        match changed {
            Some(true) => reloads.geo_applied.fetch_add(1, Ordering::Relaxed),
            Some(false) => reloads.geo_refused.fetch_add(1, Ordering::Relaxed),
            None => return,
        };
        self.status.geo = self.geo.status();
    }

    /// Builds the next snapshot and swaps it in.
    fn publish(&mut self) {
        self.status.geo = self.geo.status();
        if let Some(current) = self.current.clone() {
            self.generation += 1;
            let before = self.state.published.load_full();
            let topology = self.admin.lay_over(&current.topology);
            let next = Next {
                topology: &topology,
                policy: &current.policy,
                generation: self.generation,
            };
            self.find_here(&topology);
            self.signals = adopt(
                &mut self.pulse,
                (next, self.geo.ranges()),
                before.as_deref(),
            );
            let parts = Parts {
                topology,
                policy: Arc::clone(&current.policy),
                geo: Arc::clone(self.geo.ranges()),
                geo_state: self.geo.state(),
                here: self.place,
                signals: Arc::clone(&self.signals),
            };
            let before = before.as_deref().map(|published| &published.snapshot);
            let snapshot = Snapshot::build(self.generation, parts, before);
            self.pulse.control.published(&snapshot, before);
            let pool_rows = metrics::pool_rows(&self.state.pool_names, current.policy.pools());
            self.state.published.store(Some(Arc::new(Published {
                snapshot,
                revision: self.revision,
                policy_digest: current.policy.digest().short(),
                nodes: Arc::clone(&current.nodes),
                pool_rows,
                texts: Arc::clone(&current.texts),
            })));
        }
        self.publish_status();
    }

    /// Finds where the sidecar is. It has not moved when a topology no longer has its site, so then it stays where it was.
    fn find_here(&mut self, topology: &Topology) {
        let Some(here) = &self.here else {
            return;
        };
        let found = here.resolve(topology);
        self.place = found.as_ref().ok().copied().or(self.place);
        let warning = found.err().map(|error| error.to_string());
        let status = HereStatus {
            setting: here.to_string(),
            location: self
                .place
                .map(|place| (place.latitude(), place.longitude())),
            warning,
        };
        if let Some(warning) = &status.warning
            && self.status.here.as_ref() != Some(&status)
        {
            tracing::warn!(kept = self.place.is_some(), "{warning}");
        }
        self.status.here = Some(status);
    }

    fn publish_status(&self) {
        let ready = self.current.is_some() && self.geo.is_ready() && !self.status.draining;
        self.state.ready.send_replace(ready);
        self.state.status.store(Arc::new(self.status.clone()));
        self.tell_of_the_fleet();
    }
}

/// Makes the control loop go on with what is about to be published: another fleet or policy, or other geo tables.
fn adopt(
    pulse: &mut Pulse,
    (next, geo): (Next<'_>, &Arc<Ranges>),
    before: Option<&Published>,
) -> Arc<Signals> {
    let parts = before.map(|published| published.snapshot.parts());
    let same_geo = parts.is_none_or(|parts| Arc::ptr_eq(&parts.geo, geo));
    if !same_geo {
        pulse.control.forget_cells();
    }
    pulse.forget_gone(next.topology);
    let now = pulse.now();
    pulse.control.adopt(now, next)
}

/// The warning of a policy without a place for clients whom nobody can place, which a sidecar has that knows its own.
const NO_DEFAULT_PLACE: Code = Code::P024;

/// What became of one document in a reload.
#[derive(Debug, Default)]
struct Outcome {
    fate: Fate,
    faults: Diagnostics,
    warnings: Diagnostics,
    held: Option<Held>,
}

/// Whether a document's text took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fate {
    /// The text was in force before and still is.
    #[default]
    Unchanged,
    /// A new text took effect.
    Applied,
    /// The text is refused; an earlier one is in force.
    LastGood,
    /// The text is good and waits to be confirmed; an earlier one is in force.
    Held,
    /// The text is refused and there is no earlier one.
    Missing,
}

fn report(kind: &'static str, outcome: &Outcome, (applied, refused): (&AtomicU64, &AtomicU64)) {
    match outcome.fate {
        Fate::Unchanged => return,
        Fate::Applied => {
            applied.fetch_add(1, Ordering::Relaxed);
            tracing::info!(kind, "a new text took effect");
        }
        Fate::Held => {
            refused.fetch_add(1, Ordering::Relaxed);
            let because = outcome.held.as_ref().map(|held| held.because.as_str());
            tracing::warn!(kind, because, "a text is held until it is confirmed");
        }
        Fate::LastGood | Fate::Missing => {
            refused.fetch_add(1, Ordering::Relaxed);
            let serving = if outcome.fate == Fate::LastGood {
                "the last good one"
            } else {
                "nothing"
            };
            tracing::error!(
                kind,
                serving,
                faults = outcome.faults.items().len(),
                "a text is refused"
            );
        }
    }
    for line in outcome
        .faults
        .to_lines()
        .into_iter()
        .chain(outcome.warnings.to_lines())
    {
        tracing::warn!(kind, "{line}");
    }
}

fn update(status: &mut DocumentStatus, outcome: &Outcome, digest: String) {
    status.faults = outcome.faults.to_lines();
    status.held = outcome.held.as_ref().map(admin::words_on_held);
    match outcome.fate {
        Fate::Unchanged | Fate::Applied => {
            status.state = DocumentState::Serving;
            status.warnings = outcome.warnings.to_lines();
        }
        Fate::LastGood | Fate::Held => status.state = DocumentState::LastGood,
        Fate::Missing => status.state = DocumentState::Missing,
    }
    if status.serving_digest != digest {
        status.serving_digest = digest;
        status.serving_since_unix_ms = clock::unix_ms();
    }
}
