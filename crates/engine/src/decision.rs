//! What the proxy gets: a view of an [`Evaluation`], without a copy.

use super::evaluate::{Evaluation, MatchedBy, Pick, Reason, Role, Rung, Verdict};
use super::freshness::lifetime::{Chosen, Pace};
use super::freshness::object::Object;
use super::freshness::{Fresh, Versions};
use super::geo::place::{Confidence, Source};
use super::hash::KeyHash;
use super::model::names;
use super::policy::{Affinity, Lifetime, Plan, PlanTier, RateLimit, Routing};
use super::query::Query;
use super::request::host::{HostRoom, normal_host};
use super::signal::observation::{DecisionNumber, Dispatch, Named};
use super::snapshot::{GeoState, Lane, Snapshot};
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
    /// The caller cannot use the one that it would be, or has tried it, and gets the first of those that are left.
    Restricted,
    /// The one that it would be is out, or counts for less than its capacity.
    Moved,
    /// What was measured of sites, or of the ways to them, speaks for another site; or another one is tried.
    Steered,
    /// A rung of the degradation ladder decided otherwise; or this sidecar is blind or cut off, and cannot tell.
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
    Moved = "moved",
    Steered = "steered",
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

    /// The nodes to use, in order; empty unless the verdict is to route.
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
                .routing()
                .rules()
                .get(rule.get())
                .map_or("", |rule| &rule.name),
            MatchedBy::Pool(_) | MatchedBy::Nothing => "",
        }
    }

    /// The name of the pool that the first node was looked for in; empty when no plan was followed.
    pub fn pool_name(&self) -> &'a str {
        let tier = self.tier();
        tier.map_or("", |tier| self.routing().pool_name(tier.pool))
    }

    /// The step of the plan that the first node was looked for in; `None` when no plan was followed.
    pub fn tier(&self) -> Option<&'a PlanTier> {
        let stage = self.evaluation.stage?;
        self.plan()?.tiers.get(usize::from(stage.tier))
    }

    /// The plan that was followed.
    pub fn plan(&self) -> Option<&'a Plan> {
        match self.evaluation.matched {
            MatchedBy::Rule(rule) => self
                .routing()
                .rules()
                .get(rule.get())
                .map(|rule| &rule.plan),
            MatchedBy::Pool(pool) => self
                .routing()
                .pools()
                .get(pool.get())
                .map(|pool| &pool.plan),
            MatchedBy::Nothing => None,
        }
    }

    /// What the control loop is told of it; `None` of one that names no node.
    #[inline]
    pub fn dispatch(&self, number: DecisionNumber) -> Option<Dispatch> {
        let evaluation = self.evaluation;
        if evaluation.verdict != Verdict::Route {
            return None;
        }
        let (lane, plan) = (self.lane(), self.plan()?);
        Some(Dispatch {
            number,
            generation: self.snapshot.generation(),
            lane: evaluation.lane,
            key: evaluation.key,
            set: lane.numbered().set(self.tier()?.set),
            site: evaluation.sites.first()?.site,
            node: evaluation.picks.first()?.node,
            group: evaluation.located.group(),
            class: lane.class(plan.class_index),
            priority: plan.priority,
            hot: evaluation.reason == Reason::HotCopy,
            named: Named::new(evaluation.picks.iter().map(|pick| pick.node)),
            is_reusable: plan.ttl_ms > 0,
            is_trial: evaluation.reason == Reason::Trial,
        })
    }

    /// The lane that decided.
    #[inline]
    pub fn lane(&self) -> &'a Lane {
        self.snapshot.lane(self.evaluation.lane)
    }

    /// The routing it was decided by.
    pub fn routing(&self) -> &'a Routing {
        self.lane().routing()
    }

    /// Whether the first node is the one that an undisturbed fleet would give: [`Evaluation::home`].
    pub fn purity(&self) -> Purity {
        let evaluation = self.evaluation;
        let guessed = evaluation.located.place.source.is_guess();
        let blind = guessed && self.snapshot.geo_state() == GeoState::Degraded;
        if evaluation.rung >= Rung::Shed || blind || self.snapshot.signals().isolated {
            return Purity::Degraded;
        }
        let first = evaluation.picks.first().map(|pick| pick.node);
        // Where a rule refuses, or none matches, there is neither: an undisturbed fleet would refuse as well.
        if first == evaluation.home {
            return Purity::Pure;
        }
        if evaluation.rung != Rung::Normal {
            return Purity::Degraded;
        }
        match evaluation.reason {
            Reason::Spilled | Reason::SiteSpilled => Purity::Spilled,
            Reason::HotCopy | Reason::LessLoaded => Purity::Hot,
            Reason::Restricted | Reason::OwnerTried | Reason::SiteTried => Purity::Restricted,
            Reason::Steered | Reason::Trial => Purity::Steered,
            _ => Purity::Moved,
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

    /// How many of the nodes may be tried; `None` for all of them.
    pub fn max_attempts(&self) -> Option<u8> {
        self.evaluation.is_tried_once.then_some(1)
    }

    /// The limits that the request counts for, and what it is counted by. `query` is what was decided.
    pub fn limits(&self, query: &Query<'_>) -> Vec<(&'a RateLimit, KeyHash)> {
        let mut room = HostRoom::new();
        let host = normal_host(query.host, &mut room);
        let routing = self.routing();
        let plans = self.plan().into_iter();
        let limits = plans.flat_map(|plan| routing.limits_of(plan));
        limits
            .map(|limit| (limit, limit.key(query, host)))
            .collect()
    }

    /// What may be served of the object that was asked for, by these versions. `query` is what was decided. Nobody is told of what
    /// is not served.
    pub fn fresh(&self, versions: &Versions, query: &Query<'_>) -> Fresh {
        let routed = self.evaluation.verdict == Verdict::Route;
        let Some(plan) = self.plan().filter(|_| routed) else {
            return Fresh::default();
        };
        let with_tags = versions.has_tags();
        on_object((plan, with_tags), query, |object| versions.look_up(object))
    }

    /// The hashes of everything that a purge of which would cover the object; none where no plan was followed.
    pub fn covering(&self, query: &Query<'_>) -> Vec<KeyHash> {
        let plan = self.plan();
        plan.map_or_else(Vec::new, |plan| {
            on_object((plan, true), query, |object| object.covering().collect())
        })
    }

    /// What may be served of the object if it were of this namespace, and the hashes of everything that a purge of which would
    /// cover it then: for those who look, whatever becomes of the request.
    pub fn seen_in(
        &self,
        namespace: &str,
        versions: Option<&Versions>,
        query: &Query<'_>,
    ) -> (Fresh, Vec<KeyHash>) {
        let Some(plan) = self.plan() else {
            return (Fresh::default(), Vec::new());
        };
        let tags = plan.freshness.tags_in(namespace, query.path);
        let mut room = HostRoom::new();
        let object = Object {
            host: normal_host(query.host, &mut room),
            path: query.path,
            query: query.query_string,
            namespace,
            tags: &tags,
        };
        let fresh = versions.map_or_else(Fresh::default, |versions| versions.look_up(&object));
        (fresh, object.covering().collect())
    }

    /// The content class that its rule says the object is of; empty for none.
    pub fn class(&self) -> &'a str {
        let class = self.plan().and_then(|plan| plan.class.as_deref());
        class.unwrap_or_default()
    }

    /// The namespace that its rule puts the object in; empty for none.
    pub fn namespace(&self) -> &'a str {
        self.plan().map_or("", |plan| &plan.freshness.namespace)
    }

    /// How long caches may keep the object, in ms; `None` for what its origin says.
    pub fn cache_ttl_ms(&self) -> Option<u32> {
        let routed = self.evaluation.verdict == Verdict::Route;
        let plan = self.plan().filter(|_| routed)?;
        match plan.freshness.lifetime {
            Lifetime::Origin => None,
            Lifetime::Fixed(ms) => Some(ms),
            Lifetime::Adaptive(adaptive) => Some(adaptive.ttl_ms(self.pace(plan))),
        }
    }

    /// Why caches may keep the object for so long, where that follows how often it changes.
    pub fn lifetime(&self) -> Option<Chosen> {
        let routed = self.evaluation.verdict == Verdict::Route;
        let plan = self.plan().filter(|_| routed)?;
        match plan.freshness.lifetime {
            Lifetime::Origin | Lifetime::Fixed(_) => None,
            Lifetime::Adaptive(adaptive) => Some(Chosen {
                adaptive,
                pace: self.pace(plan),
            }),
        }
    }

    /// How often what is asked for of a plan's class changes.
    fn pace(&self, plan: &Plan) -> Pace {
        let lane = self.snapshot.lane(self.evaluation.lane);
        self.snapshot.signals().pace(lane.class(plan.class_index))
    }

    /// How long the answer may be reused, in ms.
    pub fn ttl_ms(&self) -> u32 {
        let routed = self.evaluation.verdict == Verdict::Route;
        self.plan().filter(|_| routed).map_or(0, |plan| plan.ttl_ms)
    }

    /// What the proxy should do with the object.
    pub fn cache_hint(&self) -> CacheHint {
        let is_routed = self.evaluation.verdict == Verdict::Route;
        match self.tier().filter(|_| is_routed).map(|tier| tier.affinity) {
            Some(Affinity::Key) => CacheHint::Store,
            Some(Affinity::Client | Affinity::None) | None => CacheHint::Bypass,
        }
    }
}

/// What a request of a plan asks for, as purges name it.
fn on_object<T>(
    (plan, with_tags): (&Plan, bool),
    query: &Query<'_>,
    ask: impl FnOnce(&Object<'_>) -> T,
) -> T {
    let mut room = HostRoom::new();
    let freshness = &plan.freshness;
    let tags = with_tags.then(|| freshness.tags(query.path));
    ask(&Object {
        host: normal_host(query.host, &mut room),
        path: query.path,
        query: query.query_string,
        namespace: &freshness.namespace,
        tags: tags.as_deref().unwrap_or_default(),
    })
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
