//! Policies that are given by a call, whether with their text or as those of an earlier revision.

use std::sync::Arc;

use super::ApplyError;
use crate::document::Diagnostics;
use crate::edition::{Edition, Known, Which};
use crate::lifecycle::notice::{GivenFate, GivenNotice, Notice};
use crate::lifecycle::revisions::{Origin, Revision};
use crate::lifecycle::{Change, Effects, Reply, Steward, Unusable};
use crate::model::Digest;

/// A policy to put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyUpdate {
    /// Which one.
    pub document: PolicyDocument,
    /// The number of the revision that must be in force; `None` for any.
    pub if_revision: Option<u64>,
    /// Whether it may end a rollout that is under way.
    pub may_end_rollout: bool,
    /// Who asks.
    pub who: String,
    /// Why.
    pub why: String,
}

/// Which policy to put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyDocument {
    /// The one with this text.
    Text(Arc<str>),
    /// The one with this text, which is refused for what the host found out about it.
    Unusable(Arc<str>, Unusable),
    /// That of an earlier revision; `None`: of the newest one whose policy is another than that in force.
    Earlier(Option<u64>),
}

/// What became of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyApplied {
    /// The number of the revision in force now.
    pub revision: u64,
    /// The number of the revision in force before; the same where nothing has changed.
    pub previous: u64,
    /// The policies in force before and now.
    pub texts: [Arc<str>; 2],
    /// The digest of the policy in force now.
    pub in_force: Digest,
    /// The digest of what was given.
    pub given: Digest,
    /// Why it is refused; without errors if it is not.
    pub faults: Diagnostics,
    /// What somebody should look at.
    pub warnings: Diagnostics,
}

/// What is in force, the policy to be used instead, and where that comes from.
struct Found {
    current: Edition,
    text: Arc<str>,
    origin: Origin,
    /// Why that policy is refused, whatever it says.
    unusable: Option<Unusable>,
}

impl PolicyApplied {
    fn fate(&self) -> GivenFate {
        if self.faults.has_errors() {
            let faults = self.faults.counts().0;
            return GivenFate::Refused { faults };
        }
        let revision = self.revision;
        GivenFate::Applied { revision }
    }
}

impl Steward {
    /// Puts a policy in force with the topology that is, or refuses it.
    pub(in crate::lifecycle) fn apply_policy(
        &mut self,
        now_unix_ms: u64,
        update: PolicyUpdate,
    ) -> Effects {
        let Found {
            current,
            text,
            origin,
            unusable,
        } = match self.policy_of(&update) {
            Ok(found) => found,
            Err(error) => return Effects::reply(Reply::Policy(Err(error))),
        };
        let mut applied = PolicyApplied {
            revision: self.revision(),
            previous: self.revision(),
            texts: [current.policy_text(), current.policy_text()].map(Arc::clone),
            in_force: current.policy().digest(),
            given: Digest::of(text.as_bytes()),
            faults: Diagnostics::default(),
            warnings: Diagnostics::default(),
        };
        if *current.policy_text() == text && unusable.is_none() {
            return Effects::reply(Reply::Policy(Ok(applied)));
        }
        let mut effects = Effects::default();
        let known = Known::of(Some(&current));
        let name = Which::Policy.name();
        let compiled = match unusable {
            Some(unusable) => Err(unusable.faults(name)),
            None => current.ground().with_policy(name, text, known),
        };
        match compiled {
            Ok(edition) => {
                let change = Change {
                    origin,
                    who: update.who.clone(),
                    why: update.why.clone(),
                };
                effects = self.take_policy(now_unix_ms, (edition, change), &mut applied);
            }
            Err(findings) => applied.faults = findings,
        }
        effects.say.push(Notice::Given(GivenNotice {
            which: Which::Policy,
            digest: applied.given,
            fate: applied.fate(),
            who: update.who,
            why: update.why,
        }));
        effects.reply = Some(Reply::Policy(Ok(applied)));
        effects
    }

    /// Puts a policy in force that can be, and notes what came of it.
    fn take_policy(
        &mut self,
        now_unix_ms: u64,
        (edition, change): (Edition, Change),
        applied: &mut PolicyApplied,
    ) -> Effects {
        applied.warnings = self.warn_of_policy(now_unix_ms, &edition);
        applied.texts[1] = Arc::clone(edition.policy_text());
        applied.in_force = applied.given;
        self.status.policy.serve(now_unix_ms, applied.given);
        self.over.policy = self.source_beside(Which::Policy, applied.given);
        let publish = Some(self.take(now_unix_ms, edition, change));
        self.show_given();
        applied.revision = self.revision();
        Effects {
            keep: self.unkept(),
            publish,
            ..Effects::default()
        }
    }

    /// What is in force, the policy to be used instead, and where that comes from.
    fn policy_of(&self, update: &PolicyUpdate) -> Result<Found, ApplyError> {
        let current = self.current.clone().ok_or(ApplyError::NothingInForce)?;
        let in_force = self.revision();
        if let Some(expected) = update.if_revision.filter(|it| *it != in_force) {
            return Err(ApplyError::OtherRevision { in_force, expected });
        }
        if let Some(rolling) = self.rollout().filter(|_| !update.may_end_rollout) {
            let candidate = rolling.digest().short();
            return Err(ApplyError::RolloutUnderWay { candidate });
        }
        let (text, origin) = match &update.document {
            PolicyDocument::Text(text) | PolicyDocument::Unusable(text, _) => {
                (text, Origin::Policy)
            }
            PolicyDocument::Earlier(number) => {
                let earlier = self.earlier(*number)?;
                (&earlier.texts.policy, Origin::Rollback(earlier.number))
            }
        };
        Ok(Found {
            text: Arc::clone(text),
            current,
            origin,
            unusable: match &update.document {
                PolicyDocument::Unusable(_, unusable) => Some(unusable.clone()),
                PolicyDocument::Text(_) | PolicyDocument::Earlier(_) => None,
            },
        })
    }

    /// The revision with a number, or the newest one with another policy than that in force.
    fn earlier(&self, number: Option<u64>) -> Result<&Arc<Revision>, ApplyError> {
        let revisions = self.revisions();
        let Some(number) = number else {
            let before = revisions.before_this_policy();
            return before.ok_or(ApplyError::NothingEarlier);
        };
        Ok(revisions.get(number)?)
    }
}
