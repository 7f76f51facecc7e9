//! One node's circuit breaker: Closed (traffic flows), Open (none), `HalfOpen` (a slice of the node's own keys).
//!
//! A state machine over given evidence and given time. It holds no counter of probes in flight: which keys are tried
//! while it is half open follows from the key and the node, so every sidecar tries the same ones and no thread needs to
//! ask another (`Admission::Probing`).
//!
//! While it is half open it is told what those who try the node find together ([`Finding`]), and follows that.
//!
//! Each change of state starts a new *term*, numbered by the generation of the snapshot that shows it. Evidence from
//! decisions made on an older snapshot belongs to an earlier term and changes nothing: a report that comes late can
//! neither open a breaker that has just closed nor close one that has just opened.

use super::trials::Finding;
use crate::policy::document::BreakerDocument;
use crate::time::Moment;

/// How far back openings count as flapping.
const FLAP_WINDOW_MS: u64 = 600_000;

/// How long a flapping node must stay without a failure before it returns …
const CLEAN_MS: u64 = 60_000;

/// … and how many successes it must have shown by then.
const CLEAN_SUCCESSES: u32 = 10;

/// How long a half-open breaker waits for evidence before it changes by itself.
const PATIENCE_MS: u64 = 10_000;

/// How long those who try it may disagree before its slice is widened, and how often it is for that: sixteenfold is a sixth
/// of the keys unless the policy says otherwise. A node that is well must be back within ten seconds.
const DOUBT_MS: u64 = 3_000;
const MOST_IN_DOUBT: u8 = 2;

/// Successes that close a half-open breaker.
const CLOSING_SUCCESSES: u32 = 3;

/// Whether traffic flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It does.
    #[default]
    Closed,
    /// It does not, until then.
    Open {
        /// When the node is tried again.
        until: Moment,
    },
    /// A slice of the node's keys does.
    HalfOpen {
        /// How often the slice was widened for want of evidence; each time by four.
        widened: u8,
    },
}

/// Why a breaker changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Cause {
    /// It has not changed.
    #[default]
    None,
    /// Failures in a row.
    ConsecutiveFailures,
    /// Too small a share of successes.
    SuccessRate,
    /// Much slower than in good times.
    Slow,
    /// Those who tried it while half open found that it fails.
    ProbeFailed,
    /// Nothing came back from the requests it was tried with.
    ProbeLost,
    /// Its time was up.
    TimeUp,
    /// Enough successes while half open.
    Recovered,
    /// Nobody asked for its keys while half open: there was nothing to learn.
    NoEvidence,
    /// An operator reset it.
    Reset,
    /// It shed most of what it was asked, and its neighbours did not.
    Shedding,
    /// It opened while this sidecar was cut off, which shows nothing.
    IsolationOver,
}

impl Cause {
    /// Every cause, in order.
    pub const ALL: [Self; 12] = [
        Self::None,
        Self::ConsecutiveFailures,
        Self::SuccessRate,
        Self::Slow,
        Self::ProbeFailed,
        Self::ProbeLost,
        Self::TimeUp,
        Self::Recovered,
        Self::NoEvidence,
        Self::Reset,
        Self::Shedding,
        Self::IsolationOver,
    ];

    /// The word used in output and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::SuccessRate => "success_rate",
            Self::Slow => "slow",
            Self::ProbeFailed => "probe_failed",
            Self::ProbeLost => "probe_lost",
            Self::TimeUp => "time_up",
            Self::Recovered => "recovered",
            Self::NoEvidence => "no_evidence",
            Self::Reset => "reset",
            Self::Shedding => "shedding",
            Self::IsolationOver => "isolation_over",
        }
    }
}

impl State {
    /// The word used in output and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half_open",
        }
    }

    /// The number used in metrics: 0 closed, 1 half open, 2 open.
    pub const fn number(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen { .. } => 1,
            Self::Open { .. } => 2,
        }
    }
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// Whether the node now counts as flapping: it has opened too often to be trusted at once.
    pub flapping: bool,
}

/// One node's breaker.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Breaker {
    state: State,
    cause: Cause,
    since: Moment,
    /// Since when the present state, or width of slice, waits for evidence.
    waiting_since: Moment,
    /// The first snapshot generation that shows the present state; evidence from before is of another term.
    term: u64,
    /// How often the ejection time was doubled.
    backoff: u8,
    /// When it last opened after it had been closed, latest first.
    openings: [Option<Moment>; MAX_OPENINGS],
    successes: u32,
    last_failure: Moment,
    /// Requests sent to the node in this term without an outcome yet.
    outstanding: u32,
}

