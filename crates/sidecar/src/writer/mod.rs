//! The one task that changes what is served.
//!
//! It is the steward's host: it reads the sources, tells [`Steward`] what happened, and carries out what that says. What
//! is in force and why is decided there, without a file or a clock. It runs on a thread of its own, because compiling a
//! large fleet takes milliseconds that no request should wait for. Everybody else sends it events over a bounded channel.

mod credentials;
mod files;
mod geo;
mod history;
mod keeper;
mod kept;
mod log;
mod log_filter;
mod mailbox;
mod overlay;
mod place;
mod publish;
mod pulse;
mod say;
mod seals;
pub mod store;
pub mod watch;
mod witness;
mod writing;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::audit::Audit;
use crate::clock;
use crate::intake::handover::Intake;
use crate::intake::reporters::Reporters;
use crate::log_filter::LogFilter;
use crate::settings::Settings;
use crate::settings::here::UnknownSite;
use crate::state::State;
use crate::writer::overlay::Overlay;
use files::Files;
use geo::GeoSource;
use history::{History, Kept};
use mailbox::{Event, Inbox};
use place::Place;
use pulse::Pulse;
use seals::Seals;
use tradewind_engine::control::Next;
use tradewind_engine::edition::{Texts, Which};
use tradewind_engine::lifecycle::{self, Reply, RolloutError, Start, Steward};
use tradewind_engine::rollout::Seen;
use writing::Writing;

pub use credentials::{Credentials, CredentialsError};
pub use mailbox::{InForce, Mailbox, Policies, PolicySet, RolloutSet, StateSet, TopologySet};

/// After a sign of change, how long it must be quiet before files are read, and how long that may take at most.
const QUIET: Duration = Duration::from_millis(50);
const QUIET_AT_MOST: Duration = Duration::from_millis(200);

/// How long a file that is being written is waited for, at most.
const WRITTEN_AT_MOST: Duration = Duration::from_secs(30);

/// The writer; see the module.
#[derive(Debug)]
pub struct Writer {
    inbox: Inbox,
    /// Since when reading is put off, because a file is being written.
    put_off_since: Option<Instant>,
    files: Files,
    seals: Seals,
    geo: GeoSource,
    history: Option<History>,
    states: Overlay,
    audit: Audit,
    place: Place,
    log_filter: LogFilter,
    credentials: Option<Credentials>,
    is_draining: bool,
    steward: Steward,
    pulse: Pulse,
    state: Arc<State>,
}

impl Writer {
    /// A writer for these settings, which has read nothing yet but what an earlier run kept.
    pub fn new(settings: &Settings, state: Arc<State>) -> (Self, Mailbox) {
        let documents = [settings.policy.as_deref(), settings.topology.as_deref()];
        let (mailbox, inbox) = Mailbox::new(Writing::new(documents));
        let files = Files::new(settings);
        let mut seals = Seals::new(settings.signed_by.clone(), Arc::clone(&state));
        let geo = GeoSource::new(settings, Arc::clone(&state));
        let history = settings.state_dir.as_deref().map(History::new);
        let states = Overlay::new(settings.state_dir.clone());
        let mut audit = Audit::open(settings.state_dir.clone(), &state.audit);
        let kept = history
            .as_ref()
            .map_or_else(Kept::default, |it| it.load(&mut seals));
        let (states_set, states_lost) = states.load();
        for lost in kept.lost.iter().chain(&states_lost) {
            audit.lost(&lost.file, &lost.why);
        }
        let place = Place::new(settings.here.clone());
        let steward = Steward::new(Start {
            names: files.names(),
            kept: kept.revisions,
            last_number: kept.last_number,
            rollout: kept.rollout,
            states: states_set,
            geo: geo.in_force(),
            knows_its_place: place.is_set(),
        });
        let writer = Self {
            inbox,
            put_off_since: None,
            files,
            seals,
            geo,
            history,
            states,
            audit,
            place,
            log_filter: LogFilter::default(),
            credentials: None,
            is_draining: false,
            steward,
            pulse: Pulse::new(),
            state,
        };
        (writer, mailbox)
    }

    /// The texts in force.
    fn texts(&self) -> Texts {
        let newest = self.steward.revisions().newest();
        newest.map_or_else(Texts::default, |it| it.texts.clone())
    }

    /// Takes in what workers hand over, from now on.
    pub fn connect(&mut self, intake: Arc<Intake>, reporters: Arc<Reporters>) {
        self.pulse.connect(intake, reporters);
    }

