//! Texts that are given by a call, instead of by a source.
//!
//! What is given stays in force until the source of that document changes: a change of the other one must not undo it.

use std::sync::Arc;

use super::held::{BY_CALL, Held, too_much};
use super::notice::{GivenFate, GivenNotice, Notice};
use super::settle::Wanted;
use super::{Effects, Reply, Steward};
use crate::date::Date;
use crate::document::Diagnostics;
use crate::edition::{Edition, Ground, Known, Which};
use crate::model::Digest;
use crate::topology::removal::Removal;

/// Fewest hexadecimal digits that may stand for a whole digest.
pub const MIN_DIGEST_DIGITS: usize = 16;

/// A topology to put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Which one.
    pub document: Document,
    /// The digest that must be in force, or its first digits; empty for any.
    pub if_digest: String,
    /// Whether it may take away more than the policy allows unconfirmed.
    pub confirm_removal: bool,
    /// Who asks, for the log.
    pub who: String,
    /// Why, for the log.
    pub why: String,
}

/// Which topology to put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// The one with this text.
    Text(String),
    /// The one that is held, by its digest or the first digits of that.
    Held(String),
}

/// What became of a topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The digest of what is in force now.
    pub in_force: Digest,
    /// The digest of what was given.
    pub given: Digest,
    /// Counts policies and topologies that took effect.
    pub revision: u64,
    /// What it takes away of the fleet before.
    pub removal: Removal,
    /// Why it is held, if it is.
    pub held: Option<String>,
    /// Why it is refused; without errors if it is not.
    pub faults: Diagnostics,
    /// What somebody should look at.
    pub warnings: Diagnostics,
}

/// Why a topology was not looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// There is no policy to use it with.
    #[error("no policy is in force yet, see /readyz on the debug door")]
    NothingInForce,
    /// Another topology is in force than the caller thinks.
    #[error("the topology in force is {in_force}, not the one in `if_digest`")]
    OtherDigest {
        /// The digest of that.
        in_force: Digest,
    },
    /// No such update is held.
    #[error("no update with that digest is held")]
    NothingHeld,
}

/// Which documents in force were given by a call since their source last changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct ByCall {
    pub(super) policy: bool,
    pub(super) topology: bool,
}

/// What is to become of a topology that is given.
enum Judgement {
    /// Nothing: it is in force.
    Known,
    Refused(Diagnostics),
    MustBeConfirmed(Held),
    Good(Edition),
}

impl Steward {
    /// Shows what is to be said of a policy that came into force by a call, or of the one in force with another topology.
    fn warn_of_policy(&mut self, now_unix_ms: u64, edition: &Edition) {
        let mut warnings = edition.policy_warnings(Date::from_unix_ms(now_unix_ms));
        self.forget_place(&mut warnings);
        self.status.policy.warnings = warnings.to_lines();
    }

    /// What the sources want, but with what was given by a call where the source is still the one that it took the place of.
    pub(super) fn unless_given(&mut self, wanted: &Wanted) -> Wanted {
        let tried = self.tried.as_ref();
        self.by_call.policy &= tried.is_some_and(|tried| tried.policy == wanted.policy);
        self.by_call.topology &= tried.is_some_and(|tried| tried.topology == wanted.topology);
        let mut asked = wanted.clone();
        if let Some(current) = &self.current {
            let texts = current.texts();
            if self.by_call.policy {
                asked.policy = Ok(texts.policy);
            }
            if self.by_call.topology {
                asked.topology = Ok(texts.topology);
            }
        }
        asked
    }

    /// Puts a policy in force with the topology that is.
    pub(super) fn apply_policy(&mut self, now_unix_ms: u64, text: &str) -> Effects {
        let Some(current) = &self.current else {
            return Effects::reply(Reply::Policy(Err(Diagnostics::default())));
        };
        if **current.policy_text() == *text {
            return Effects::reply(Reply::Policy(Ok(self.revision)));
        }
        let name = Which::Policy.name();
        let edition =
            match current
                .ground()
                .with_policy(name, text.into(), Known::of(Some(current)))
            {
                Ok(edition) => edition,
                Err(findings) => return Effects::reply(Reply::Policy(Err(findings))),
            };
        let digest = edition.policy().digest();
        self.status.policy.serve(now_unix_ms, digest);
        self.warn_of_policy(now_unix_ms, &edition);
        self.by_call.policy = true;
        let publish = self.take(edition);
        let notice = GivenNotice {
            which: Which::Policy,
            digest,
            fate: GivenFate::Applied {
                revision: self.revision,
            },
            who: String::new(),
            why: String::new(),
        };
        Effects {
            publish: Some(publish),
            say: vec![Notice::Given(notice)],
            ..Effects::reply(Reply::Policy(Ok(self.revision)))
        }
    }

