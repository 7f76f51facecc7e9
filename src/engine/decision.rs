//! What the proxy gets: a view of an [`Evaluation`], without a copy.

use super::evaluate::{Evaluation, MatchedBy, Pick, Reason, Role, Rung, Verdict};
use super::geo::place::{Confidence, Source};
use super::model::names;
use super::policy::{Affinity, Plan, Policy};
use super::snapshot::{GeoState, Snapshot};
use super::topology::{Node, Site};

/// An answer. It borrows the snapshot it was decided on.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    snapshot: &'a Snapshot,
    evaluation: &'a Evaluation,
}

/// A node to use, with all a proxy needs to know of it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its site.
    pub site: &'a Site,
    /// The name of its site's tier.
    pub tier: &'a str,
    /// What its site is expected to cost this client, in ms; `None` where that is not known.
    pub expected_ms: Option<f32>,
    /// How long to wait for it, in ms.
    pub attempt_timeout_ms: u32,
    /// Why it is listed.
    pub role: Role,
}

/// Whether the first node is the one that an undisturbed fleet would give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purity {
    /// It is.
    Pure,
    /// A node or site with too much load gave the request to the next.
    Spilled,
    /// One of several nodes that carry a hot key, or share a pool without affinity.
    Hot,
    /// The caller can not use the one that it would be, and gets the first of those that it can.
    Restricted,
    /// A rung of the degradation ladder, or the absence of geo data, decided otherwise.
    Degraded,
}

/// Something an operator should know of how an answer came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// The client's place is known to a country or a wide region only.
    LowConfidenceLocation,
    /// Nothing but the client's country is known; it is taken to be where that country's people are.
    CountryOnly,
    /// Nothing is known of the client's place; the sidecar's own stands in.
    HereLocation,
    /// Nothing is known of the client's place; the policy's default stands in.
    DefaultLocation,
    /// Nothing is known of the client's place, and nothing stands in: all sites share such clients.
    UnknownLocation,
    /// A geo file is missing or was refused.
    GeoDegraded,
    /// This sidecar seems cut off from the fleet: it goes by what it knew before.
    Isolated,
}

/// What the proxy should do with the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheHint {
    /// Its owner keeps it.
    Store,
    /// It is of no use in a cache.
    Bypass,
}

names! { Purity {
    Pure = "pure",
    Spilled = "spilled",
    Hot = "hot",
    Restricted = "restricted",
    Degraded = "degraded",
} }

names! { Note {
    LowConfidenceLocation = "low_confidence_location",
    CountryOnly = "country_only",
    HereLocation = "here_location",
    DefaultLocation = "default_location",
    UnknownLocation = "unknown_location",
    GeoDegraded = "geo_degraded",
    Isolated = "isolated",
} }

names! { CacheHint {
    Store = "store",
    Bypass = "bypass",
} }

impl<'a> Decision<'a> {
    /// The view of `evaluation`, which was made from `snapshot`.
    pub fn new(snapshot: &'a Snapshot, evaluation: &'a Evaluation) -> Self {
        Self {
            snapshot,
            evaluation,
        }
    }

    /// What it is a view of.
    pub fn evaluation(&self) -> &'a Evaluation {
        self.evaluation
    }

    /// The snapshot it was decided on.
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// The nodes to use, in order; empty when the verdict is to refuse.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate<'a>> + use<'a> {
        let snapshot = self.snapshot;
        let attempt_timeout_ms = self.plan().map_or(0, |plan| plan.attempt_timeout_ms);
        self.evaluation
            .picks
            .iter()
            .map(move |pick| candidate(snapshot, pick, attempt_timeout_ms))
    }

    /// The name of the rule that decided; empty when none did.
    pub fn rule_name(&self) -> &'a str {
        match self.evaluation.matched {
            MatchedBy::Rule(rule) => self
                .policy()
                .rules()
                .get(rule.get())
                .map_or("", |rule| &rule.name),
            MatchedBy::Pool(_) | MatchedBy::Nothing => "",
        }
    }

    /// The name of the pool that the first node was looked for in; empty when the verdict is to refuse.
    pub fn pool_name(&self) -> &'a str {
        let tier = self
            .plan()
            .and_then(|plan| plan.tiers.get(usize::from(self.evaluation.tier)));
        tier.map_or("", |tier| self.policy().pool_name(tier.pool))
    }

    /// The plan that was followed.
    pub fn plan(&self) -> Option<&'a Plan> {
        match self.evaluation.matched {
            MatchedBy::Rule(rule) => self.policy().rules().get(rule.get()).map(|rule| &rule.plan),
            MatchedBy::Pool(pool) => self.policy().pools().get(pool.get()).map(|pool| &pool.plan),
            MatchedBy::Nothing => None,
        }
    }

    /// The policy it was decided by.
    pub fn policy(&self) -> &'a Policy {
        self.snapshot.policy()
    }

    /// Whether the first node is the one that an undisturbed fleet would give.
    pub fn purity(&self) -> Purity {
        let guessed = self.evaluation.located.place.source.is_guess();
        let blind = guessed && self.snapshot.geo_state() == GeoState::Degraded;
        if self.evaluation.rung != Rung::Normal || blind || self.snapshot.signals().isolated {
            return Purity::Degraded;
        }
        match self.evaluation.reason {
            Reason::Spilled | Reason::SiteSpilled => Purity::Spilled,
            Reason::HotCopy | Reason::LessLoaded => Purity::Hot,
            Reason::Restricted => Purity::Restricted,
            _ => Purity::Pure,
        }
    }

    /// What an operator should know of how the answer came about.
    pub fn notes(&self) -> impl Iterator<Item = Note> + use<> {
        let place = &self.evaluation.located.place;
        let is_vague = !place.source.is_guess() && place.confidence() == Confidence::Low;
        let notes = [
            (is_vague, Note::LowConfidenceLocation),
            (place.is_country_only, Note::CountryOnly),
            (place.source == Source::Here, Note::HereLocation),
            (place.source == Source::Default, Note::DefaultLocation),
            (place.source == Source::Nowhere, Note::UnknownLocation),
            (
                self.snapshot.geo_state() == GeoState::Degraded,
                Note::GeoDegraded,
            ),
            (self.snapshot.signals().isolated, Note::Isolated),
        ];
        notes
            .into_iter()
            .filter(|(holds, _)| *holds)
            .map(|(_, note)| note)
    }

    /// How long the answer may be reused, in ms.
    pub fn ttl_ms(&self) -> u32 {
        let routed = self.evaluation.verdict == Verdict::Route;
        self.plan().filter(|_| routed).map_or(0, |plan| plan.ttl_ms)
    }

    /// What the proxy should do with the object.
    pub fn cache_hint(&self) -> CacheHint {
        let tier = self
            .plan()
            .and_then(|plan| plan.tiers.get(usize::from(self.evaluation.tier)));
        match tier.map(|tier| tier.affinity) {
            Some(Affinity::Key) => CacheHint::Store,
            Some(Affinity::Client | Affinity::None) | None => CacheHint::Bypass,
        }
    }
}

fn candidate<'a>(snapshot: &'a Snapshot, pick: &Pick, attempt_timeout_ms: u32) -> Candidate<'a> {
    let topology = snapshot.topology();
    let node = topology.node(pick.node);
    let site = topology.site(node.site);
    let tier = topology.tier_name(site.tier);
    Candidate {
        node,
        site,
        tier,
        expected_ms: pick.expected_ms,
        attempt_timeout_ms,
        role: pick.role,
    }
}
