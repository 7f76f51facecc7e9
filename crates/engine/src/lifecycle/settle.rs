//! Which policy and which topology to use, when some of what is wanted may be bad.
//!
//! Each document is taken if it can be; where it cannot, the last good one stands in for it alone. So a broken policy
//! does not keep a node from being drained, and a broken topology does not keep a policy from being changed. A topology that
//! takes away too much of the running one is held: that one stays until the other is confirmed.

use std::sync::Arc;

use super::held::{Held, too_much};
use super::unusable::Unusable;
use crate::date::Date;
use crate::document::Diagnostics;
use crate::edition::{Edition, Ground, Known, Names};
use crate::policy;
use crate::topology::removal::Removal;

/// What the sources say; an error is why the text of a source is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The policy's text.
    pub policy: Result<Arc<str>, Unusable>,
    /// The topology's text.
    pub topology: Result<Arc<str>, Unusable>,
}

/// What became of one document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it took effect.
    pub fate: Fate,
    /// Why not.
    pub faults: Diagnostics,
    /// What somebody should look at.
    pub warnings: Diagnostics,
    /// The text, if it waits to be confirmed.
    pub held: Option<Held>,
}

/// Whether a document's text took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fate {
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
    /// The text is good, and there is no good text of the other document to use it with.
    Waiting,
}

impl Fate {
    /// Whether the source is not what is served, by a fault or a doubt of its own.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::LastGood | Self::Held | Self::Missing)
    }
}

/// What is settled on: an edition if another one is to be in force, and what became of each document.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) edition: Option<Edition>,
    pub(super) policy: Outcome,
    pub(super) topology: Outcome,
}

/// What there is to settle with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) now_unix_ms: u64,
    pub(super) names: &'a Names,
    pub(super) wanted: &'a Wanted,
    /// What stands in for what is refused: what is in force, or else what an earlier run kept.
    pub(super) last_good: Option<&'a Edition>,
    /// Whether that is in force.
    pub(super) is_running: bool,
}

impl Ask<'_> {
    /// Settles on a pair.
    pub(super) fn settle(self) -> Settled {
        let mut settled = Settled {
            edition: None,
            policy: Outcome::default(),
            topology: Outcome::default(),
        };
        match self.ground(&mut settled.topology) {
            Some(ground) => settled.edition = self.edition(&ground, &mut settled),
            // Nothing to compile the policy against; what is wrong with it by itself is said all the same.
            None => settled.policy = self.policy_alone(),
        }
        if let Some(running) = self.last_good.filter(|_| self.is_running) {
            settled.edition = settled.edition.filter(|next| !next.has_texts_of(running));
        } else {
            settled.edition = settled.edition.or_else(|| self.last_good.cloned());
            if settled.edition.is_none() {
                settled.policy.nothing_in_force();
                settled.topology.nothing_in_force();
            }
        }
        settled
    }

    /// The topology to use.
    fn ground(self, outcome: &mut Outcome) -> Option<Ground> {
        let found = match &self.wanted.topology {
            Ok(text) => Ground::compile(&self.names.topology, Arc::clone(text), self.last_good),
            Err(unusable) => Err(unusable.faults(&self.names.topology)),
        };
        match found {
            Ok(ground) => Some(self.unless_held(ground, outcome)),
            Err(findings) => {
                outcome.refused(findings);
                Some(self.last_good?.ground().clone())
            }
        }
    }

    /// The topology in force instead of one that takes away too much of it.
    fn unless_held(self, ground: Ground, outcome: &mut Outcome) -> Ground {
        let Some(running) = self.last_good.filter(|_| self.is_running) else {
            outcome.taken(false, ground.warnings().clone());
            return ground;
        };
        let removal = Removal::between(running.topology(), ground.topology());
        if let Some(because) = too_much(running, removal) {
            outcome.fate = Fate::Held;
            outcome.held = Some(Held {
                text: Arc::clone(ground.text()),
                digest: ground.topology().digest(),
                removal,
                because,
                source: self.names.topology.to_string(),
                since_unix_ms: self.now_unix_ms,
            });
            return running.ground().clone();
        }
        let is_known = running.ground().text() == ground.text();
        outcome.taken(is_known, ground.warnings().clone());
        ground
    }

    /// The policy to use with a topology, and that.
    fn edition(self, ground: &Ground, settled: &mut Settled) -> Option<Edition> {
        let found = match &self.wanted.policy {
            Ok(text) => ground.with_policy(&self.names.policy, Arc::clone(text), self.known()),
            Err(unusable) => Err(unusable.faults(&self.names.policy)),
        };
        let findings = match found {
            Ok(edition) => {
                let today = Date::from_unix_ms(self.now_unix_ms);
                let is_known = self.is_policy_as_before();
                settled
                    .policy
                    .taken(is_known, edition.policy_warnings(today));
                return Some(edition);
            }
            Err(findings) => findings,
        };
        if self.is_policy_as_before() {
            // The policy was good until the topology changed: it is the topology that is refused.
            settled.topology.refused(findings);
            return None;
        }
        settled.policy.refused(findings);
        let last_good = self.last_good?;
        let text = Arc::clone(last_good.policy_text());
        match ground.with_policy(LAST_GOOD_POLICY, text, self.known()) {
            Ok(edition) => Some(edition),
            Err(findings) => {
                // Neither policy can be used with the new topology, so the pair before it stays as a whole.
                settled.topology.refused(findings);
                None
            }
        }
    }

    /// What compiling may rest on.
    fn known(&self) -> Known<'_> {
        Known::of(self.last_good)
    }

    /// Whether the policy wanted is the last good one.
    fn is_policy_as_before(self) -> bool {
        let last_good = self.last_good.map(Edition::policy_text);
        last_good.is_some_and(|text| self.wanted.policy.as_ref() == Ok(text))
    }

    /// What is wrong with a policy whatever the topology.
    fn policy_alone(self) -> Outcome {
        let findings = match &self.wanted.policy {
            Ok(text) => policy::check_alone(&self.names.policy, text),
            Err(unusable) => unusable.faults(&self.names.policy),
        };
        let mut outcome = Outcome::default();
        if findings.has_errors() {
            outcome.refused(findings);
        }
        outcome
    }
}

/// What findings call a policy that stands in, where it does not fit a new topology.
const LAST_GOOD_POLICY: &str = "last good policy";

impl Outcome {
    fn taken(&mut self, is_known: bool, warnings: Diagnostics) {
        self.fate = if is_known {
            Fate::Unchanged
        } else {
            Fate::Applied
        };
        self.warnings = warnings;
    }

    fn refused(&mut self, findings: Diagnostics) {
        debug_assert!(findings.has_errors(), "refused without a fault");
        self.fate = Fate::LastGood;
        self.held = None;
        (self.faults, self.warnings) = findings.split();
    }

    /// No pair can be used: a document without a fault of its own waits for the other.
    fn nothing_in_force(&mut self) {
        self.fate = if self.faults.is_empty() {
            Fate::Waiting
        } else {
            Fate::Missing
        };
    }
}
