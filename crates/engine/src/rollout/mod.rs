//! A candidate on its way into force: stage by stage on more of the requests, watched by guards, and back by itself.
//!
//! A state machine over given numbers and given time. What it is told: that time has passed and how requests fared
//! ([`Progress::step`]), and what operators ask ([`Progress::order`]). What it says: how much of the traffic the candidate
//! decides, and that it is over. It never takes a step up without all guards passing, unless an operator says so.

mod guard;
mod settings;

pub use guard::{Guard, Judgement, Metric, Verdict};
pub use settings::buckets;

use crate::control::cohorts::Fared;
use crate::snapshot::{BUCKETS, Cohort};

/// How a candidate is to be rolled out.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// By what requests are told apart; `None` to choose by what the candidate changes.
    pub cohort: Option<Cohort>,
    /// What follows one another; never empty, and each has more than the one before.
    pub stages: Vec<Stage>,
    /// What must hold.
    pub guards: Vec<Guard>,
    /// How long a stage may wait for guards to be conclusive, beyond its own time, in ms.
    pub max_hold_ms: u64,
    /// What comes after that.
    pub when_inconclusive: WhenInconclusive,
    /// Whether a guard that fails takes the candidate back; else it only pauses.
    pub auto_rollback: bool,
    /// Sidecars begin at different times within this span, in ms.
    pub start_jitter_ms: u64,
}

/// A share of the requests for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// Of the [`BUCKETS`], how many the candidate decides.
    pub buckets: u16,
    /// How long at least, in ms.
    pub hold_ms: u64,
}

/// What comes of guards that cannot tell for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhenInconclusive {
    /// It stays at its stage until somebody decides.
    Pause,
    /// It goes on as if they had passed.
    Promote,
    /// It is taken back.
    RollBack,
}

/// How far a candidate is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    settings: Settings,
    /// The stage, by its place among those of the settings.
    stage: usize,
    phase: Phase,
    /// Since when it is at that stage, ms since 1970.
    stage_since_unix_ms: u64,
    /// What the guards said last, in their order.
    judgements: Vec<Judgement>,
    /// For each guard how the requests fared last that the candidate did not decide, while there were such.
    controls: Vec<Fared>,
}

/// Whether it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Not before this time, ms since 1970: then it begins with its first stage.
    Waiting {
        /// See there.
        until_unix_ms: u64,
    },
    /// It goes on by itself.
    Running,
    /// It stays at its stage until somebody says otherwise.
    Paused {
        /// Why.
        why: String,
    },
}

/// What an operator may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// Stay at this stage.
    Pause,
    /// Go on.
    Resume,
    /// Take the next stage now, whatever the guards say.
    Promote,
    /// Go back to an earlier stage, by its number from 1, and pause there.
    Reverse(usize),
    /// Take it back.
    Abort,
}

/// What is seen of a candidate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// For each guard how requests fared that the candidate does not decide, and those that it does, over its window. What is
    /// missing is not known.
    pub fared: Vec<[Fared; 2]>,
    /// An expectation of the candidate that does not hold, in words: as good as a guard that fails.
    pub broken: Option<String>,
}

/// What comes of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Stay,
    /// The share or the phase is another one.
    Changed {
        /// In words.
        what: String,
    },
    /// The candidate has passed its last stage and is to be in force.
    Complete,
    /// The candidate is to be taken back.
    RollBack {
        /// Why.
        why: String,
    },
}

/// Why an order cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It is paused already, or it is not.
    #[error("the rollout is {0} already")]
    Already(&'static str),
    /// There is no such stage before this one.
    #[error("the rollout is at stage {at}, it can go back to stages before that only, not to {to}")]
    NoSuchStage {
        /// Where it is, from 1.
        at: usize,
        /// What was asked for.
        to: usize,
    },
}

impl Progress {
    /// At its beginning. `jitter` in 0..=1 places this sidecar in the span over which they begin.
    pub fn new(now_unix_ms: u64, settings: Settings, jitter: f64) -> Self {
        debug_assert!(!settings.stages.is_empty(), "settings have a stage");
        let span = crate::number::from_u64(settings.start_jitter_ms);
        let wait_ms = crate::number::to_u64(span * jitter.clamp(0.0, 1.0));
        Self {
            settings,
            stage: 0,
            phase: if wait_ms == 0 {
                Phase::Running
            } else {
                Phase::Waiting {
                    until_unix_ms: now_unix_ms.saturating_add(wait_ms),
                }
            },
            stage_since_unix_ms: now_unix_ms,
            judgements: Vec::new(),
            controls: Vec::new(),
        }
    }