    /// Reads everything for the first time and publishes what can be served: the files, or the last good texts.
    pub fn load(&mut self) {
        self.step(lifecycle::Event::Tick);
        let changed = self.geo.load_first();
        self.take_geo(changed);
        let wanted = self.files.read(&mut self.seals, &self.steward);
        self.step(lifecycle::Event::Read(wanted));
        self.heed_signatures();
    }

    /// Whether the site that this sidecar is said to be at exists, as far as there is a topology to tell.
    pub fn check_here(&self) -> Result<(), UnknownSite> {
        let current = self.steward.current();
        current.map_or(Ok(()), |current| self.place.check(current.topology()))
    }

    /// Runs on a thread of its own until told to stop.
    pub fn spawn(mut self) -> std::io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name("tradewind-writer".to_owned())
            .spawn(move || {
                while self.turn().is_continue() {}
                self.audit.stop();
            })
    }

    /// Waits for an event or the next tick, and does what is due; breaks when it is to end.
    fn turn(&mut self) -> ControlFlow<()> {
        self.state.turns.fetch_add(1, Ordering::Relaxed);
        match self.inbox.events.recv_timeout(self.pulse.left()) {
            Ok(event) => self.handle(event)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
        }
        if self.files.are_due() || self.put_off_since.is_some() {
            self.look_again(Vec::new())?;
        }
        let changed = self.geo.take_loaded();
        self.take_geo(changed);
        self.step(lifecycle::Event::Tick);
        self.end_log_filter_if_over();
        self.tick_if_due();
        self.ask_guards_if_due();
        self.state.writer_ticks.note(clock::now());
        ControlFlow::Continue(())
    }

    /// Tells the steward how the requests of a candidate fare, when it is time.
    fn ask_guards_if_due(&mut self) {
        let rolling = self.steward.rollout().filter(|it| !it.is_shadow);
        let Some(rolling) = rolling.filter(|_| self.pulse.is_guard_due()) else {
            return;
        };
        let candidate = rolling.candidate.policy();
        let broken = self.state.shadow.broken_expectation(candidate);
        let windows = self.steward.rollout_windows_ms(clock::unix_ms());
        let now = self.pulse.now();
        let fared = windows.into_iter().map(|window_ms| {
            let fared = self.pulse.control.fared(now, window_ms);
            fared.unwrap_or_default()
        });
        let fared = fared.collect();
        self.step(lifecycle::Event::Seen(Seen { fared, broken }));
        self.show_rollouts();
    }

    /// Lets the control loop run when its time has come, and publishes what it changed.
    fn tick_if_due(&mut self) {
        if !self.pulse.is_due() {
            return;
        }
        let Some(published) = self.state.published.load_full() else {
            return;
        };
        if let Some(snapshot) =
            self.pulse
                .tick(&published.snapshot, published.revision, &self.state)
        {
            self.publish_signals(&published, snapshot);
        }
        if let Some(view) = self.pulse.view(&published.snapshot) {
            self.state.view.store(Arc::new(view));
        }
    }

    /// Does what an event asks for; breaks when it is to end. Whoever asked may have gone; what was asked for is done.
    fn handle(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::LookAgain => return self.look_again(Vec::new()),
            Event::Look(reply) => return self.look_again(vec![reply]),
            Event::ApplyPolicy(update, signature, reply) => {
                let update = self.vouched_policy(update, &signature);
                let done = self.step(lifecycle::Event::ApplyPolicy(update));
                self.heed_signatures();
                if let Some(Reply::Policy(answer)) = done.reply {
                    let is_kept = done.is_kept;
                    let signature = self.seals.of_pair(&self.texts()).policy;
                    drop(reply.send(answer.map(|applied| PolicySet {
                        applied,
                        is_kept,
                        signature,
                    })));
                }
            }
            Event::ApplyTopology(update, signature, reply) => {
                let update = self.vouched_topology(update, &signature);
                let done = self.step(lifecycle::Event::ApplyTopology(update));
                self.heed_signatures();
                if let Some(Reply::Topology(answer)) = done.reply {
                    let texts = self.texts();
                    let signature = self.seals.of_pair(&texts).topology;
                    drop(reply.send(answer.map(|applied| TopologySet {
                        applied,
                        text: texts.topology,
                        signature,
                    })));
                }
            }
            Event::StartRollout(mut request, signature, reply) => {
                request.unusable = self.unusable(Which::Policy, &request.document, &signature);
                self.change_rollout(lifecycle::Event::StartRollout(request), reply);
            }
            Event::OrderRollout(order, reply) => {
                self.change_rollout(lifecycle::Event::OrderRollout(order), reply);
            }
            Event::SetState(change, reply) => {
                let done = self.step(lifecycle::Event::SetState(change));
                if let Some(Reply::State(answer)) = done.reply {
                    let is_kept = done.is_kept;
                    drop(reply.send(answer.map(|changed| StateSet { changed, is_kept })));
                }
            }
            Event::Get(reply) => drop(reply.send(self.in_force())),
            Event::Stopped(stopped) => self.audit.stopped(&stopped),
            Event::Purged(purged) => self.audit.purged(&purged),
            Event::Announced(announced) => self.audit.announced(&announced),
            Event::Policies(reply) => drop(reply.send(self.policies())),
            Event::Probed(probed) => {
                if let Some(published) = self.state.published.load_full() {
                    self.pulse.probed(&probed, &published.snapshot);
                }
            }
            Event::ResetBreaker(asked, reply) => drop(reply.send(self.reset_breaker(&asked))),
            Event::SetLogFilter(wish, reply) => drop(reply.send(self.set_log_filter(&wish))),
            Event::Draining => {
                self.is_draining = true;
                self.show();
            }
            Event::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Waits until it is quiet, then reads what has changed, and tells who waits for that. Other events are not kept waiting
    /// meanwhile.
    fn look_again(&mut self, mut waiting: Vec<oneshot::Sender<()>>) -> ControlFlow<()> {
        if self.puts_off() {
            self.inbox.looking();
            tell_all(waiting);
            return ControlFlow::Continue(());
        }
        let deadline = clock::now() + QUIET_AT_MOST;
        loop {
            self.inbox.looking();
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                break;
            }
            match self.inbox.events.recv_timeout(QUIET.min(left)) {
                Ok(Event::LookAgain) => {}
                Ok(Event::Look(reply)) => waiting.push(reply),
                Ok(event) => self.handle(event)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
            }
        }
        self.look_at_credentials();
        self.seals.forget_old(&self.steward);
        let wanted = self.files.read_steady(&mut self.seals, &self.steward);
        self.step(lifecycle::Event::Read(wanted));
        self.heed_signatures();
        self.geo.look();
        tell_all(waiting);
        ControlFlow::Continue(())
    }

    /// Whether files are not read yet, because somebody is writing one of them. Meanwhile everything else goes on.
    fn puts_off(&mut self) -> bool {
        let now = clock::now();
        let since = *self.put_off_since.get_or_insert(now);
        let is_long = now.saturating_duration_since(since) >= WRITTEN_AT_MOST;
        let puts_off = self.inbox.writing.is_under_way(now) && !is_long;
        if !puts_off {
            self.put_off_since = None;
        }
        puts_off
    }

    /// Counts what became of geo files, if there is something new: `true` if they took effect.
    fn take_geo(&mut self, changed: Option<bool>) {
        let reloads = &self.state.reloads;
        let counter = match changed {
            Some(true) => &reloads.geo_applied,
            Some(false) => &reloads.geo_refused,
            None => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.step(lifecycle::Event::Geo(self.geo.in_force()));
        self.show();
        self.audit.geo(changed == Some(true), &self.geo.status());
    }

    fn in_force(&self) -> Option<InForce> {
        let published = self.state.published.load_full()?;
        Some(InForce {
            text: published.texts.topology.to_string(),
            topology: Arc::clone(&published.snapshot.parts().topology),
            fleet: self.fleet(),
        })
    }

    /// Begins a rollout or does something with it, and answers.
    fn change_rollout(
        &mut self,
        event: lifecycle::Event,
        reply: oneshot::Sender<Result<RolloutSet, RolloutError>>,
    ) {
        let done = self.step(event);
        self.heed_signatures();
        if let Some(Reply::Rollout(answer)) = done.reply {
            let is_kept = done.is_kept;
            drop(reply.send(answer.map(|answer| RolloutSet { answer, is_kept })));
        }
    }

    fn policies(&self) -> Option<Policies> {
        Some(Policies {
            edition: self.steward.current()?.clone(),
            revisions: self.steward.revisions().clone(),
        })
    }

    /// Forgets what a node's breaker holds against it; whether there is such a node. Decisions see it at the next tick.
    fn reset_breaker(&mut self, (node, who): &(String, String)) -> bool {
        let Some(published) = self.state.published.load_full() else {
            return false;
        };
        let snapshot = &published.snapshot;
        let Some(index) = snapshot.routing().find_node(node) else {
            return false;
        };
        let now = self.pulse.now();
        let next = Next::after(snapshot);
        let is_reset = self.pulse.control.reset_breaker(now, index, next);
        self.audit.breaker_reset((node, who), is_reset);
        is_reset
    }
}

/// Tells who waits that it has been looked.
fn tell_all(waiting: Vec<oneshot::Sender<()>>) {
    for reply in waiting {
        // Whoever asked may have gone.
        let _gone: Result<(), ()> = reply.send(());
    }
}