/// Openings remembered: as many as may be asked for by `flap_openings`.
const MAX_OPENINGS: usize = 10;

impl Breaker {
    /// Whether traffic flows.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it is in this state.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Since when it is in this state.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// The first snapshot generation that shows this state.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Whether evidence from a decision on snapshot `generation` is about the present state. What is of no known
    /// decision counts only while closed.
    pub fn concerns(&self, generation: Option<u64>) -> bool {
        match generation {
            Some(generation) => generation >= self.term,
            None => self.state == State::Closed,
        }
    }

    /// A request was sent to the node. Only those of the present term count.
    pub fn dispatched(&mut self, generation: u64) {
        if generation >= self.term && matches!(self.state, State::HalfOpen { .. }) {
            self.outstanding = self.outstanding.saturating_add(1);
        }
    }

    /// Opens it, if it is closed.
    pub fn trip(&mut self, now: Moment, cause: Cause, step: &Step<'_>) -> Option<Transition> {
        (self.state == State::Closed).then(|| self.open(now, cause, step))
    }

    /// A success or failure while half open, by traffic of the present term or by an active probe. The step's finding
    /// includes it.
    pub fn probed(&mut self, now: Moment, success: bool, step: &Step<'_>) -> Option<Transition> {
        let State::HalfOpen { .. } = self.state else {
            return None;
        };
        self.outstanding = self.outstanding.saturating_sub(1);
        self.waiting_since = now;
        self.successes = self.successes.saturating_add(u32::from(success));
        self.follow(now, step)
    }

    /// Does what the trials show.
    fn follow(&mut self, now: Moment, step: &Step<'_>) -> Option<Transition> {
        match step.finding {
            Finding::Open | Finding::Doubted => None,
            Finding::Well => self.close_if_earned(now, step),
            Finding::Failing if self.is_flapping(now, step.settings) => {
                // It stays half open, and the clean minute begins anew.
                self.successes = 0;
                self.last_failure = now;
                None
            }
            Finding::Failing => Some(self.open(now, Cause::ProbeFailed, step)),
        }
    }

    /// Whether requests of this term are on their way without an outcome.
    pub fn awaits(&self) -> bool {
        self.outstanding > 0
    }

