//! What this sidecar tells its fleet of nodes, and what it follows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clock;
use crate::fleet::Fleet;
use crate::state::State;
use crate::view::journal::{About, Kind, Mark, Note};
use crate::wire::fleet::evidence_message;
use crate::wire::proto::MemberReport;
use tradewind_engine::control::facts::Facts;
use tradewind_engine::control::{Control, Next};
use tradewind_engine::fleet::MemberId;
use tradewind_engine::fleet::evidence::{Attempt, INTERVAL_MS, Witness};
use tradewind_engine::fleet::facts::{Facts as FleetFacts, NodeFact};
use tradewind_engine::fleet::member::Standing;
use tradewind_engine::hash::NodeSeed;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::signal::{Admission, Signals};
use tradewind_engine::snapshot::Snapshot;
use tradewind_engine::time::Moment;

/// What a member saw and has not told, and what it follows.
#[derive(Debug)]
pub(super) struct Witnessing {
    fleet: Arc<Fleet>,
    witness: Witness,
    next_told: Moment,
    /// Nodes that it accuses.
    accused: BTreeSet<NodeSeed>,
    /// What it followed at the last tick.
    followed: Arc<FleetFacts>,
    /// What it acted on then, while it is not alone.
    acted_on: Option<Facts>,
    started_unix_ms: u64,
    /// The revision whose policy a chair judges by.
    revision: u64,
}

impl Witnessing {
    pub(super) fn begin(fleet: &Arc<Fleet>, control: &mut Control) -> Self {
        control.keep_attempts();
        let me = MemberId::of_name(&fleet.membership.member);
        let now_unix_ms = clock::unix_ms();
        // Each tells at a moment of its own within the second.
        let phase_ms = me.rank(1) % u64::from(INTERVAL_MS);
        Self {
            fleet: Arc::clone(fleet),
            witness: Witness::new(me, now_unix_ms),
            next_told: fleet.now().plus(phase_ms),
            accused: BTreeSet::new(),
            followed: Arc::default(),
            acted_on: None,
            started_unix_ms: now_unix_ms,
            revision: 0,
        }
    }

    /// A tick of the control loop in a fleet: what the fleet concludes counts beside what this process does.
    pub(super) fn tick(
        &mut self,
        (now, control): (Moment, &mut Control),
        (snapshot, revision): (&Snapshot, u64),
        state: &State,
    ) -> Option<Arc<Signals>> {
        if self.revision != revision {
            self.revision = revision;
            let operation = snapshot.policy().operation().clone();
            self.fleet.operation.store(Some(Arc::new(operation)));
            // It is of another fleet.
            self.acted_on = None;
        }
        let next = Next::after(snapshot);
        let at = self.fleet.now();
        let (facts, standing) = self
            .fleet
            .member(|member| (Arc::clone(member.facts()), member.standing(at)));
        if standing == Standing::Alone
            && let Some(acted_on) = self.acted_on.take()
        {
            tracing::warn!(
                "nothing was heard of a chair for a minute: this sidecar goes on alone, from what the fleet concluded last"
            );
            control.go_on_from(now, &acted_on, next);
        }
        let own = control.assess(now, snapshot);
        for attempt in control.take_attempts() {
            let attempt = Attempt {
                node: attempt.node,
                term: facts.node(attempt.node).term,
                is_good: attempt.is_good,
                first_byte_us: attempt.first_byte_us,
            };
            self.witness.saw(at, attempt);
        }
        if standing != Standing::Alone {
            self.note_changes(&facts, snapshot, state);
        }
        Self::forget_own((now, control), (&own, &facts, standing), next);
        self.tell(at, (&own, &facts), (snapshot, state));
        let acted_on = self
            .fleet
            .member(|member| member.acts_on(at, &own, snapshot.topology()));
        let signals = control.settle(now, &acted_on, next);
        self.acted_on = (standing != Standing::Alone).then_some(acted_on);
        signals
    }

    /// Nodes that the fleet has left are the fleet's to judge.
    fn forget_own(
        (now, control): (Moment, &mut Control),
        (own, facts, standing): (&Facts, &FleetFacts, Standing),
        next: Next<'_>,
    ) {
        if standing == Standing::Alone {
            return;
        }
        for (node, seed) in accusable(own, next) {
            if facts.node(seed).place.is_some() {
                control.leave_to_others(now, node, next);
            }
        }
    }

