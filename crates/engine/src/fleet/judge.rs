//! What the chair makes of evidence: hearings, breakers, conditions, and from them Facts.
//!
//! The breakers and conditions are those of every control loop; what differs is whose word counts. A closed breaker opens
//! by a [`hearing`](super::hearing) or by [`ratios`](super::ratios) that members agree on, a half-open one follows those who
//! [try it](super::retrial).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::accusers::Accusers;
use super::evidence::{Evidence, NodeEvidence};
use super::facts::{Facts, NodeFact};
use super::hearing::{Hearing, MAX_HEARINGS, Users, Verdict};
use super::member::State;
use super::octaves::{self, Octaves};
use super::ratios::Ratios;
use super::retrial::Retrial;
use super::roll::{Roll, Unheard};
use super::speaker::Speaker;
use super::{Echo, Epoch, MemberId, Stamp};
use crate::control::allowance::Allowance;
use crate::control::condition::{self, Condition};
use crate::hash::NodeSeed;
use crate::health::breaker::{self, Breaker, Cause, Step, Transition};
use crate::health::trials::Finding;
use crate::number::from_u64;
use crate::policy::Operation;
use crate::signal::Admission;
use crate::time::Moment;

/// Nodes that are judged; of more nothing is heard.
const MAX_NODES: usize = 100_000;

/// How often conditions and ratios are looked at, in ms.
const SLOW_MS: u64 = 1_000;

/// Members whose words are forgotten in one tick: of ten thousand nodes it takes a millisecond or two for each, and the thread has
/// other things to do. With 8 the words of 300 that lied counted for three seconds more, and 3,203 of 10,000 well nodes were left.
const SILENCED_AT_ONCE: usize = 32;

/// Service times count half after so long, in ms.
const TIMES_MS: u64 = 5_000;

/// Times of one message that count: who has more, or says so, counts no more than this.
const MOST_TIMES: u32 = 64;

/// Times without which a median says nothing, and how much of it goes into the usual one each second.
const TIMES_ENOUGH: u64 = 100;
const LEARN_SHARE: f64 = 1.0 / 300.0;

/// What is known of a node.
#[derive(Debug, Default)]
struct Case {
    users: Users,
    ratios: Ratios,
    hearing: Option<Hearing>,
    retrial: Retrial,
    /// How many used it when it was left.
    jury: usize,
    breaker: Breaker,
    condition: Condition,
    ramp_since: Option<Moment>,
    place: Option<u32>,
    times: Octaves,
    usual_us: Option<f64>,
}

/// What the chair knows, and what it said.
#[derive(Debug)]
pub struct Judge {
    speaker: Speaker,
    salt: u64,
    roll: Roll,
    cases: BTreeMap<NodeSeed, Case>,
    hearings: BTreeSet<NodeSeed>,
    accusers: Accusers,
    facts: Facts,
    next_term: u64,
    next_place: u32,
    last_slow: Moment,
    last_halved: Moment,
    /// How many keys may move without need.
    allowance: Option<Allowance>,
    counts: Counts,
}

/// What hearings came to since the chair began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Nodes that were left.
    pub opened: u64,
    /// Accusations that few others shared.
    pub dismissed: u64,
    /// Messages that were not heard.
    pub unheard: u64,
    /// Rows that were.
    pub rows: u64,
}

