//! What an edition says to one query.

use std::borrow::Cow;

use crate::decision::{CacheHint, Decision};
use crate::evaluate::{Evaluation, MatchedBy, Verdict, evaluate};
use crate::geo::place::{Asn, Country};
use crate::hash::{self, KeyHash};
use crate::model::{NodeIndex, RuleIndex};
use crate::policy::Rule;
use crate::query::Query;
use crate::snapshot::Snapshot;
use crate::topology::{Node, Site};

/// What an edition says to one query.
pub(super) struct Answer<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) query: &'a Query<'a>,
    pub(super) evaluation: Cow<'a, Evaluation>,
}

impl<'a> Answer<'a> {
    pub(super) fn of(snapshot: &'a Snapshot, query: &'a Query<'a>) -> Self {
        Self {
            snapshot,
            query,
            evaluation: Cow::Owned(evaluate(snapshot, query)),
        }
    }

    pub(super) fn decision(&self) -> Decision<'_> {
        Decision::new(self.snapshot, &self.evaluation)
    }

    /// The first node.
    pub(super) fn first(&self) -> Option<NodeIndex> {
        self.evaluation.picks.first().map(|pick| pick.node)
    }

    pub(super) fn node(&self) -> Option<&'a Node> {
        Some(self.snapshot.topology().node(self.first()?))
    }

    pub(super) fn site(&self) -> Option<&'a Site> {
        Some(self.snapshot.topology().site(self.node()?.site))
    }

    /// What the first node is expected to cost, in ms.
    pub(super) fn expected_ms(&self) -> Option<f32> {
        self.evaluation.picks.first()?.expected_ms
    }

    /// The rule that decided, by position.
    pub(super) fn rule_index(&self) -> Option<RuleIndex> {
        match self.evaluation.matched {
            MatchedBy::Rule(rule) => Some(rule),
            MatchedBy::Pool(_) | MatchedBy::Nothing => None,
        }
    }

    pub(super) fn rule(&self) -> Option<&'a Rule> {
        let rules = self.snapshot.lane(self.evaluation.lane).routing().rules();
        rules.get(self.rule_index()?.get())
    }

    pub(super) fn is_routed(&self) -> bool {
        self.evaluation.verdict == Verdict::Route
    }

    /// Whether the first node keeps the object, so that it is found there again.
    pub(super) fn is_kept(&self) -> bool {
        self.decision().cache_hint() == CacheHint::Store && !self.goes_to_origin()
    }

    /// Whether the first node is of the origin: no cache stands before it.
    pub(super) fn goes_to_origin(&self) -> bool {
        let decision = self.decision();
        let tier = decision.tier().filter(|_| self.is_routed());
        tier.is_some_and(|tier| decision.routing().node_set(tier.set).is_origin())
    }

    /// Whether a node is one of those that could be named first: of the tier that was looked in, as far as its nodes take
    /// traffic.
    pub(super) fn could_name(&self, node: NodeIndex) -> bool {
        let decision = self.decision();
        let (Some(tier), Some(stage)) = (decision.tier(), self.evaluation.stage) else {
            return false;
        };
        let table = decision.lane().table(tier.set);
        let roster = table.roster(stage.roster);
        let site = self.snapshot.topology().site_of(node);
        let found = table.sites().binary_search_by_key(&site, |row| row.site);
        let Some(at) = found.ok().and_then(|at| u16::try_from(at).ok()) else {
            return false;
        };
        let segments = [roster.segment(at), roster.probing(at)];
        let mut segments = segments.into_iter().flatten();
        segments.any(|segment| roster.position_of(segment, node).is_some())
    }

    /// Names the group of clients that the one who asks is of: those of a cell, else of a network, with the country and
    /// the operator that rules may ask for.
    pub(super) fn group(&self) -> KeyHash {
        let located = &self.evaluation.located;
        let place = &located.place;
        let spot = located.spot.filter(|_| !place.is_vague());
        let network = || {
            let network = self.query.client.network();
            network.map_or_else(Vec::new, |ip| ip.to_string().into_bytes())
        };
        let whereabouts = spot.map_or_else(network, |spot| spot.cell.id().to_le_bytes().into());
        let country = place.country.map(Country::letters);
        let asn = place.asn.map_or(0, Asn::get);
        hash::key(&[
            &whereabouts,
            &country.unwrap_or_default(),
            &asn.to_le_bytes(),
        ])
    }
}

/// Names the object that is asked for, as far as either edition tells it from others.
pub(super) fn object(before: &Answer<'_>, after: &Answer<'_>) -> KeyHash {
    let [old, new] = [before, after].map(|answer| answer.evaluation.key);
    if old == new || !after.is_routed() {
        old
    } else if before.is_routed() {
        old.then(&new.0.to_le_bytes())
    } else {
        new
    }
}
