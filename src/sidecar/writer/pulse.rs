//! The control loop's heartbeat: takes in what workers and probes handed over, ticks, and logs what it did.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::control::event::Event;
use crate::engine::control::{Control, Next};
use crate::engine::signal::Signals;
use crate::engine::signal::observation::ProbeResult;
use crate::engine::snapshot::Snapshot;
use crate::engine::time::Moment;
use crate::engine::topology::Topology;
use crate::sidecar::clock;
use crate::sidecar::intake::{Dispatched, Intake, Report, Reported};
use crate::sidecar::probe::Probed;
use crate::sidecar::view::{self, FleetView, Transitions};

/// How often the loop runs.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Changes logged at one tick; the rest are counted only. A fleet that fails as a whole must not fill the disk.
const MAX_LOGGED: usize = 20;

/// The control loop and what feeds it.
#[derive(Debug)]
pub(super) struct Pulse {
    pub(super) control: Control,
    intake: Option<Arc<Intake>>,
    started: Instant,
    next_tick: Instant,
    next_view: Moment,
    dispatches: VecDeque<Dispatched>,
    reports: VecDeque<Reported>,
    histograms: VecDeque<Reported>,
    transitions: Transitions,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let now = clock::now();
        Self {
            control: Control::new(clock::unix_ms() ^ u64::from(std::process::id()) << 32),
            intake: None,
            started: now,
            next_tick: now + TICK,
            next_view: Moment::default(),
            dispatches: VecDeque::new(),
            reports: VecDeque::new(),
            histograms: VecDeque::new(),
            transitions: Transitions::new(),
        }
    }

    /// Takes in what workers hand over through `intake` from now on.
    pub(super) fn connect(&mut self, intake: Arc<Intake>) {
        self.intake = Some(intake);
    }

    /// The time as the control loop counts it: from the monotonic clock.
    pub(super) fn now(&self) -> Moment {
        let since = clock::now().saturating_duration_since(self.started);
        Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// How long to wait for events before the next tick is due.
    pub(super) fn left(&self) -> Duration {
        self.next_tick.saturating_duration_since(clock::now())
    }

    /// Whether a tick is due; if so, the next one is set.
    pub(super) fn is_due(&mut self) -> bool {
        let now = clock::now();
        if now < self.next_tick {
            return false;
        }
        // After a pause (a long compile, a suspended machine) ticks are not made up for.
        self.next_tick = (self.next_tick + TICK).max(now);
        true
    }

    /// Takes in what was handed over, lets the loop run, and answers the signals if they changed.
    pub(super) fn tick(&mut self, snapshot: &Snapshot, fleet: u64) -> Option<Arc<Signals>> {
        let now = self.now();
        self.take_in(now, snapshot, fleet);
        let signals = self.control.tick(now, snapshot);
        self.tell(snapshot.topology());
        signals
    }

    /// What is known, for people; once a second.
    pub(super) fn view(&mut self, snapshot: &Snapshot) -> Option<FleetView> {
        let now = self.now();
        if now < self.next_view {
            return None;
        }
        self.next_view = now.plus(view::EVERY_MS);
        Some(FleetView {
            transitions: self.transitions.clone(),
            ..FleetView::new(now, &self.control, snapshot)
        })
    }

    /// A probe came back.
    pub(super) fn probed(&mut self, probed: &Probed, snapshot: &Snapshot) {
        let Some(node) = snapshot.policy().find_node(&probed.node) else {
            return;
        };
        let result = ProbeResult {
            node,
            healthy: probed.healthy,
            took_us: u32::try_from(probed.took.as_micros()).unwrap_or(u32::MAX),
        };
        if let Some(detail) = probed.detail {
            tracing::debug!(node = %probed.node, detail = detail.name(), "a probe failed");
        }
        let now = self.now();
        self.control.probed(now, result, Next::after(snapshot));
    }

    fn take_in(&mut self, now: Moment, snapshot: &Snapshot, fleet: u64) {
        let Some(intake) = &self.intake else { return };
        let next = Next::after(snapshot);
        for lane in intake.lanes() {
            lane.drain_dispatches(&mut self.dispatches);
            for item in self.dispatches.iter().filter(|item| item.fleet == fleet) {
                self.control.dispatched(&item.dispatch, item.affinity);
            }
        }
        // All decisions first: an outcome may be told by another worker than the one that decided.
        for lane in intake.lanes() {
            lane.drain_reports(&mut self.reports, &mut self.histograms);
            let reports = self.reports.drain(..).chain(self.histograms.drain(..));
            for item in reports.filter(|item| item.fleet == fleet) {
                match item.report {
                    Report::Outcome(outcome) => {
                        self.control.outcome(now, &outcome, next);
                    }
                    Report::Load(node, report) => {
                        self.control.load(now, node, report);
                    }
                    Report::ServiceTimes(node, times) => {
                        self.control.service_times(now, node, &times);
                    }
                }
            }
        }
    }

    /// Counts and logs what the loop did.
    fn tell(&mut self, topology: &Topology) {
        let events = self.control.take_events();
        for (event, at) in events.iter().zip(0_usize..) {
            if let Event::Breaker {
                node, to, cause, ..
            } = event
            {
                let id = topology.node(*node).id.clone();
                let count = self.transitions.entry((id, to.name(), cause.name()));
                *count.or_default() += 1;
            }
            if at < MAX_LOGGED {
                log(event, topology);
            }
        }
        if events.len() > MAX_LOGGED {
            let more = events.len() - MAX_LOGGED;
            tracing::warn!(more, "more changes at this tick are not logged one by one");
        }
    }

    /// Forgets counts of nodes that are gone: their number must not grow for ever.
    pub(super) fn forget_gone(&mut self, topology: &Topology) {
        let known: BTreeSet<&str> = topology.nodes().iter().map(|node| &*node.id).collect();
        self.transitions
            .retain(|(node, ..), _| known.contains(&**node));
    }
}

fn log(event: &Event, topology: &Topology) {
    match *event {
        Event::Breaker {
            node,
            to,
            cause,
            flapping,
        } => {
            let node = &*topology.node(node).id;
            tracing::warn!(
                node,
                to = to.name(),
                cause = cause.name(),
                flapping,
                "a breaker changed"
            );
        }
        Event::EjectionDenied { node } => {
            let node = &*topology.node(node).id;
            tracing::warn!(
                node,
                "a failing node stays in use, its pool has lost too much weight already"
            );
        }
        Event::Probe { node, healthy } => {
            let node = &*topology.node(node).id;
            tracing::warn!(node, healthy, "probes came to another verdict");
        }
        Event::Condition { node, level } => {
            let node = &*topology.node(node).id;
            tracing::info!(node, level, "a node's condition changed");
        }
        Event::Readmission { set, to } => {
            tracing::warn!(
                set = set.get(),
                to = to.name(),
                "too little of a pool is well, or enough again"
            );
        }
        Event::SiteTerms { site } => {
            let site = &*topology.site(site).id;
            tracing::info!(site, "a site's terms changed");
        }
        Event::Isolated(true) => {
            tracing::error!(
                "most nodes of several sites failed at once: this sidecar may be cut off, verdicts are frozen"
            );
        }
        Event::Isolated(false) => tracing::warn!("verdicts are believed again"),
    }
}