impl Judge {
    /// A chair that begins with the Facts that it held as a member. What was open is open, from now on.
    pub fn new(
        now: Moment,
        (epoch, salt): (Epoch, u64),
        held: Facts,
        operation: &Operation,
    ) -> Self {
        let terms = held.nodes.values().map(|fact| fact.term);
        let mut judge = Self {
            speaker: Speaker::new(now, epoch),
            salt,
            roll: Roll::default(),
            cases: BTreeMap::new(),
            hearings: BTreeSet::new(),
            accusers: Accusers::new(now),
            next_term: terms.max().unwrap_or(0) + 1,
            next_place: held.next_place(),
            facts: Facts::default(),
            last_slow: now,
            last_halved: now,
            allowance: None,
            counts: Counts::default(),
        };
        for (node, fact) in &held.nodes {
            let mut case = Case {
                place: fact.place,
                // Nobody knows any more; that there are several is the safer guess.
                jury: 2,
                ..Case::default()
            };
            case.condition.set(fact.level);
            case.usual_us = octaves::time_us(fact.usual);
            if fact.verdict != Admission::Admitted {
                let step = judge.step(*node, Finding::Open, operation);
                case.breaker.trip(now, Cause::ConsecutiveFailures, &step);
            } else if fact.ramp < 8 {
                let passed = u64::from(fact.ramp.saturating_sub(1)) * operation.slow_start_ms / 8;
                case.ramp_since = Some(now.minus(passed));
            }
            judge.cases.insert(*node, case);
        }
        judge.facts = held;
        judge
    }

    /// What was said last.
    pub fn stamp(&self) -> Stamp {
        self.speaker.stamp()
    }

    /// What is concluded.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What hearings came to.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Who is heard.
    pub fn roll(&self) -> &Roll {
        &self.roll
    }

    /// What a member heard who hears the chair now.
    pub fn echo(&self, now: Moment) -> Echo {
        self.speaker.echo(now)
    }

    /// Takes in what a member tells.
    ///
    /// # Errors
    ///
    /// Nothing of it was taken in: it is old, was heard before, or there are too many members.
    pub fn hear(
        &mut self,
        now: Moment,
        evidence: &Evidence,
        operation: &Operation,
    ) -> Result<(), Unheard> {
        if let Err(why) = self.roll.enter(now, evidence, self.echo(now)) {
            self.counts.unheard += 1;
            return Err(why);
        }
        if evidence.missed {
            self.speaker.asked_for_whole();
        }
        self.accusers.hear(now, evidence);
        for row in &evidence.rows {
            self.hear_row(now, evidence.member, row, operation);
        }
        Ok(())
    }

    /// Who has no voice any more said nothing of any node.
    fn silence(&mut self) {
        for _ in 0..SILENCED_AT_ONCE {
            let Some(member) = self.accusers.silenced() else {
                return;
            };
            for (node, case) in &mut self.cases {
                case.users.forget(member, member.rank(node.0));
                case.ratios.forget(member);
                case.retrial.forget(member);
            }
        }
    }

    fn hear_row(
        &mut self,
        now: Moment,
        member: MemberId,
        row: &NodeEvidence,
        operation: &Operation,
    ) {
        if self.cases.len() >= MAX_NODES && !self.cases.contains_key(&row.node) {
            return;
        }
        self.counts.rows += 1;
        if !self.accusers.has_voice(member) {
            return;
        }
        let (salt, next_term) = (self.salt, self.next_term);
        let case = self.cases.entry(row.node).or_default();
        match case.breaker.state() {
            breaker::State::Closed => {
                let place = (member, member.rank(row.node.0));
                let accused_since = case.users.hear(now, place, row);
                case.ratios.hear(now, member, row);
                case.times.merge(&row.times, MOST_TIMES);
                if let Some(from) = accused_since.filter(|_| case.hearing.is_none())
                    && self.hearings.len() < MAX_HEARINGS
                    && self.accusers.may_begin(now, member)
                {
                    case.hearing = Some(Hearing::begin(now, member, from));
                    self.hearings.insert(row.node);
                    self.speaker.hearings_changed();
                }
            }
            breaker::State::HalfOpen { .. } if row.term == case.breaker.term() => {
                case.retrial.hear(now, member, row);
                let finding = case.retrial.finding(now, case.jury);
                let step = step((salt, next_term), row.node, finding, operation);
                let answers = std::iter::repeat_n(true, row.ok.min(16) as usize)
                    .chain(std::iter::repeat_n(false, row.failed.min(16) as usize));
                let mut answers = answers.map(|is_good| case.breaker.probed(now, is_good, &step));
                if let Some(transition) = answers.find_map(|transition| transition) {
                    self.change(now, row.node, transition);
                }
            }
            breaker::State::HalfOpen { .. } | breaker::State::Open { .. } => {}
        }
    }

