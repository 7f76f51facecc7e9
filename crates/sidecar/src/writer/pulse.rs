//! The control loop's heartbeat: takes in what workers and probes handed over, ticks, and logs what it did.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::log::Log;
use super::witness::Witnessing;
use crate::clock;
use crate::identity::reporter::Identity;
use crate::intake::handover::{Dispatched, Intake, Report, Reported};
use crate::intake::reporters::Reporters;
use crate::probe::Probed;
use crate::state::State;
use crate::view::hearing::{self, Hearing};
use crate::view::journal;
use crate::view::lasting::Lasting;
use crate::view::unasked::Unasked;
use crate::view::{self, FleetView, HotView, Transitions};
use tradewind_engine::control::cohorts::Decided;
use tradewind_engine::control::event::Event;
use tradewind_engine::control::meter::Disruption;
use tradewind_engine::control::positions::Mapping;
use tradewind_engine::control::{Control, Next};
use tradewind_engine::model::NodeIndex;
use tradewind_engine::publication;
use tradewind_engine::signal::observation::{Outcome, ProbeResult};
use tradewind_engine::snapshot::{Parts, Snapshot};
use tradewind_engine::time::Moment;
use tradewind_engine::topology::Topology;

/// How often the loop runs.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// How often guards of a rollout are asked, in ms.
const GUARDS_MS: u64 = 500;

/// The control loop and what feeds it.
#[derive(Debug)]
pub(super) struct Pulse {
    pub(super) control: Control,
    intake: Option<Arc<Intake>>,
    /// Who reports by their numbers.
    reporters: Option<Arc<Reporters>>,
    started: Instant,
    next_tick: Instant,
    next_view: Moment,
    dispatches: VecDeque<Dispatched>,
    reports: VecDeque<Reported>,
    histograms: VecDeque<Reported>,
    transitions: Transitions,
    log: Log,
    /// The last publication that moved keys.
    last_move: Option<(Moment, Disruption)>,
    crossing: Option<Crossing>,
    /// When sites were asked last.
    unasked: Unasked,
    /// Since when keys are hot.
    hot: Lasting,
    /// What workers had decided in each lane at the last tick.
    decided: [Decided; 2],
    next_guards: Moment,
    /// What it tells its fleet, and follows; `None` where it is alone.
    witness: Option<Witnessing>,
}

