//! Snapshots put together again from what the sidecar told of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use super::Following;
use super::purges::Purges;
use super::ruling::Ruling;
use tradewind_engine::decision::Decision;
use tradewind_engine::document::Code;
use tradewind_engine::edition::{Edition, Known, Names, Refused, Texts, Which};
use tradewind_engine::evaluate::{Evaluation, Verdict, evaluate_at};
use tradewind_engine::freshness::Fresh;
use tradewind_engine::geo::place::Place;
use tradewind_engine::locate::{self, Located};
use tradewind_engine::query::Query;
use tradewind_engine::request::Reading;
use tradewind_engine::snapshot::Snapshot;
use tradewind_wire::addresses::NodeAddresses;
use tradewind_wire::clock;
use tradewind_wire::follow::rebuild::Rebuilding;
use tradewind_wire::follow::{StateFault, read_state};
use tradewind_wire::limiter::Limiter;
use tradewind_wire::question::Question;
use tradewind_wire::{QueryBuffer, QueryRoom, WireError, proto};

/// A copy of the sidecar's snapshot: it decides as the sidecar did when it told of it.
#[derive(Debug)]
pub(super) struct Copied {
    snapshot: Snapshot,
    revision: u64,
    policy_digest: String,
    /// Of all nodes; the same as before while the topology is.
    addresses: Arc<NodeAddresses>,
    /// Whether any of its rules has limits.
    is_limited: bool,
    /// Of 10,000 requests, how many a candidate decides at the sidecar and not here.
    candidate_buckets: u16,
}

/// What a decision goes by beside the copy.
#[derive(Debug)]
pub(super) struct Beside<'a> {
    /// The decision's id; empty for none.
    pub(super) decision_id: &'a str,
    pub(super) purges: &'a Purges,
    /// What limits have let through here; made when there is the first.
    pub(super) limiter: &'a OnceLock<Limiter>,
}

impl Copied {
    /// Decides, of a client of which `told` has what the sidecar once told of its place.
    pub(super) fn decide<T>(
        &self,
        question: &Question<'_>,
        (told, beside): (impl FnOnce(IpAddr) -> Option<Place>, &Beside<'_>),
        then: impl FnOnce(&Ruling<'_>) -> T,
    ) -> Result<T, WireError> {
        let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
        let query = buffer.read_question(question, &mut room, self.snapshot.reading())?;
        let told = query.client.ip.and_then(told);
        let located = locate::locate_told(&self.snapshot, &query, told);
        let mut evaluation = evaluate_at(&self.snapshot, &query, located);
        let mut fresh = {
            let decision = Decision::new(&self.snapshot, &evaluation);
            let versions = beside.purges.versions();
            let versions = versions.as_deref();
            versions.map_or_else(Fresh::default, |it| decision.fresh(it, &query))
        };
        if fresh.version > 0 {
            evaluation = self.past(&query, located, (evaluation, fresh), beside.purges);
        }
        if self.is_limited && !question.dry_run {
            let limiter = beside.limiter.get_or_init(Limiter::default);
            limiter.check(clock::now, (&self.snapshot, &query), &mut evaluation);
        }
        let decision = Decision::new(&self.snapshot, &evaluation);
        // Nobody is told of what is not served.
        if evaluation.verdict != Verdict::Route {
            fresh = Fresh::default();
        }
        Ok(then(&Ruling {
            decision,
            decision_id: beside.decision_id,
            fresh,
            is_freshness_known: beside.purges.are_known(),
            path: query.path,
            query_string: query.query_string,
            addresses: &self.addresses,
        }))
    }

    /// Decides again without nodes that have not done the purge that the object's version is.
    #[cold]
    fn past(
        &self,
        query: &Query<'_>,
        located: Located,
        (evaluation, fresh): (Evaluation, Fresh),
        purges: &Purges,
    ) -> Evaluation {
        let floors = purges.floors();
        let topology = self.snapshot.topology();
        let is_behind = |node| floors.is_behind(&topology.node(node).id, fresh.version);
        let decided = evaluation.past(&self.snapshot, query, located, is_behind);
        decided.0
    }

    pub(super) fn reading(&self) -> &Reading {
        self.snapshot.reading()
    }

    pub(super) fn node_at(&self, address: SocketAddr) -> Option<&str> {
        let node = self.addresses.at(address)?;
        Some(&self.snapshot.topology().node(node).id)
    }

    pub(super) fn candidate_buckets(&self) -> u16 {
        self.candidate_buckets
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// The policy's digest, shortened.
    pub(super) fn policy_digest(&self) -> &str {
        &self.policy_digest
    }

    pub(super) fn following(&self) -> Following {
        Following {
            revision: self.revision,
            generation: self.snapshot.generation(),
            policy_digest: self.snapshot.policy().digest().to_string(),
            topology_digest: self.snapshot.topology().digest().to_string(),
            candidate_buckets: self.candidate_buckets,
        }
    }
}

/// Why a copy cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyFault {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateFault),
    /// A text is not the one that the state belongs to.
    #[error("the {0} that was told is not the one whose digest was told")]
    OtherText(Which),
    /// The policy has expressions, and this client cannot read them: no copy of it would decide as the sidecar does, and an
    /// older one not for long.
    #[error(
        "the policy that was told has expressions (`when`), and this client is built without its feature `cel`"
    )]
    Expressions,
    /// A text does not compile here.
    #[error("the {0} that was told cannot be used: {1}")]
    Unusable(Which, String),
}