    /// Lets time pass, ten times a second. Answers what is said to all members, if anything.
    pub fn tick(&mut self, now: Moment, operation: &Operation) -> Option<State> {
        self.end_hearings(now, operation);
        self.silence();
        let is_slow = now.since(self.last_slow) >= SLOW_MS;
        if is_slow {
            self.last_slow = now;
            self.roll.tick(now);
            self.accusers.tick(now);
        }
        let halves = now.since(self.last_halved) >= TIMES_MS;
        if halves {
            self.last_halved = now;
        }
        let (mut transitions, mut levels) = (Vec::new(), Vec::new());
        let ids = (self.salt, self.next_term);
        for (node, case) in &mut self.cases {
            // Nothing happens to a closed breaker between two looks at ratios.
            if case.breaker.state() == breaker::State::Closed && !is_slow {
                continue;
            }
            let finding = case.retrial.finding(now, case.jury);
            let step = step(ids, *node, finding, operation);
            let mut transition = case.breaker.tick(now, &step);
            if is_slow && case.breaker.state() == breaker::State::Closed {
                let agreed = case.ratios.agreed(now, node.0);
                let agreed = agreed.filter(|_| case.users.were_listened_to(now));
                let least = operation.breaker.success_rate_percent / 100.0;
                if agreed.is_some_and(|ratio| ratio < least) {
                    transition = case.breaker.trip(now, Cause::SuccessRate, &step);
                }
                case.ratios.tick(now);
                if let Some(level) = case.follow_condition(now, agreed, operation) {
                    levels.push((level, *node));
                }
                if halves {
                    case.times.halve();
                }
            }
            if let Some(transition) = transition {
                transitions.push((*node, transition));
            }
        }
        for (node, transition) in transitions {
            self.change(now, node, transition);
        }
        self.change_levels(now, levels, operation);
        self.conclude(now, operation);
        self.speaker.say(now, &self.facts, &self.hearings)
    }

    /// Changes the levels of nodes, the worst first, as far as keys may move without need. Nodes count alike: what each can take only
    /// members know.
    fn change_levels(
        &mut self,
        now: Moment,
        mut levels: Vec<(u8, NodeSeed)>,
        operation: &Operation,
    ) {
        levels.sort_by_key(|(level, node)| (Reverse(*level), *node));
        let all = from_u64(self.cases.len().max(1) as u64);
        let ratio = operation.moved_ratio_per_minute;
        for (level, node) in levels {
            let Some(case) = self.cases.get_mut(&node) else {
                continue;
            };
            let factor = |level| condition::factor(level, &operation.weights);
            let change = (factor(case.condition.level()) - factor(level)).abs();
            let allowance = self.allowance.get_or_insert(Allowance::new(now, ratio));
            // What the worst cannot be paid from is saved up for it.
            if !allowance.pay(now, change / all, ratio) {
                break;
            }
            case.condition.set(level);
        }
    }

    /// Ends the hearings that have come to a verdict.
    fn end_hearings(&mut self, now: Moment, operation: &Operation) {
        for node in self.hearings.clone() {
            let step = self.step(node, Finding::Open, operation);
            let Some(case) = self.cases.get_mut(&node) else {
                continue;
            };
            let verdict = case
                .hearing
                .map(|hearing| hearing.verdict(now, &mut case.users));
            let transition = match verdict {
                Some(None) => continue,
                Some(Some(Verdict::Open)) => {
                    case.breaker.trip(now, Cause::ConsecutiveFailures, &step)
                }
                Some(Some(Verdict::Dismissed)) => {
                    self.counts.dismissed += 1;
                    None
                }
                None => None,
            };
            if let (Some(hearing), Some(Some(verdict))) = (case.hearing.take(), verdict) {
                for (member, voice) in case.users.voices(now, hearing) {
                    self.accusers.voted(member, node, voice, verdict);
                }
                let was_dismissed = verdict == Verdict::Dismissed;
                self.accusers.ended(now, hearing.accuser, was_dismissed);
            }
            self.hearings.remove(&node);
            self.speaker.hearings_changed();
            if let Some(transition) = transition {
                self.change(now, node, transition);
            }
        }
    }

