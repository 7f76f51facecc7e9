//! Nodes and their fate.

use super::{Context, SiteLine, SiteStanding};
use crate::model::{AdminState, NodeIndex, names};
use crate::rank;
use crate::signal::Admission;
use crate::topology::Node;

/// A node and its fate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeLine {
    /// The node.
    pub node: NodeIndex,
    /// Its weight in the race.
    pub weight: f32,
    /// Its time in the race, in 1/weight; the smallest wins. `None` outside the sites that share the key.
    pub race: Option<f32>,
    /// Its place in the answer, from 1.
    pub place: Option<usize>,
    /// Why it could not be named.
    pub eliminated: Option<Elimination>,
}

/// Why a node could not be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Elimination {
    /// The caller tried it already, or cannot use it.
    ExcludedByCaller,
    /// It has not done a purge of the object.
    PurgeBehind,
    /// Operators took it out of service.
    Maintenance,
    /// Operators let it run empty.
    Draining,
    /// It lacks a label that the rule requires.
    Capability,
    /// Its site stands outside the rule's fence.
    Geofence,
    /// Its breaker is open after failures.
    BreakerOpen,
    /// Its breaker is half open: it is tried with a slice of its keys, and this key is of another.
    Recovering,
    /// Probes say it is not well.
    Unhealthy,
    /// Its load is too high.
    Overloaded,
    /// Its site is further behind the best than the bound allows.
    TooFar,
}

names! { Elimination {
    ExcludedByCaller = "excluded_by_caller",
    PurgeBehind = "purge_behind",
    Maintenance = "maintenance",
    Draining = "draining",
    Capability = "capability",
    Geofence = "geofence",
    BreakerOpen = "breaker_open",
    Recovering = "recovering",
    Unhealthy = "unhealthy",
    Overloaded = "overloaded",
    TooFar = "too_far",
} }

impl Elimination {
    /// Why a node is left out that operators let take traffic.
    pub(super) fn by_verdict(admission: Admission) -> Self {
        match admission {
            Admission::Overloaded => Self::Overloaded,
            Admission::BreakerOpen => Self::BreakerOpen,
            Admission::Probing { .. } | Admission::Admitted => Self::Recovering,
            Admission::Unknown | Admission::Unhealthy => Self::Unhealthy,
        }
    }
}

impl Context<'_> {
    /// Every node of the pool: first those in the answer, then by their race.
    pub(super) fn nodes(&self, sites: &[SiteLine]) -> Vec<NodeLine> {
        let topology = self.snapshot.topology();
        let mut line_of_site = vec![None; topology.sites().len()];
        for line in sites {
            if let Some(place) = line_of_site.get_mut(line.site.get()) {
                *place = Some(line);
            }
        }
        let lines = self.members.iter().map(|node| {
            let site = line_of_site.get(topology.site_of(*node).get());
            self.node_line(*node, site.copied().flatten())
        });
        let mut lines: Vec<NodeLine> = lines.collect();
        let id = |line: &NodeLine| &topology.node(line.node).id;
        lines.sort_by(|a, b| {
            let place = |line: &NodeLine| line.place.unwrap_or(usize::MAX);
            let race = |line: &NodeLine| line.race.unwrap_or(f32::INFINITY);
            place(a)
                .cmp(&place(b))
                .then(race(a).total_cmp(&race(b)))
                .then_with(|| id(a).cmp(id(b)))
        });
        lines
    }

    fn node_line(&self, index: NodeIndex, site: Option<&SiteLine>) -> NodeLine {
        let node = self.snapshot.topology().node(index);
        let position = self.position_of(index, node);
        let in_scope = site.is_some_and(|line| line.standing == SiteStanding::InScope);
        let place = self
            .evaluation
            .picks
            .iter()
            .position(|pick| pick.node == index)
            .map(|at| at + 1);
        let ran = position.filter(|_| in_scope);
        NodeLine {
            node: index,
            weight: f32::from(node.capacity) * self.snapshot.signals().node(index).weight_factor,
            race: ran.map(|position| {
                rank::race_of(self.roster.columns(), position, self.evaluation.key)
            }),
            place,
            eliminated: if place.is_some() {
                None
            } else {
                self.elimination(index, node, site)
            },
        }
    }

    fn position_of(&self, index: NodeIndex, node: &Node) -> Option<u32> {
        let at = self
            .table
            .sites()
            .binary_search_by_key(&node.site, |row| row.site)
            .ok()?;
        let segment = self.roster.segment(u16::try_from(at).ok()?)?;
        self.roster.position_of(segment, index)
    }

    fn elimination(
        &self,
        index: NodeIndex,
        node: &Node,
        site: Option<&SiteLine>,
    ) -> Option<Elimination> {
        let demands = &self.plan.demands;
        let signals = self.snapshot.signals();
        let admitted = self.position_of(index, node).is_some();
        if !self.may_be_used(index) {
            Some(Elimination::ExcludedByCaller)
        } else if self.behind.contains(&index) {
            Some(Elimination::PurgeBehind)
        } else if !demands.capable(node) {
            Some(Elimination::Capability)
        } else if !demands.inside_fence(node, self.snapshot.topology()) {
            Some(Elimination::Geofence)
        } else if node.state == AdminState::Maintenance {
            Some(Elimination::Maintenance)
        } else if node.state == AdminState::Drain && !admitted {
            Some(Elimination::Draining)
        } else if !admitted {
            Some(Elimination::by_verdict(signals.node(index).admission))
        } else if site.is_some_and(|line| line.standing == SiteStanding::TooFar) {
            Some(Elimination::TooFar)
        } else {
            None
        }
    }
}