impl From<Refused> for CopyFault {
    fn from(refused: Refused) -> Self {
        let mut findings = refused.findings.items().iter();
        if findings.any(|found| found.code == Code::P045) {
            return Self::Expressions;
        }
        Self::Unusable(refused.which, refused.findings.to_lines().join("; "))
    }
}

/// What was put together so far; what has not changed is taken over into the next copy.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    edition: Option<Edition>,
    rebuilding: Rebuilding,
    before: Option<Arc<Copied>>,
}

/// Texts that came with a state.
#[derive(Debug, Default)]
pub(super) struct NewTexts {
    pub(super) policy: Option<String>,
    pub(super) topology: Option<String>,
}

impl Assembly {
    /// The digests of the texts that need not be told again.
    pub(super) fn holds(&self) -> proto::FollowRequest {
        let digests = self.edition.as_ref().map(|edition| {
            let policy = edition.policy().digest().to_string();
            (policy, edition.topology().digest().to_string())
        });
        let (policy_digest, topology_digest) = digests.unwrap_or_default();
        proto::FollowRequest {
            policy_digest,
            topology_digest,
            ..proto::FollowRequest::default()
        }
    }

    /// The texts of the last copy.
    pub(super) fn texts(&self) -> Option<Texts> {
        self.edition.as_ref().map(Edition::texts)
    }

    /// Forgets the texts, so that they are told again; the last copy stays in use.
    pub(super) fn forget(&mut self) {
        *self = Self {
            before: self.before.take(),
            ..Self::default()
        };
    }

    /// The next copy. Compiles texts and builds tables, so it may take a while.
    pub(super) fn next(
        &mut self,
        texts: NewTexts,
        state: &proto::FollowedState,
    ) -> Result<Arc<Copied>, CopyFault> {
        let told = read_state(state)?;
        self.take_texts(texts)?;
        let edition = self.edition.as_ref();
        let edition = edition.ok_or(CopyFault::OtherText(Which::Topology))?;
        let before = self.before.as_ref().map(|before| &before.snapshot);
        let snapshot = self.rebuilding.next(edition, &told, before);
        let snapshot = snapshot.map_err(CopyFault::OtherText)?;
        let same_topology = |before: &&Arc<Copied>| {
            before.snapshot.topology().digest() == snapshot.topology().digest()
        };
        let addresses = match self.before.as_ref().filter(same_topology) {
            Some(before) => Arc::clone(&before.addresses),
            None => Arc::new(NodeAddresses::new(snapshot.topology())),
        };
        let copied = Arc::new(Copied {
            policy_digest: edition.policy().digest().short(),
            snapshot,
            addresses,
            revision: told.revision,
            candidate_buckets: told.candidate_buckets,
            is_limited: edition.policy().routing().has_limits(),
        });
        self.before = Some(Arc::clone(&copied));
        Ok(copied)
    }

    /// Compiles what is new.
    fn take_texts(&mut self, told: NewTexts) -> Result<(), CopyFault> {
        if told.policy.is_none() && told.topology.is_none() {
            return Ok(());
        }
        let known = self.edition.take();
        let texts = known.as_ref().map(Edition::texts).unwrap_or_default();
        let texts = Texts {
            policy: told.policy.map_or(texts.policy, Arc::from),
            topology: told.topology.map_or(texts.topology, Arc::from),
        };
        let names = Names::new(Which::Policy.name(), Which::Topology.name());
        let known = Known {
            reuse: known.as_ref(),
            was_in_force: true,
        };
        self.edition = Some(Edition::compile(&texts, &names, known)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