    /// A breaker changed.
    fn change(&mut self, now: Moment, node: NodeSeed, transition: Transition) {
        let Some(case) = self.cases.get_mut(&node) else {
            return;
        };
        self.next_term = self.next_term.max(case.breaker.term()).saturating_add(1);
        case.retrial = Retrial::default();
        if let Some(hearing) = case.hearing.take() {
            self.accusers.ended(now, hearing.accuser, false);
        }
        if self.hearings.remove(&node) {
            self.speaker.hearings_changed();
        }
        case.ratios.clear();
        match transition.to {
            breaker::State::Open { .. } => {
                if transition.from == breaker::State::Closed {
                    self.counts.opened += 1;
                    case.jury = case.users.count(now);
                }
                if case.place.is_none() {
                    case.place = Some(self.next_place);
                    self.next_place = self.next_place.saturating_add(1);
                }
            }
            breaker::State::HalfOpen { .. } => {}
            breaker::State::Closed => {
                case.place = None;
                case.ramp_since = Some(now);
                case.condition.set(0);
                case.times = Octaves::default();
                case.users = Users::default();
            }
        }
    }

    /// Brings the Facts up to date.
    fn conclude(&mut self, now: Moment, operation: &Operation) {
        for (node, case) in &self.cases {
            let fact = case.fact(now, operation);
            let known = self.facts.nodes.get(node);
            if fact.is_plain() {
                if known.is_some() {
                    self.facts.nodes.remove(node);
                    self.speaker.changed(*node);
                }
            } else if known != Some(&fact) {
                self.facts.nodes.insert(*node, fact);
                self.speaker.changed(*node);
            }
        }
    }

    fn step<'o>(&self, node: NodeSeed, finding: Finding, operation: &'o Operation) -> Step<'o> {
        step((self.salt, self.next_term), node, finding, operation)
    }
}

impl Case {
    /// The level that it is time to go to by the node's times and successes, looked at once a second.
    fn follow_condition(
        &mut self,
        now: Moment,
        agreed: Option<f64>,
        operation: &Operation,
    ) -> Option<u8> {
        let median = self.times.quantile_us(0.5);
        let median = median.filter(|_| self.times.count() >= TIMES_ENOUGH);
        let slowdown = median
            .zip(self.usual_us)
            .map_or(1.0, |(now, usual)| now / usual);
        let deserves = condition::by_slowness(slowdown) * agreed.map_or(1.0, condition::by_success);
        let level = self.condition.observe(now, deserves, &operation.weights);
        if let Some(median) = median {
            let usual = self.usual_us.get_or_insert(median);
            *usual += (median - *usual) * LEARN_SHARE;
        }
        level
    }

    fn fact(&self, now: Moment, operation: &Operation) -> NodeFact {
        let verdict = match self.breaker.state() {
            breaker::State::Closed => Admission::Admitted,
            breaker::State::HalfOpen { .. } => Admission::Probing {
                slice: self.breaker.slice(&operation.breaker),
            },
            breaker::State::Open { .. } => Admission::BreakerOpen,
        };
        let eighths = self
            .ramp_since
            .and_then(|since| (now.since(since) * 8).checked_div(operation.slow_start_ms));
        let ramp = eighths.map_or(8, |passed| 1 + u8::try_from(passed.min(7)).unwrap_or(7));
        NodeFact {
            verdict,
            term: self.breaker.term(),
            place: self.place,
            level: self.condition.level(),
            usual: self.usual_us.map_or(0, octaves::name),
            ramp,
            ..NodeFact::default()
        }
    }
}

/// A step of a node's breaker; ejection times differ between nodes.
fn step(
    (salt, next_term): (u64, u64),
    node: NodeSeed,
    finding: Finding,
    operation: &Operation,
) -> Step<'_> {
    Step {
        settings: &operation.breaker,
        next_generation: next_term,
        salt: salt ^ node.0,
        reports_come: true,
        finding,
    }
}
