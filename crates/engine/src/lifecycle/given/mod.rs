//! Texts that are given by a call, instead of by a source.
//!
//! What is given stays in force until the source of that document changes: neither a change of the other one may undo it,
//! nor a restart.

mod policy;

use std::sync::Arc;

pub use policy::{PolicyApplied, PolicyDocument, PolicyUpdate};

use super::held::{BY_CALL, Held, too_much};
use super::notice::{GivenFate, GivenNotice, Notice};
use super::revisions::{NoRevision, Origin, Over};
use super::settle::Wanted;
use super::{Change, Effects, Reply, Steward, Unusable};
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
    /// The one with this text, which is refused for what the host found out about it.
    Unusable(String, Unusable),
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

/// Why a text was not looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// There is no document of the other kind to use it with.
    #[error("no policy is in force yet, see /readyz on the debug door")]
    NothingInForce,
    /// Another topology is in force than the caller thinks.
    #[error("the topology in force is {in_force}, not the one in `if_digest`")]
    OtherDigest {
        /// The digest of that.
        in_force: Digest,
    },
    /// Another revision is in force than the caller thinks.
    #[error("the revision in force is {in_force}, not {expected}: somebody was quicker")]
    OtherRevision {
        /// The number of that.
        in_force: u64,
        /// What the caller thinks.
        expected: u64,
    },
    /// No such revision is remembered.
    #[error(transparent)]
    NoRevision(#[from] NoRevision),
    /// A candidate stands on the policy in force.
    #[error(
        "policy {candidate} is tried on part of the requests, and another policy in force ends that: `tradewind rollout abort` \
         takes it back; force this to do both"
    )]
    RolloutUnderWay {
        /// Its digest, shortened.
        candidate: String,
    },
    /// There is nothing to go back to.
    #[error("no earlier revision with another policy is remembered")]
    NothingEarlier,
    /// No such update is held.
    #[error("no update with that digest is held")]
    NothingHeld,
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
    pub(in crate::lifecycle) fn warn_of_policy(
        &mut self,
        now_unix_ms: u64,
        edition: &Edition,
    ) -> Diagnostics {
        let mut warnings = edition.policy_warnings(Date::from_unix_ms(now_unix_ms));
        self.forget_place(&mut warnings);
        self.status.policy.warnings = warnings.to_lines();
        warnings
    }

    /// What the sources want, but with what was given by a call where the source is still the one that it took the place
    /// of. A source that cannot be read takes nothing back.
    pub(in crate::lifecycle) fn unless_given(
        &mut self,
        wanted: &Wanted,
        current: Option<&Edition>,
    ) -> Wanted {
        let mut asked = wanted.clone();
        let Some(current) = current else {
            self.over = Over::default();
            return asked;
        };
        let texts = current.texts();
        let given = [
            (&mut self.over.policy, &mut asked.policy, texts.policy),
            (&mut self.over.topology, &mut asked.topology, texts.topology),
        ];
        for (over, asked, text) in given {
            let Ok(source) = asked else { continue };
            *over = over.filter(|over| *over == Digest::of(source.as_bytes()));
            if over.is_some() {
                *asked = Ok(text);
            }
        }
        asked
    }

    /// What the source of a document said last: what the text of this digest, which is given, takes the place of. `None`
    /// where that is what the source says.
    pub(in crate::lifecycle) fn source_beside(
        &self,
        which: Which,
        given: Digest,
    ) -> Option<Digest> {
        let tried = self.tried.as_ref()?;
        let (source, over) = match which {
            Which::Policy => (&tried.policy, self.over.policy),
            Which::Topology => (&tried.topology, self.over.topology),
        };
        let digest = source.as_ref().ok().map(|it| Digest::of(it.as_bytes()));
        // A source that cannot be read just now: what it said before.
        digest.or(over).filter(|source| *source != given)
    }

    /// Puts a topology in force, holds it, or refuses it.
    pub(in crate::lifecycle) fn apply_topology(
        &mut self,
        now_unix_ms: u64,
        update: Update,
    ) -> Effects {
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
                effects = self.take_given(now_unix_ms, edition, &update);
                (applied.in_force, applied.revision) = (applied.given, self.revision());
                Some(GivenFate::Applied {
                    revision: applied.revision,
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
            revision: self.revision(),
            removal: Removal::default(),
            held: None,
            faults: Diagnostics::default(),
            warnings: Diagnostics::default(),
        };
        if let Document::Unusable(_, unusable) = &update.document {
            let faults = unusable.faults(Which::Topology.name());
            return Ok((applied, Judgement::Refused(faults)));
        }
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
            Document::Text(text) | Document::Unusable(text, _) => Ok(text.as_str().into()),
            Document::Held(digest) => {
                let held = self.held.as_ref();
                let held = held.filter(|held| is_digest_of(digest, held.digest));
                Ok(Arc::clone(&held.ok_or(ApplyError::NothingHeld)?.text))
            }
        }
    }

    fn take_given(&mut self, now_unix_ms: u64, edition: Edition, update: &Update) -> Effects {
        let warnings = edition.ground().warnings().to_lines();
        let digest = edition.topology().digest();
        self.status.topology.given(now_unix_ms, digest, warnings);
        self.warn_of_policy(now_unix_ms, &edition);
        self.held = None;
        self.show_held();
        self.over.topology = self.source_beside(Which::Topology, digest);
        let change = Change {
            origin: Origin::Topology,
            who: update.who.clone(),
            why: update.why.clone(),
        };
        let publish = Some(self.take(now_unix_ms, edition, change));
        self.show_given();
        Effects {
            keep: self.unkept(),
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