    /// Tells what was seen: once a second, at once when a node is newly accused, and of nodes that others accuse.
    fn tell(
        &mut self,
        at: Moment,
        (own, facts): (&Facts, &FleetFacts),
        (snapshot, state): (&Snapshot, &State),
    ) {
        let accused: BTreeSet<NodeSeed> = accusable(own, Next::after(snapshot))
            .map(|(_, seed)| seed)
            .filter(|seed| facts.node(*seed).place.is_none())
            .collect();
        let is_urgent = accused.difference(&self.accused).next().is_some();
        self.accused = accused;
        let names = |node| self.accused.contains(&node);
        let (told, standing, hearings) = self.fleet.member(|member| {
            let hearings = member.hearings().to_vec();
            (member.told(), member.standing(at), hearings)
        });
        let is_due = at >= self.next_told;
        if is_urgent || is_due {
            let mut message = evidence_message(&self.witness.tell(at, told, names));
            if is_due {
                self.next_told = self.next_told.plus(INTERVAL_MS.into()).max(at);
                let report = self.report(state);
                self.fleet.tell_of_itself(report.clone());
                message.report = Some(report);
            }
            self.fleet.tell(message);
        } else if standing == Standing::Following {
            let answer = self.witness.answer(at, told, names, hearings.iter());
            if let Some(answer) = answer {
                self.fleet.tell(evidence_message(&answer));
            }
        }
    }

    /// What it tells of itself.
    fn report(&self, state: &State) -> MemberReport {
        let status = state.status.load();
        let troubles = [("policy", &status.policy), ("topology", &status.topology)];
        let trouble = troubles.iter().find_map(|(kind, document)| {
            let degraded = document.degraded.as_ref()?;
            Some(format!("{kind}: {}", degraded.first_fault))
        });
        let following = self.fleet.followed(|it| it.following());
        MemberReport {
            following: Some(following),
            name: self.fleet.membership.member.clone(),
            here: status
                .here
                .as_ref()
                .map_or_else(String::new, |here| here.setting.clone()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_ms: self.started_unix_ms,
            purge_head: *state.freshness.heads().borrow(),
            policy: status.policy.serving_digest.clone(),
            topology: status.topology.serving_digest.clone(),
            ready: *state.ready.borrow(),
            trouble: trouble.unwrap_or_default(),
            purge_place: state.freshness.counters().place.load(Ordering::Relaxed),
        }
    }

    /// Says what the fleet concluded otherwise than before.
    fn note_changes(&mut self, facts: &Arc<FleetFacts>, snapshot: &Snapshot, state: &State) {
        if Arc::ptr_eq(&self.followed, facts) {
            return;
        }
        let topology = snapshot.topology();
        for node in topology.nodes() {
            let [before, now] = [&self.followed, facts].map(|it| it.node(node.seed));
            let Some((mark, title, words)) = change(before, now) else {
                continue;
            };
            tracing::info!(node = %node.id, term = now.term, "{words}");
            let site = topology.sites().get(node.site.get());
            let note = Note {
                kind: Kind::Breaker,
                mark,
                title: title.to_owned(),
                words: format!("{words}."),
                about: About {
                    node: Some(node.id.clone()),
                    site: site.map(|site| site.id.clone()),
                    ..About::default()
                },
            };
            state.journal.enter(clock::unix_ms(), note);
        }
        self.followed = Arc::clone(facts);
    }
}

/// The nodes that this process's own breakers hold back.
fn accusable<'a>(
    own: &'a Facts,
    next: Next<'a>,
) -> impl Iterator<Item = (NodeIndex, NodeSeed)> + 'a {
    let nodes = next.topology.indexed_nodes().zip(&own.nodes);
    nodes
        .filter(|(_, facts)| facts.place.is_some())
        .map(|((index, node), _)| (index, node.seed))
}

/// What became of a node, in words.
fn change(before: NodeFact, now: NodeFact) -> Option<(Mark, &'static str, &'static str)> {
    let kind = |fact: NodeFact| match fact.verdict {
        Admission::Admitted => 0,
        Admission::Probing { .. } => 1,
        _ => 2,
    };
    if kind(before) == kind(now) {
        return None;
    }
    Some(match kind(now) {
        0 => (
            Mark::Well,
            "well",
            "the fleet agrees that the node is well again",
        ),
        1 => (
            Mark::Tried,
            "tried",
            "the fleet tries the node with a slice of its keys",
        ),
        _ => (
            Mark::Bad,
            "left",
            "the fleet agrees that the node fails, and leaves it",
        ),
    })
}