    /// Puts a topology in force, holds it, or refuses it.
    pub(super) fn apply_topology(&mut self, now_unix_ms: u64, update: Update) -> Effects {
        let (mut applied, judgement) = match self.judge(now_unix_ms, &update) {
            Ok(judged) => judged,
            Err(error) => return Effects::reply(Reply::Topology(Err(error))),
        };
        let mut effects = Effects::default();
        let fate = match judgement {
            Judgement::Known => None,
            Judgement::Refused(faults) => {
                let count = faults.counts().0;
                applied.faults = faults;
                Some(GivenFate::Refused { faults: count })
            }
            Judgement::MustBeConfirmed(held) => {
                let because = held.because.clone();
                applied.held = Some(because.clone());
                self.held = Some(Arc::new(held));
                self.show_held();
                Some(GivenFate::Held { because })
            }
            Judgement::Good(edition) => {
                effects = self.take_given(now_unix_ms, edition);
                (applied.in_force, applied.revision) = (applied.given, self.revision);
                Some(GivenFate::Applied {
                    revision: self.revision,
                })
            }
        };
        effects.say.extend(fate.map(|fate| {
            Notice::Given(GivenNotice {
                which: Which::Topology,
                digest: applied.given,
                fate,
                who: update.who,
                why: update.why,
            })
        }));
        effects.reply = Some(Reply::Topology(Ok(applied)));
        effects
    }

    /// What is to become of an update, and what can be said of it before.
    fn judge(&self, now_unix_ms: u64, update: &Update) -> Result<(Applied, Judgement), ApplyError> {
        let current = self.current.as_ref().ok_or(ApplyError::NothingInForce)?;
        let in_force = current.topology().digest();
        if !update.if_digest.is_empty() && !is_digest_of(&update.if_digest, in_force) {
            return Err(ApplyError::OtherDigest { in_force });
        }
        let text = self.text_of(&update.document)?;
        let mut applied = Applied {
            in_force,
            given: Digest::of(text.as_bytes()),
            revision: self.revision,
            removal: Removal::default(),
            held: None,
            faults: Diagnostics::default(),
            warnings: Diagnostics::default(),
        };
        if text == *current.ground().text() {
            return Ok((applied, Judgement::Known));
        }
        let edition = match with_topology(current, Arc::clone(&text)) {
            Ok(edition) => edition,
            Err(findings) => return Ok((applied, Judgement::Refused(findings))),
        };
        applied.removal = Removal::between(current.topology(), edition.topology());
        applied.warnings = edition.ground().warnings().clone();
        applied.warnings.append(edition.warnings_beyond(current));
        let because = too_much(current, applied.removal).filter(|_| !update.confirm_removal);
        let judgement = because.map_or(Judgement::Good(edition), |because| {
            Judgement::MustBeConfirmed(Held {
                text,
                digest: applied.given,
                removal: applied.removal,
                because,
                source: BY_CALL.to_owned(),
                since_unix_ms: now_unix_ms,
            })
        });
        Ok((applied, judgement))
    }

    fn text_of(&self, document: &Document) -> Result<Arc<str>, ApplyError> {
        match document {
            Document::Text(text) => Ok(text.as_str().into()),
            Document::Held(digest) => {
                let held = self.held.as_ref();
                let held = held.filter(|held| is_digest_of(digest, held.digest));
                Ok(Arc::clone(&held.ok_or(ApplyError::NothingHeld)?.text))
            }
        }
    }

    fn take_given(&mut self, now_unix_ms: u64, edition: Edition) -> Effects {
        let warnings = edition.ground().warnings().to_lines();
        let digest = edition.topology().digest();
        self.status.topology.given(now_unix_ms, digest, warnings);
        self.warn_of_policy(now_unix_ms, &edition);
        self.held = None;
        self.show_held();
        self.by_call.topology = true;
        let publish = Some(self.take(edition));
        Effects {
            keep: self.keep_pair().into_iter().collect(),
            publish,
            ..Effects::default()
        }
    }
}

/// The policy in force with another topology.
fn with_topology(current: &Edition, text: Arc<str>) -> Result<Edition, Diagnostics> {
    let ground = Ground::compile(Which::Topology.name(), text, Some(current))?;
    let policy = Arc::clone(current.policy_text());
    ground.with_policy(Which::Policy.name(), policy, Known::of(Some(current)))
}

/// Whether `text` is a digest or its beginning, long enough not to be another's by chance.
fn is_digest_of(text: &str, digest: Digest) -> bool {
    text.len() >= MIN_DIGEST_DIGITS && digest.to_string().starts_with(&text.to_ascii_lowercase())
}