    /// A request of the present term came back and says nothing about the node. It still waits for evidence.
    pub fn came_back(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// Closes it because what opened it was not the node's doing, and forgets that it did.
    pub fn pardon(&mut self, now: Moment, step: &Step<'_>) -> Option<Transition> {
        if self.state == State::Closed {
            return None;
        }
        let transition = self.enter(now, State::Closed, Cause::IsolationOver, step);
        self.backoff = 0;
        self.openings.rotate_left(1);
        if let Some(last) = self.openings.last_mut() {
            *last = None;
        }
        Some(transition)
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Moment, step: &Step<'_>) -> Option<Transition> {
        match self.state {
            State::Closed => {
                self.forgive(now, step.settings);
                None
            }
            State::Open { until } if now >= until => {
                let to = State::HalfOpen { widened: 0 };
                self.last_failure = now;
                Some(self.enter(now, to, Cause::TimeUp, step))
            }
            State::Open { .. } => None,
            State::HalfOpen { widened } => self.wait(now, widened, step),
        }
    }

    /// Closes it at an operator's word, and forgets that it ever opened.
    pub fn reset(&mut self, now: Moment, step: &Step<'_>) -> Option<Transition> {
        let changed = self.state != State::Closed;
        let transition = changed.then(|| self.enter(now, State::Closed, Cause::Reset, step));
        self.backoff = 0;
        self.openings = [None; MAX_OPENINGS];
        transition
    }

    /// Of the node's keys, so many 65,536ths are tried while half open.
    pub fn slice(&self, settings: &BreakerDocument) -> u16 {
        let State::HalfOpen { widened } = self.state else {
            return 0;
        };
        let ratio =
            settings.probe_percent / 100.0 * f64::from(1_u32 << (2 * u32::from(widened)).min(16));
        crate::number::share_of_u16(ratio)
    }

    /// Whether it opened so often of late that a few successes are not enough.
    pub fn is_flapping(&self, now: Moment, settings: &BreakerDocument) -> bool {
        let recent = |at: &&Moment| now.since(**at) <= FLAP_WINDOW_MS;
        let count = self.openings.iter().flatten().filter(recent).count();
        count >= settings.flap_openings as usize
    }

    fn close_if_earned(&mut self, now: Moment, step: &Step<'_>) -> Option<Transition> {
        let earned = if self.is_flapping(now, step.settings) {
            self.successes >= CLEAN_SUCCESSES && now.since(self.last_failure) >= CLEAN_MS
        } else {
            self.successes >= CLOSING_SUCCESSES
        };
        earned.then(|| self.enter(now, State::Closed, Cause::Recovered, step))
    }

    /// Half open, and time passes: what was sent and never came back is a failure; where nothing was sent, more keys are
    /// tried, and in the end all of them.
    fn wait(&mut self, now: Moment, widened: u8, step: &Step<'_>) -> Option<Transition> {
        if let Some(transition) = self.follow(now, step) {
            return Some(transition);
        }
        if now.since(self.waiting_since) < PATIENCE_MS {
            self.widen_in_doubt(now, widened, step);
            return None;
        }
        if self.outstanding > 0 && step.reports_come {
            return Some(self.open(now, Cause::ProbeLost, step));
        }
        self.waiting_since = now;
        if self.successes > 0 && self.is_flapping(now, step.settings) {
            return None;
        }
        let slice = f64::from(self.slice(step.settings)) / 65_536.0;
        if slice < 0.5 {
            self.state = State::HalfOpen {
                widened: widened + 1,
            };
            return None;
        }
        if step.finding == Finding::Doubted {
            // Too few for a verdict, but nobody found it well.
            return Some(self.open(now, Cause::ProbeFailed, step));
        }
        Some(self.enter(now, State::Closed, Cause::NoEvidence, step))
    }

    /// Where those who tried it do not agree, more keys are tried, so that whoever has not tried yet is heard soon.
    fn widen_in_doubt(&mut self, now: Moment, widened: u8, step: &Step<'_>) {
        let due_ms = DOUBT_MS * (u64::from(widened) + 1);
        let is_due = now.since(self.since) >= due_ms && widened < MOST_IN_DOUBT;
        if is_due && step.finding == Finding::Doubted && !self.is_flapping(now, step.settings) {
            self.state = State::HalfOpen {
                widened: widened + 1,
            };
        }
    }

    fn open(&mut self, now: Moment, cause: Cause, step: &Step<'_>) -> Transition {
        self.forgive(now, step.settings);
        let base = step.settings.base_ejection_time.as_ms();
        let doubled = base.saturating_mul(1 << self.backoff.min(20));
        let longest = step.settings.max_ejection_time.as_ms();
        let ejection_ms = step.jittered(doubled.min(longest));
        self.backoff = self.backoff.saturating_add(1).min(20);
        // A node that is tried again and still fails is down, not flapping.
        if self.state == State::Closed {
            self.openings.rotate_right(1);
            if let Some(first) = self.openings.first_mut() {
                *first = Some(now);
            }
        }
        let until = now.plus(ejection_ms);
        self.enter(now, State::Open { until }, cause, step)
    }

    /// The time of the next ejection halves with each two base times in health.
    fn forgive(&mut self, now: Moment, settings: &BreakerDocument) {
        if self.state == State::Closed {
            let calm_ms = 2 * settings.base_ejection_time.as_ms().max(1);
            while self.backoff > 0 && now.since(self.waiting_since) >= calm_ms {
                self.backoff -= 1;
                self.waiting_since = self.waiting_since.plus(calm_ms);
            }
        }
    }

    fn enter(&mut self, now: Moment, to: State, cause: Cause, step: &Step<'_>) -> Transition {
        let from = self.state;
        self.state = to;
        self.cause = cause;
        self.since = now;
        self.waiting_since = now;
        // At least one more than before, whatever the caller says: a term never begins twice.
        self.term = step.next_generation.max(self.term + 1);
        self.successes = 0;
        self.outstanding = 0;
        Transition {
            from,
            to,
            cause,
            flapping: self.is_flapping(now, step.settings),
        }
    }
}

/// What a step of a breaker depends on besides its own state.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The policy's section.
    pub settings: &'a BreakerDocument,
    /// The generation that the next snapshot will have: the first that can show a change.
    pub next_generation: u64,
    /// A number that differs between nodes and between sidecars: ejection times must not be in step.
    pub salt: u64,
    /// Whether outcomes of this node are reported at all.
    pub reports_come: bool,
    /// What those who tried the node in this term find.
    pub finding: Finding,
}

impl Step<'_> {
    /// A time made longer or shorter by up to `jitter_percent`, by the salt and the generation.
    fn jittered(&self, ms: u64) -> u64 {
        let mixed = (self.salt ^ self.next_generation).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let unit = crate::number::from_u64(mixed >> 40) / 16_777_216.0;
        let factor = 1.0 + (2.0 * unit - 1.0) * self.settings.jitter_percent / 100.0;
        crate::number::to_u64(crate::number::from_u64(ms) * factor)
    }
}
