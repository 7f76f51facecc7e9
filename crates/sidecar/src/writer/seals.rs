//! The signatures of the texts that the steward may be told of, where keys are pinned.
//!
//! They are checked here, at the border: what the steward hears of is either signed or said to be unusable, whether it comes from
//! a file, a call, or what an earlier run kept. So nothing behind it needs to know of signatures: an earlier revision, a candidate
//! or a held topology was checked when it came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::signing::{Keys, MAX_SIGNATURE_BYTES, Seal, SealError};
use crate::state::State;
use crate::writer::Writer;
use tradewind_engine::document::Code;
use tradewind_engine::edition::{Texts, Which};
use tradewind_engine::lifecycle::{
    Document, Event, Keep, PolicyDocument, PolicyUpdate, Rolling, RolloutOrder, Steward, Unusable,
    Update,
};
use tradewind_engine::model::Digest;
use tradewind_engine::rollout::Order;

/// So many are known before those that nobody needs any more are forgotten.
const MANY: usize = 256;

/// The signatures of texts, by what they are of; see the module.
#[derive(Debug)]
pub(super) struct Seals {
    keys: Keys,
    known: BTreeMap<Digest, Seal>,
    /// The texts that have another signature now than they had.
    renewed: BTreeSet<Digest>,
    state: Arc<State>,
}

impl Seals {
    pub(super) fn new(keys: Keys, state: Arc<State>) -> Self {
        if !keys.is_empty() {
            tracing::info!(
                keys = keys.ids(),
                "policies and topologies must be signed by one of these keys"
            );
        }
        Self {
            keys,
            known: BTreeMap::new(),
            renewed: BTreeSet::new(),
            state,
        }
    }

    /// Whether texts must be signed.
    pub(super) fn are_needed(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether a text is signed by a pinned key; remembers by what. `at` says where the signature was looked for.
    pub(super) fn check(
        &mut self,
        text: &str,
        signature: Option<&str>,
        at: &str,
    ) -> Result<(), SealError> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let Some(signature) = signature else {
            return Err(SealError::Missing { at: at.to_owned() });
        };
        let digest = Digest::of(text.as_bytes());
        if self
            .known
            .get(&digest)
            .is_some_and(|it| &*it.signature == signature)
        {
            return Ok(());
        }
        if signature.len() > MAX_SIGNATURE_BYTES {
            return Err(SealError::Malformed);
        }
        let seal = self.keys.verify(text, signature)?;
        // An older signature of a text that has a newer one must not lower the serial that others are held against.
        let known = self.known.get(&digest);
        if known.is_none_or(|known| known.serial <= seal.serial)
            && self.known.insert(digest, seal).is_some()
        {
            self.renewed.insert(digest);
        }
        Ok(())
    }

    /// Whether a text is no older than the one in force, of two that have a serial. One that has none is older than any that has:
    /// else every text signed before serials were could be played again.
    pub(super) fn check_age(&self, text: &str, in_force: Option<u64>) -> Result<(), SealError> {
        let Some(in_force) = in_force else {
            return Ok(());
        };
        let serial = self.of(text).and_then(|seal| seal.serial);
        if serial.is_some_and(|serial| serial >= in_force) {
            return Ok(());
        }
        Err(SealError::Older { serial, in_force })
    }

    /// The signature of a text.
    pub(super) fn of(&self, text: &str) -> Option<&Seal> {
        // Where none is needed none is known, and no text needs to be hashed.
        let digest = (!self.known.is_empty()).then(|| Digest::of(text.as_bytes()))?;
        self.known.get(&digest)
    }

    /// The signatures of a pair, for what is kept of it.
    pub(super) fn of_pair(&self, texts: &Texts) -> Pair {
        let of = |text: &str| self.of(text).map(|seal| Arc::clone(&seal.signature));
        Pair {
            policy: of(&texts.policy),
            topology: of(&texts.topology),
        }
    }

    /// The serial of the text in force, or of the one that was when an earlier run ended.
    pub(super) fn serial_in_force(&self, steward: &Steward, which: Which) -> Option<u64> {
        let texts = &steward.revisions().newest()?.texts;
        let text = match which {
            Which::Policy => &texts.policy,
            Which::Topology => &texts.topology,
        };
        self.of(text)?.serial
    }

    /// Whether a text has another signature now than the one it may be kept with.
    fn is_renewed(&self, text: &str) -> bool {
        !self.renewed.is_empty() && self.renewed.contains(&Digest::of(text.as_bytes()))
    }

    /// Forgets those that nothing the steward remembers is signed by, once there are many.
    pub(super) fn forget_old(&mut self, steward: &Steward) {
        if self.known.len() < MANY {
            return;
        }
        let revisions = steward.revisions().newest_first();
        let texts = revisions.flat_map(|it| [&it.texts.policy, &it.texts.topology]);
        let held = steward.held().map(|held| &held.text);
        let tried = steward.rollout().map(|it| it.candidate.policy_text());
        let needed: BTreeSet<Digest> = texts
            .chain(held)
            .chain(tried)
            .map(|text| Digest::of(text.as_bytes()))
            .collect();
        self.known.retain(|digest, _| needed.contains(digest));
    }