/// The last change of policy or fleet: what workers handed over while it came about is still on its way.
#[derive(Debug)]
struct Crossing {
    from: u64,
    to: u64,
    mapping: Mapping,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let now = clock::now();
        Self {
            control: Control::new(clock::unix_ms() ^ u64::from(std::process::id()) << 32),
            intake: None,
            reporters: None,
            started: now,
            next_tick: now + TICK,
            next_view: Moment::default(),
            dispatches: VecDeque::new(),
            reports: VecDeque::new(),
            histograms: VecDeque::new(),
            transitions: Transitions::new(),
            log: Log::default(),
            last_move: None,
            crossing: None,
            unasked: Unasked::default(),
            hot: Lasting::default(),
            decided: Default::default(),
            next_guards: Moment::default(),
            witness: None,
        }
    }

    /// Takes in what workers hand over through `intake` from now on.
    pub(super) fn connect(&mut self, intake: Arc<Intake>, reporters: Arc<Reporters>) {
        self.intake = Some(intake);
        self.reporters = Some(reporters);
    }

    /// Who has which number.
    fn seated(&self) -> Vec<Identity> {
        let reporters = self.reporters.as_ref();
        reporters.map_or_else(Vec::new, |reporters| reporters.seated())
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

    /// Takes in what was handed over, lets the loop run, and answers the next snapshot if signals changed.
    pub(super) fn tick(
        &mut self,
        snapshot: &Snapshot,
        fleet: u64,
        state: &State,
    ) -> Option<Snapshot> {
        let now = self.now();
        self.take_in(now, snapshot, fleet);
        self.count_lanes(now);
        if self.witness.is_none() {
            let fleet = state.members.get();
            self.witness = fleet.map(|fleet| Witnessing::begin(fleet, &mut self.control));
        }
        let signals = match &mut self.witness {
            Some(witness) => witness.tick((now, &mut self.control), (snapshot, fleet), state),
            None => self.control.tick(now, snapshot),
        };
        self.tell(snapshot, state);
        let now = self.now();
        signals.map(|signals| publication::renew(&mut self.control, now, signals, snapshot))
    }

    /// Tells the loop what was decided in each lane since it was told last.
    fn count_lanes(&mut self, now: Moment) {
        let Some(intake) = &self.intake else { return };
        let decided = intake.decided();
        let [first, second] = &self.decided;
        let more = [decided[0].beyond(first), decided[1].beyond(second)];
        self.decided = decided;
        self.control.decided(now, more);
    }

    /// Whether guards are to be asked; if so, the next time is set.
    pub(super) fn is_guard_due(&mut self) -> bool {
        let now = self.now();
        let is_due = now >= self.next_guards;
        if is_due {
            self.next_guards = now.plus(GUARDS_MS);
        }
        is_due
    }

    /// Takes in what was handed over up to now, of the edition that another one is about to follow: positions are mapped from
    /// one edition to the next only, and several may follow each other within a tick.
    pub(super) fn catch_up(&mut self, snapshot: &Snapshot, fleet: u64) {
        let now = self.now();
        self.take_in(now, snapshot, fleet);
    }

    /// Goes on with what is about to be published, another fleet or policy, and answers its snapshot.
    pub(super) fn adopt(&mut self, parts: Parts, before: Option<&Snapshot>) -> Snapshot {
        self.forget_gone(&parts.topology);
        let now = self.now();
        let candidate = parts.candidate.as_ref().map(|it| it.split.salt);
        self.control.watch_cohorts(now, candidate);
        publication::adopt(&mut self.control, now, parts, before)
    }

    /// What the last publication moved, if it is known to have moved anything: those that come close together are measured
    /// later, as one.
    pub(super) fn moved(&self) -> Option<Disruption> {
        let (last, _) = self.control.disruption();
        (last.moved > 0.0).then_some(last)
    }

    /// What is known, for people; once a second.
    pub(super) fn view(&mut self, snapshot: &Snapshot) -> Option<FleetView> {
        (self.now() >= self.next_view).then(|| self.view_now(snapshot))
    }

    /// The same, whenever it was made last.
    pub(super) fn view_now(&mut self, snapshot: &Snapshot) -> FleetView {
        let now = self.now();
        self.next_view = now.plus(view::EVERY_MS);
        let hearing = Hearing::new(now, (&self.control, &self.seated()), snapshot.topology());
        let mut view = FleetView {
            transitions: self.transitions.clone(),
            last_move: self.last_move,
            hearing,
            ..FleetView::new(now, &self.control, snapshot)
        };
        self.unasked.note(now, &mut view, snapshot.topology());
        let name = |hot: &HotView| format!("{} {}", hot.key_hash, hot.site);
        let names: Vec<String> = view.hot.iter().map(name).collect();
        self.hot.note(now, names.iter().map(String::as_str));
        for (hot, name) in view.hot.iter_mut().zip(&names) {
            hot.since_ms = self.hot.ms(now, name);
        }
        view
    }

    /// A probe came back.
    pub(super) fn probed(&mut self, probed: &Probed, snapshot: &Snapshot) {
        let Some(node) = snapshot.routing().find_node(&probed.node) else {
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

    /// The control loop has gone over from one revision of policy and fleet to another.
    pub(super) fn cross(&mut self, from: u64, to: u64) {
        let mapping = self.control.mapping().clone();
        self.crossing = Some(Crossing { from, to, mapping });
    }

    /// Takes in what waits in the handovers. What belongs to the revision before the present one is mapped to it; older is
    /// only what a worker that was kept waiting decided before two changes and handed over after them, and is left out.
    fn take_in(&mut self, now: Moment, snapshot: &Snapshot, fleet: u64) {
        let Some(intake) = &self.intake else { return };
        let next = Next::after(snapshot);
        let crossed = self.crossing.as_ref();
        let crossed = crossed.filter(|crossing| crossing.to == fleet);
        let mapping_from = |of: u64| crossed.filter(|crossing| crossing.from == of);
        let operation = snapshot.policy().operation();
        let known = |item: &Dispatched| {
            if item.fleet == fleet {
                return Some(item.dispatch);
            }
            mapping_from(item.fleet)?.mapping.dispatch(&item.dispatch)
        };
        for told in intake.handovers() {
            told.drain_reports(&mut self.reports, &mut self.histograms);
            // All decisions first, those too that were made a moment ago: an outcome may be told by another worker than the one
            // that decided, and before its decision is known it has no receipt.
            for handover in intake.handovers() {
                handover.drain_dispatches(&mut self.dispatches);
                for item in &self.dispatches {
                    if let Some(dispatch) = known(item) {
                        self.control.dispatched(&dispatch, item.affinity);
                    }
                }
            }
            for item in self.reports.drain(..).chain(self.histograms.drain(..)) {
                let node_of = |node: NodeIndex| {
                    if item.fleet == fleet {
                        return Some(node);
                    }
                    mapping_from(item.fleet)?.mapping.node(node)
                };
                match item.report {
                    Report::Outcome(outcome) => {
                        if let Some(node) = node_of(outcome.node) {
                            let outcome = Outcome { node, ..outcome };
                            self.control.outcome(now, &outcome, next);
                        }
                    }
                    Report::Load(node, report) => {
                        if let Some(node) = node_of(node) {
                            let word = (item.from, report);
                            self.control.load(now, node, word, operation);
                        }
                    }
                    Report::ServiceTimes(node, times) => {
                        if let Some(node) = node_of(node) {
                            self.control.service_times(now, node, (item.from, &times));
                        }
                    }
                }
            }
        }
    }

    /// Counts, keeps and logs what the loop did.
    pub(super) fn tell(&mut self, snapshot: &Snapshot, state: &State) {
        let now = self.now();
        for event in self.control.take_events() {
            let unix_ms = clock::unix_ms();
            state.events.add((now, unix_ms), event, snapshot);
            if let Some(note) = journal::of_event(&event, snapshot) {
                state.journal.enter(unix_ms, note);
            }
            if let Event::Breaker {
                node, to, cause, ..
            } = event
            {
                let id = snapshot.topology().node(node).id.clone();
                let count = self.transitions.entry((id, to.name(), cause.name()));
                *count.or_default() += 1;
            }
            if let Event::KeysMoved(moved) = event {
                self.last_move = Some((now, moved));
            }
            if let Event::Disagreement { .. } = event {
                // Its reporter has a name that only the registry knows.
                hearing::log(now, &event, (&self.seated(), snapshot.topology()));
            } else {
                self.log.tell(now, &event, snapshot);
            }
        }
        self.log.tell_of_the_rest(now);
    }

    /// Forgets counts of nodes that are gone: their number must not grow for ever.
    fn forget_gone(&mut self, topology: &Topology) {
        let known: BTreeSet<&str> = topology.nodes().iter().map(|node| &*node.id).collect();
        self.transitions
            .retain(|(node, ..), _| known.contains(&**node));
    }
}

#[cfg(test)]
mod tests {
    use tradewind_engine::decision::Decision;
    use tradewind_engine::evaluate::evaluate;
    use tradewind_engine::geo::ranges::Ranges;
    use tradewind_engine::policy::{self, Affinity};
    use tradewind_engine::query::Query;
    use tradewind_engine::signal::observation::{
        AttemptResult, CacheResult, DecisionNumber, Reporter, Standing,
    };
    use tradewind_engine::snapshot::GeoState;
    use tradewind_engine::topology;

    use super::*;
    use crate::intake::reporters::Quota;

    /// A fleet of these nodes, and a policy with these classes.
    fn parts(nodes: &[&str], classes: &[&str]) -> Parts {
        let nodes = nodes
            .iter()
            .zip(1..)
            .map(|(id, at)| format!("  - {{id: {id}, site: fra, address: \"192.0.2.{at}:80\"}}\n"));
        let text = format!(
            "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites: [{{id: fra, lat: 50.1, lon: 8.7}}]\n  nodes:\n{}",
            nodes.collect::<String>()
        );
        let topology = Arc::new(topology::compile("topology", &text).topology.unwrap());
        let classes = classes.iter().map(|name| format!("  - name: {name}\n"));
        let text = format!(
            "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools: [{{name: edge, select: {{tier: edge}}}}]\n  \
             rules: [{{name: all, owner: a, rollback: x, pools: [edge], class: video}}]\n  classes:\n{}",
            classes.collect::<String>()
        );
        let policy = policy::compile("policy", &text, &topology).policy.unwrap();
        Parts {
            topology,
            policy: Arc::new(policy),
            candidate: None,
            geo: Arc::new(Ranges::default()),
            geo_state: GeoState::NotConfigured,
            here: None,
            signals: Arc::default(),
        }
    }

    /// A topology and a policy that change together are two editions, milliseconds apart: what was decided just before had
    /// no place in the second, and its outcome was not believed.
    #[test]
    fn a_decision_keeps_its_node_and_class_over_several_editions_within_a_tick() {
        let mut pulse = Pulse::new();
        let intake = Arc::new(Intake::new(1));
        let reporters = Arc::new(Reporters::new(Quota::default(), Vec::new()));
        pulse.connect(Arc::clone(&intake), reporters);
        let mut snapshot = pulse.adopt(parts(&["fra-4"], &["video"]), None);
        let query = Query {
            path: "/a",
            ..Query::default()
        };
        let evaluation = evaluate(&snapshot, &query);
        let number = DecisionNumber(1);
        let decided = Decision::new(&snapshot, &evaluation).dispatch(number);
        intake.handovers()[0].dispatched(Dispatched {
            fleet: 1,
            dispatch: decided.unwrap(),
            affinity: Affinity::Key,
        });
        let (mut nodes, mut classes) = (vec!["fra-4"], vec!["video"]);
        let more = [
            ("fra-3", "pictures"),
            ("fra-2", "audio"),
            ("fra-1", "texts"),
        ];
        for (fleet, (node, class)) in (1..).zip(more) {
            nodes.insert(0, node);
            classes.insert(0, class);
            pulse.catch_up(&snapshot, fleet);
            snapshot = pulse.adopt(parts(&nodes, &classes), Some(&snapshot));
            pulse.cross(fleet, fleet + 1);
        }
        let node = snapshot.topology().find_node("fra-4").unwrap();
        assert_eq!(node, NodeIndex(3), "it has moved");
        let outcome = Outcome {
            decision: Some(number),
            attempt: 1,
            reporter: Reporter(1),
            node,
            result: AttemptResult::Ok,
            status: 200,
            first_byte_us: 1_000,
            cache: CacheResult::Hit,
            bytes: 1,
            client_round_trip_us: 0,
            key: None,
        };
        intake.handovers()[0].reported(Reported {
            fleet: 4,
            from: (outcome.reporter, Standing::Other),
            report: Report::Outcome(outcome),
        });
        pulse.tick(&snapshot, 4, &State::default());
        let numbers = snapshot.numbers();
        let mut known = numbers.known_classes();
        let video = known.find(|class| numbers.class_name(*class) == Some("video"));
        let now = pulse.now();
        let operation = snapshot.policy().operation();
        let report = pulse.control.node_report(now, node, operation).unwrap();
        let hits = report.notes.hits.get(video.unwrap().get());
        assert_eq!(hits.unwrap().known(), (1, 0));
        let unbelieved = pulse.control.heard().unbelieved();
        assert_eq!(unbelieved.map(|(_, count)| count).sum::<u64>(), 0);
    }
}