    /// Where an earlier run left off; the stage lasts its whole time anew. A stage that there is not becomes the first.
    pub fn resumed(now_unix_ms: u64, settings: Settings, stage: usize, phase: Phase) -> Self {
        Self {
            stage: if stage < settings.stages.len() {
                stage
            } else {
                0
            },
            settings,
            phase,
            // What was seen before is forgotten, and nobody was tried on meanwhile.
            stage_since_unix_ms: now_unix_ms,
            judgements: Vec::new(),
            controls: Vec::new(),
        }
    }

    /// How it is rolled out.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The stage, from 0.
    pub fn stage(&self) -> usize {
        self.stage
    }

    /// Whether it goes on.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Since when it is at that stage, ms since 1970.
    pub fn stage_since_unix_ms(&self) -> u64 {
        self.stage_since_unix_ms
    }

    /// What the guards said last, in their order; empty before they were asked.
    pub fn judgements(&self) -> &[Judgement] {
        &self.judgements
    }

    /// Of the [`BUCKETS`], how many the candidate decides.
    pub fn buckets(&self) -> u16 {
        if matches!(self.phase, Phase::Waiting { .. }) {
            return 0;
        }
        let stage = self.settings.stages.get(self.stage);
        stage.map_or(0, |stage| stage.buckets.min(BUCKETS))
    }

    /// How far back each guard looks now, in ms, in their order: over the time at this stage only, because an earlier one
    /// had another share of the requests.
    pub fn windows_ms(&self, now_unix_ms: u64) -> impl Iterator<Item = u64> {
        let at_stage_ms = now_unix_ms.saturating_sub(self.stage_since_unix_ms);
        let guards = self.settings.guards.iter();
        guards.map(move |guard| guard.window_ms.min(at_stage_ms))
    }

    /// Time has passed, and this is seen.
    pub fn step(&mut self, now_unix_ms: u64, seen: Seen) -> Step {
        if let Phase::Waiting { until_unix_ms } = self.phase {
            if now_unix_ms < until_unix_ms {
                return Step::Stay;
            }
            self.phase = Phase::Running;
            self.stage_since_unix_ms = now_unix_ms;
            return self.changed("begins");
        }
        self.judge(&seen.fared);
        if let Some(why) = self.failure().or(seen.broken) {
            return self.fail(why);
        }
        if matches!(self.phase, Phase::Paused { .. }) {
            return Step::Stay;
        }
        let hold_ms = self.hold_ms();
        let passed_ms = now_unix_ms.saturating_sub(self.stage_since_unix_ms);
        if passed_ms < hold_ms {
            return Step::Stay;
        }
        let is_open = |it: &Judgement| it.verdict == Verdict::Inconclusive;
        if !self.judgements.iter().any(is_open) {
            return self.advance(now_unix_ms);
        }
        if passed_ms < hold_ms.saturating_add(self.settings.max_hold_ms) {
            return Step::Stay;
        }
        let why = format!(
            "too little was seen to judge: {}",
            self.first(Verdict::Inconclusive)
        );
        match self.settings.when_inconclusive {
            WhenInconclusive::Promote => self.advance(now_unix_ms),
            WhenInconclusive::RollBack => Step::RollBack { why },
            WhenInconclusive::Pause => {
                let does = format!("pauses, because {why},");
                self.phase = Phase::Paused { why };
                self.changed(&does)
            }
        }
    }