    /// Counts a text that is not used for the want of a good signature.
    pub(super) fn count(&self, error: &SealError) {
        self.state.reloads.unsigned.count(error.reason());
    }
}

/// The signatures of a policy and a topology, as far as they have any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) policy: Option<Arc<str>>,
    pub(super) topology: Option<Arc<str>>,
}

/// What is said of a text that is not used for the want of a good signature.
pub(super) fn unusable(error: &SealError) -> Unusable {
    let (code, help) = match error {
        SealError::Older { .. } => (
            Code::D014,
            "sign it with a serial as high or higher: `tradewind sign --serial N`",
        ),
        _ => (
            Code::D013,
            "sign it by a pinned key (`tradewind sign FILE --key KEY`), or pin the key (`signed_by`)",
        ),
    };
    Unusable {
        code,
        said: error.to_string(),
        help,
    }
}

impl Writer {
    /// Looks at what signatures have changed, whenever some may have come.
    pub(super) fn heed_signatures(&mut self) {
        self.keep_newer_signatures();
        self.end_outdated_rollout();
    }

    /// Keeps what is on disk with the newer signatures of its texts. By a key that is unpinned afterwards the older ones would
    /// count for nothing at the next start, and what was kept would be lost with them.
    fn keep_newer_signatures(&mut self) {
        if self.seals.renewed.is_empty() {
            return;
        }
        let revisions = self.steward.revisions().newest_first();
        let revisions = revisions.filter(|it| {
            let Texts { policy, topology } = &it.texts;
            self.seals.is_renewed(policy) || self.seals.is_renewed(topology)
        });
        let mut stale: Vec<Keep> = revisions.cloned().map(Keep::Revision).collect();
        let tried = self.steward.rollout().map(Rolling::record);
        let tried = tried.filter(|it| self.seals.is_renewed(&it.document));
        stale.extend(tried.map(|it| Keep::Rollout(Some(Arc::new(it)))));
        // What a disk does not take is tried again with the next look.
        if self.history.is_none() || stale.iter().all(|keep| self.write(keep)) {
            self.seals.renewed.clear();
        }
    }

    /// Ends a rollout whose candidate is older by now than what is in force: it would take the place of that when it is promoted.
    fn end_outdated_rollout(&mut self) {
        let Some(rolling) = self.steward.rollout().filter(|it| !it.is_shadow) else {
            return;
        };
        let in_force = self.seals.serial_in_force(&self.steward, Which::Policy);
        let text = rolling.candidate.policy_text();
        let Err(error) = self.seals.check_age(text, in_force) else {
            return;
        };
        self.seals.count(&error);
        self.step(Event::OrderRollout(RolloutOrder {
            order: Order::Abort,
            who: String::new(),
            why: error.to_string(),
        }));
    }

    /// Why a text that is given by a call is not used whatever it says; `None` where it is signed as it must be.
    pub(super) fn unusable(
        &mut self,
        which: Which,
        text: &str,
        signature: &str,
    ) -> Option<Unusable> {
        let signature = Some(signature).filter(|it| !it.is_empty());
        self.seals.forget_old(&self.steward);
        let checked = self
            .seals
            .check(text, signature, ": no signature is given with it");
        let in_force = self.seals.serial_in_force(&self.steward, which);
        let checked = checked.and_then(|()| self.seals.check_age(text, in_force));
        let error = checked.err()?;
        self.seals.count(&error);
        Some(unusable(&error))
    }

    /// A policy that is given by a call, or what is held against it. An earlier revision's was checked when it came, and going back
    /// to it is an operator's right, whatever its serial.
    pub(super) fn vouched_policy(&mut self, update: PolicyUpdate, signature: &str) -> PolicyUpdate {
        let PolicyDocument::Text(text) = &update.document else {
            return update;
        };
        let Some(unusable) = self.unusable(Which::Policy, text, signature) else {
            return update;
        };
        let document = PolicyDocument::Unusable(Arc::clone(text), unusable);
        PolicyUpdate { document, ..update }
    }

    /// A topology that is given by a call, or what is held against it. One that waits to be confirmed was checked when it came, but
    /// a newer one may be in force by now.
    pub(super) fn vouched_topology(&mut self, update: Update, signature: &str) -> Update {
        let (text, unusable) = match &update.document {
            Document::Text(text) => (
                text.clone(),
                self.unusable(Which::Topology, text, signature),
            ),
            Document::Held(_) | Document::Unusable(..) => {
                let Some(text) = self.steward.held().map(|held| held.text.to_string()) else {
                    return update;
                };
                let in_force = self.seals.serial_in_force(&self.steward, Which::Topology);
                let error = self.seals.check_age(&text, in_force).err();
                (text, error.as_ref().map(unusable))
            }
        };
        match unusable {
            Some(unusable) => Update {
                document: Document::Unusable(text, unusable),
                ..update
            },
            None => update,
        }
    }
}
