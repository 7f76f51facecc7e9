//! A sidecar of the fleet: what it sees, its own breakers, what it follows, and its part in the lease. All of it is the
//! engine's; only the world around is made up.

use std::collections::BTreeMap;

use tradewind_engine::fleet::MemberId;
use tradewind_engine::fleet::evidence::{Attempt, Evidence, MAX_ROWS, NodeEvidence, Witness};
use tradewind_engine::fleet::judge::Judge;
use tradewind_engine::fleet::lease::Lease;
use tradewind_engine::fleet::member::{Member, Standing};
use tradewind_engine::hash::NodeSeed;
use tradewind_engine::health::breaker::{Breaker, Cause, State, Step};
use tradewind_engine::health::trials::Finding;
use tradewind_engine::number::from_u64;
use tradewind_engine::policy::Operation;
use tradewind_engine::signal::Admission;
use tradewind_engine::time::Moment;

/// A sidecar.
#[derive(Debug)]
pub struct Sidecar {
    /// Its name.
    pub id: MemberId,
    /// What it saw and has not told.
    pub witness: Witness,
    /// What it follows.
    pub member: Member,
    /// Its part in who has the chair.
    pub lease: Lease,
    /// What it knows as the chair, while it has it.
    pub judge: Option<Judge>,
    /// Its own breakers that are not closed.
    pub own: BTreeMap<NodeSeed, Breaker>,
    /// Of how many nodes it says that they fail, 0 to 1, if it lies.
    pub lies: Option<f64>,
    /// Whether it has died.
    pub is_dead: bool,
    /// When within a second it tells, in ms.
    pub phase_ms: u64,
    /// Accusations that it has not told yet.
    pub is_urgent: bool,
    /// Counts the terms of its own breakers.
    terms: u64,
}

impl Sidecar {
    /// The sidecar of this name; `is_eligible` says whether it may take the chair.
    pub fn new(name: &str, is_eligible: bool) -> Self {
        let id = MemberId::of_name(name);
        Self {
            id,
            witness: Witness::new(id, 1),
            member: Member::default(),
            lease: Lease::new(Moment(0), id, is_eligible),
            judge: None,
            own: BTreeMap::new(),
            lies: None,
            is_dead: false,
            phase_ms: id.rank(1) % 10 * 100,
            is_urgent: false,
            terms: 0,
        }
    }

    /// What it acts on of a node: the stricter of the fleet's word and its own breaker, and how much of the node's keys it
    /// uses, 0 to 1.
    pub fn view(&self, node: NodeSeed, operation: &Operation) -> (Admission, f64) {
        let fact = self.member.facts().node(node);
        let own =
            self.own
                .get(&node)
                .map_or(Admission::Admitted, |breaker| match breaker.state() {
                    State::Closed => Admission::Admitted,
                    State::Open { .. } => Admission::BreakerOpen,
                    State::HalfOpen { .. } => Admission::Probing {
                        slice: breaker.slice(&operation.breaker),
                    },
                });
        let verdict = if fact.place.is_some() {
            fact.verdict
        } else {
            fact.verdict.max(own)
        };
        let used = match verdict {
            Admission::Admitted => 1.0,
            Admission::Probing { slice } => f64::from(slice) / 65_536.0,
            _ => 0.0,
        };
        (verdict, used)
    }

    /// An attempt at a node ended; `time_us` is `None` where it failed.
    pub fn saw(
        &mut self,
        now: Moment,
        (node, time_us): (NodeSeed, Option<u32>),
        operation: &Operation,
    ) {
        let fact = self.member.facts().node(node);
        self.witness.saw(
            now,
            Attempt {
                node,
                term: fact.term,
                is_good: time_us.is_some(),
                first_byte_us: time_us.unwrap_or(0),
            },
        );
        if fact.place.is_some() {
            // The fleet tries it: one's own breaker is forgotten.
            return;
        }
        let trailing = self.witness.trailing(node);
        let salt = self.id.0 ^ node.0;
        if let Some(breaker) = self.own.get_mut(&node) {
            let finding = if trailing > 0 {
                Finding::Failing
            } else {
                Finding::Well
            };
            let step = step((salt, self.terms), finding, operation);
            breaker.probed(now, time_us.is_some(), &step);
            if breaker.state() == State::Closed {
                self.own.remove(&node);
            }
        } else if trailing >= operation.breaker.consecutive_failures {
            self.terms += 1;
            let step = step((salt, self.terms), Finding::Open, operation);
            let mut breaker = Breaker::default();
            breaker.trip(now, Cause::ConsecutiveFailures, &step);
            self.own.insert(node, breaker);
            self.is_urgent = true;
        }
    }

    /// Lets time pass for its own breakers; those that the fleet left are forgotten.
    pub fn tick(&mut self, now: Moment, operation: &Operation) {
        let facts = self.member.facts();
        self.own.retain(|node, _| facts.node(*node).place.is_none());
        for (node, breaker) in &mut self.own {
            let step = step((self.id.0 ^ node.0, self.terms), Finding::Open, operation);
            breaker.tick(now, &step);
        }
        self.own
            .retain(|_, breaker| breaker.state() != State::Closed);
    }

    /// What it tells now: all at its own phase of the second, what it accuses at once, and what it saw of nodes that others
    /// accuse.
    pub fn tell(&mut self, now: Moment, uses: &[(NodeSeed, f64)]) -> Option<Evidence> {
        if let Some(share) = self.lies {
            return (now.0 % 1_000 == self.phase_ms).then(|| self.lie(now, share, uses));
        }
        let standing = self.member.told();
        let own = &self.own;
        let accuses = |node| own.contains_key(&node);
        if self.is_urgent || now.0 % 1_000 == self.phase_ms {
            self.is_urgent = false;
            return Some(self.witness.tell(now, standing, accuses));
        }
        if self.member.standing(now) != Standing::Following {
            return None;
        }
        let hearings = self.member.hearings().iter();
        self.witness.answer(now, standing, accuses, hearings)
    }

    /// It says that so many of its nodes fail, and that it is served well by the others.
    fn lie(&mut self, now: Moment, share: f64, uses: &[(NodeSeed, f64)]) -> Evidence {
        let standing = self.member.told();
        let mut told = self.witness.tell(now, standing, |_| true);
        let rows = uses.iter().take(MAX_ROWS);
        let row = |(node, _): &(NodeSeed, f64)| {
            let fresh = NodeEvidence {
                sent: 50,
                ..NodeEvidence::new(*node)
            };
            // All that lie lie about the same.
            if from_u64(node.0 % 1_000) < share * 1_000.0 {
                NodeEvidence {
                    failed: 50,
                    trailing: 50,
                    streak_age_ms: Some(900),
                    accuses: true,
                    ..fresh
                }
            } else {
                NodeEvidence {
                    ok: 50,
                    ok_age_ms: Some(0),
                    ..fresh
                }
            }
        };
        told.rows = rows.map(row).collect();
        told
    }
}

fn step((salt, term): (u64, u64), finding: Finding, operation: &Operation) -> Step<'_> {
    Step {
        settings: &operation.breaker,
        next_generation: term,
        salt,
        reports_come: true,
        finding,
    }
}