    /// An operator asks.
    ///
    /// # Errors
    ///
    /// Why it cannot be done.
    pub fn order(&mut self, now_unix_ms: u64, order: Order, why: &str) -> Result<Step, OrderError> {
        match (order, &self.phase) {
            (Order::Abort, _) => Ok(Step::RollBack {
                why: why.to_owned(),
            }),
            (Order::Promote | Order::Resume, Phase::Waiting { .. }) => {
                self.phase = Phase::Running;
                self.stage_since_unix_ms = now_unix_ms;
                Ok(self.changed("begins"))
            }
            (Order::Pause, Phase::Waiting { .. }) => {
                // It has not begun, and does not until somebody says so.
                self.phase = Phase::Waiting {
                    until_unix_ms: u64::MAX,
                };
                Ok(self.changed("waits until it is resumed, to begin"))
            }
            (Order::Promote, _) => {
                self.phase = Phase::Running;
                Ok(self.advance(now_unix_ms))
            }
            (Order::Pause, Phase::Paused { .. }) => Err(OrderError::Already("paused")),
            (Order::Pause, _) => {
                self.phase = Phase::Paused {
                    why: why.to_owned(),
                };
                Ok(self.changed("pauses"))
            }
            (Order::Resume, Phase::Paused { .. }) => {
                self.phase = Phase::Running;
                // The time at a stage is for looking at it.
                self.stage_since_unix_ms = now_unix_ms;
                Ok(self.changed("goes on"))
            }
            (Order::Resume, _) => Err(OrderError::Already("running")),
            (Order::Reverse(to), _) => {
                let stage = to.checked_sub(1).filter(|stage| *stage < self.stage);
                let at = self.stage + 1;
                self.stage = stage.ok_or(OrderError::NoSuchStage { at, to })?;
                self.phase = Phase::Paused {
                    why: why.to_owned(),
                };
                self.stage_since_unix_ms = now_unix_ms;
                Ok(self.changed("goes back and pauses"))
            }
        }
    }

    fn hold_ms(&self) -> u64 {
        let stage = self.settings.stages.get(self.stage);
        stage.map_or(0, |stage| stage.hold_ms)
    }

    /// Asks all guards.
    fn judge(&mut self, fared: &[[Fared; 2]]) {
        let mut fared = fared.to_vec();
        if self.buckets() < BUCKETS {
            self.controls = fared.iter().map(|[control, _]| *control).collect();
        } else {
            // Where the candidate decides everything it is compared with the others of the stage before; without any, nothing
            // can be said.
            let before = self.controls.iter().copied();
            let before = before.chain(std::iter::repeat_with(Fared::default));
            for ([control, _], before) in fared.iter_mut().zip(before) {
                *control = before;
            }
        }
        let fared = fared.into_iter();
        let fared = fared.chain(std::iter::repeat_with(Default::default));
        let guards = self.settings.guards.iter().zip(fared);
        let judgements = guards.map(|(guard, fared)| guard.judge(&fared));
        self.judgements = judgements.collect();
    }

    /// What the first guard that fails says.
    fn failure(&self) -> Option<String> {
        let fails = self.judgements.iter().any(|it| it.verdict == Verdict::Fail);
        fails.then(|| self.first(Verdict::Fail))
    }

    fn fail(&mut self, why: String) -> Step {
        if self.settings.auto_rollback {
            return Step::RollBack { why };
        }
        if matches!(self.phase, Phase::Paused { .. }) {
            return Step::Stay;
        }
        let does = format!("pauses, because {why},");
        self.phase = Phase::Paused { why };
        self.changed(&does)
    }

    /// What the first guard with this verdict says.
    fn first(&self, verdict: Verdict) -> String {
        let mut all = self.settings.guards.iter().zip(&self.judgements);
        let found = all.find(|(_, judgement)| judgement.verdict == verdict);
        found.map_or_else(String::new, |(guard, it)| guard.in_words(it))
    }

    /// Takes the next stage; there is none after the last.
    fn advance(&mut self, now_unix_ms: u64) -> Step {
        if self.stage + 1 >= self.settings.stages.len() {
            return Step::Complete;
        }
        self.stage += 1;
        self.stage_since_unix_ms = now_unix_ms;
        self.judgements.clear();
        self.changed("goes on")
    }

    fn changed(&self, does: &str) -> Step {
        let (stage, stages) = (self.stage + 1, self.settings.stages.len());
        let percent = percent(self.buckets());
        Step::Changed {
            what: format!("{does} at stage {stage} of {stages}, {percent} % of requests"),
        }
    }
}

/// A number of buckets in percent.
pub fn percent(buckets: u16) -> f64 {
    100.0 * f64::from(buckets) / f64::from(BUCKETS)
}

#[cfg(test)]
mod tests;
