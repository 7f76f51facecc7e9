//! Sites and their scores, each with its place in the decision.

use super::Context;
use crate::evaluate::{ScoredFor, Sharing, score_sites};
use crate::geo::distance::{chord_squared, distance_km};
use crate::model::{SiteIndex, names};
use crate::score::Terms;
use crate::signal::{Evidence, Standing};

/// A site and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SiteLine {
    /// The site.
    pub site: SiteIndex,
    /// From the client's cell, in km; `None` where nothing is known of the client's place, and the network term is not
    /// known either.
    pub distance_km: Option<f32>,
    /// The parts of what it is expected to cost: the best estimates.
    pub terms: Terms,
    /// What it is chosen by, in ms: the sum of the parts, held still.
    pub choice_ms: f32,
    /// What the parts rest on.
    pub evidence: TermEvidence,
    /// Its place in the decision.
    pub standing: SiteStanding,
    /// Nodes that could be named there.
    pub admitted_nodes: usize,
}

/// What the terms of a site rest on; cost and bias are the policy's word.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TermEvidence {
    /// For the network term.
    pub network: Evidence,
    /// For the service term.
    pub service: Evidence,
    /// For the queue term.
    pub queue: Evidence,
    /// For the miss term.
    pub miss: Evidence,
    /// For the error term.
    pub error: Evidence,
}

impl TermEvidence {
    /// Each with the name of its term.
    pub fn named(&self) -> [(&'static str, Evidence); 5] {
        let Self {
            network,
            service,
            queue,
            miss,
            error,
        } = *self;
        [
            ("network", network),
            ("service", service),
            ("queue", queue),
            ("miss", miss),
            ("error", error),
        ]
    }
}

/// A site's place in the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SiteStanding {
    /// The key was ranked over its nodes.
    InScope,
    /// Shares clients like this one with the chosen one: too little is known of its place to tell them apart.
    Sharing,
    /// Could stand in when the chosen one fails.
    Fallback,
    /// Further behind the best than the bound allows.
    TooFar,
    /// No node of it could be named.
    NoNode,
}

names! { SiteStanding {
    InScope = "in_scope",
    Sharing = "sharing",
    Fallback = "fallback",
    TooFar = "too_far",
    NoNode = "no_node",
} }

impl Context<'_> {
    /// Every site of the tier with its score, best first, those without nodes last.
    pub(super) fn sites(&self) -> Vec<SiteLine> {
        let model = self.lane.routing().score();
        let signals = self.snapshot.signals();
        let parts = self.snapshot.parts();
        let located = &self.evaluation.located;
        let group = located.group();
        let moved = signals.network.of_group(group);
        let scored_for = ScoredFor {
            plan: self.plan,
            located,
            expected_gb: self.evaluation.expected_gb,
            lane: self.evaluation.lane,
        };
        let scores = score_sites(self.snapshot, self.set, scored_for);
        let mut lines: Vec<SiteLine> = scores
            .iter()
            .zip(self.table.sites())
            .map(|(score, row)| {
                let chord = located
                    .spot
                    .map(|spot| chord_squared(spot.point, row.point));
                let measured = moved.iter().find(|measured| measured.site == row.site);
                let path = group.and_then(|group| signals.network.path(group, row.site));
                let known = self.lane.known_of(parts, self.plan.class_index, row.site);
                let standing = known.unwrap_or_else(|| Standing {
                    terms: model.standing_terms(row.site, &model.prior()),
                    ..Standing::default()
                });
                let network = measured.map_or_else(
                    || self.geographic_ms(row.site),
                    |measured| measured.network_ms,
                );
                let terms = Terms {
                    network: network * model.network_weight,
                    cost: model.cost_ms(row.price_usd_per_gb, self.evaluation.expected_gb),
                    ..standing.terms
                };
                let choice_ms = score.total_ms;
                let evidence = TermEvidence {
                    network: path.map_or_else(Evidence::default, |path| path.evidence),
                    service: standing.service,
                    queue: standing.queue,
                    miss: standing.miss,
                    error: standing.error,
                };
                let admitted_nodes = self
                    .roster
                    .segment(score.position)
                    .map_or(0, |segment| segment.len() as usize);
                SiteLine {
                    site: row.site,
                    distance_km: chord.map(distance_km),
                    terms,
                    choice_ms,
                    evidence,
                    standing: self.standing(row.site, choice_ms, admitted_nodes),
                    admitted_nodes,
                }
            })
            .collect();
        self.sort(&mut lines);
        lines
    }

    /// Best first, those without nodes last.
    fn sort(&self, lines: &mut [SiteLine]) {
        // Where sites share clients, their scores do not tell which of them was chosen.
        let group = |line: &SiteLine| match line.standing {
            SiteStanding::NoNode => 3,
            SiteStanding::InScope if self.sharing.is_some() => 0,
            SiteStanding::Sharing => 1,
            _ => 2,
        };
        lines.sort_by(|a, b| {
            group(a)
                .cmp(&group(b))
                .then(a.choice_ms.total_cmp(&b.choice_ms))
                .then(a.site.cmp(&b.site))
        });
    }

    /// What the way to a site takes by its length, in ms; 0 where nothing is known of the client's place.
    pub(super) fn geographic_ms(&self, site: SiteIndex) -> f32 {
        let located = &self.evaluation.located;
        let model = self.lane.routing().score();
        located.spot.map_or(0.0, |spot| {
            let chord = chord_squared(spot.point, self.snapshot.topology().site(site).point);
            model.mean_geographic_ms(chord, located.place.radius)
        })
    }

    fn standing(&self, site: SiteIndex, total_ms: f32, admitted_nodes: usize) -> SiteStanding {
        if admitted_nodes == 0 {
            SiteStanding::NoNode
        } else if self.evaluation.scope_sites().any(|scoped| scoped == site) {
            SiteStanding::InScope
        } else if self
            .sharing
            .is_some_and(|sharing| self.shares(sharing, site, total_ms))
        {
            SiteStanding::Sharing
        } else if total_ms > self.evaluation.reach_ms {
            SiteStanding::TooFar
        } else {
            SiteStanding::Fallback
        }
    }

    /// Whether a site with this score gets a share of clients like this one.
    pub(super) fn shares(&self, sharing: Sharing, site: SiteIndex, total_ms: f32) -> bool {
        sharing.includes(total_ms, self.snapshot.topology().site(site).country)
    }

    /// Sites within the spread that are one too many to share the key; a better one that gave the client away is none.
    /// Which sites are near the one that a shared client was given to is another question.
    pub(super) fn spread_cut(&self, sites: &[SiteLine]) -> usize {
        let Some(best) = self
            .evaluation
            .sites
            .first()
            .filter(|_| self.sharing.is_none())
        else {
            return 0;
        };
        let within = best.total_ms..=best.total_ms + self.plan.spread_ms;
        let cut = sites.iter().filter(|line| {
            let could_share =
                !matches!(line.standing, SiteStanding::InScope | SiteStanding::NoNode);
            could_share && within.contains(&line.choice_ms)
        });
        cut.count()
    }
}
