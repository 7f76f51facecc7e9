//! What would change the answer, in numbers that somebody could change.
//!
//! Each sentence is a promise: change the number by what it says, and a little more, and it happens; by a little less, and
//! it does not (`tests/flips.rs`). Where no number decides, nothing is said.

use super::{Context, NodeLine, SiteLine, SiteStanding};
use crate::evaluate::{MAX_SCORED_SITES, ScoredSite, Sharing};
use crate::model::{NodeIndex, SiteIndex};

/// What would change the answer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Flips {
    /// The site that would be the best one if the best were slower. None where sites share the client: then a hash
    /// decides among them; and for a node that asks for its parent: then operators do.
    pub runner_up: Option<RunnerUp>,
    /// The site that would share the key, or clients like this one, if it were faster. None where it would have to be the
    /// best.
    pub joiner: Option<Joiner>,
    /// Among sites that share the client, the one that would come first if it weighed more.
    pub next_sharer: Option<NextSharer>,
    /// The second node in the key's order, and what would make it the first.
    pub second_node: Option<SecondNode>,
}

/// The second best site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunnerUp {
    /// The site.
    pub site: SiteIndex,
    /// It would be the best if the best were slower by this, in ms.
    pub flip_ms: f32,
}

/// The nearest site to a share in something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Joiner {
    /// The site.
    pub site: SiteIndex,
    /// It would share if it were faster by this, in ms.
    pub join_ms: f32,
}

/// The second in the race of sites for a client that they share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NextSharer {
    /// The site.
    pub site: SiteIndex,
    /// It would come first if its weight were larger by this factor.
    pub flip_weight_ratio: f32,
}

/// The node behind the owner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SecondNode {
    /// The node.
    pub node: NodeIndex,
    /// It would own the key if its weight were larger by this factor.
    pub flip_weight_ratio: f32,
}

/// Scores nearer than this, in ms, are as good as equal: sums are rounded.
const ROUNDING_MS: f32 = 0.01;

impl Context<'_> {
    /// All that would change the answer; `sites` and `nodes` are those of the explanation, none left out.
    pub(super) fn flips(&self, sites: &[SiteLine], nodes: &[NodeLine]) -> Flips {
        let Some(best) = self.evaluation.sites.first().copied() else {
            return Flips::default();
        };
        let (runner_up, joiner, next_sharer) = match self.sharing {
            _ if self.is_for_child => (None, None, None),
            None => (self.runner_up(best, sites), self.joiner(best, sites), None),
            Some(sharing) => (
                None,
                self.joining_sharer(sharing, sites),
                self.next_sharer(sharing, best, sites),
            ),
        };
        Flips {
            runner_up,
            joiner,
            next_sharer,
            second_node: self.second_node(nodes),
        }
    }

    /// A better site than the best has given the client away.
    fn is_given_away(&self, best: ScoredSite) -> bool {
        let scope = usize::from(self.evaluation.scope);
        let given = self.evaluation.sites.get(scope);
        self.sharing.is_none() && given.is_some_and(|site| site.total_ms < best.total_ms)
    }

    fn runner_up(&self, best: ScoredSite, sites: &[SiteLine]) -> Option<RunnerUp> {
        let is_other = |line: &&SiteLine| {
            let is_behind = line.choice_ms > best.total_ms - ROUNDING_MS;
            line.standing != SiteStanding::NoNode && line.site != best.site && is_behind
        };
        let total = |line: &&SiteLine| line.choice_ms;
        let others = sites.iter().filter(is_other);
        let other =
            others.min_by(|a, b| total(a).total_cmp(&total(b)).then(a.site.cmp(&b.site)))?;
        // A site gives clients to the next best only if that takes them.
        let known = self.snapshot.signals().site(other.site);
        let takes = known.spill == 0 && known.full == 0;
        (takes || !self.is_given_away(best)).then(|| RunnerUp {
            site: other.site,
            flip_ms: (other.choice_ms - best.total_ms).max(0.0),
        })
    }

    fn joiner(&self, best: ScoredSite, sites: &[SiteLine]) -> Option<Joiner> {
        if self.plan.spread_ms <= 0.0 {
            return None;
        }
        let given_away = self.is_given_away(best);
        let places = MAX_SCORED_SITES - usize::from(given_away);
        let scope = usize::from(self.evaluation.scope);
        let limit_ms = match self.evaluation.sites.get(scope.saturating_sub(1)) {
            // The last of them would have to go for it.
            Some(last) if scope >= places => last.total_ms,
            _ => best.total_ms + self.plan.spread_ms,
        };
        let is_outside = |line: &&SiteLine| {
            let is_out = !matches!(line.standing, SiteStanding::InScope | SiteStanding::NoNode);
            is_out && line.choice_ms >= limit_ms
        };
        nearest_to(limit_ms, sites.iter().filter(is_outside))
    }

    /// Of sites that share clients like this one only those of the same kind: the country counts before the distance.
    fn joining_sharer(&self, sharing: Sharing, sites: &[SiteLine]) -> Option<Joiner> {
        let place = &self.evaluation.located.place;
        let own = place.country.filter(|_| place.is_country_only);
        let is_alike = |line: &&SiteLine| {
            let country = self.snapshot.topology().site(line.site).country;
            let is_own = own.is_some() && country == own;
            is_own == sharing.country.is_some()
        };
        let is_outside = |line: &&SiteLine| {
            let is_out = !matches!(
                line.standing,
                SiteStanding::InScope | SiteStanding::Sharing | SiteStanding::NoNode
            );
            is_out && line.choice_ms > sharing.limit_ms
        };
        let others = sites.iter().filter(is_outside).filter(is_alike);
        nearest_to(sharing.limit_ms, others)
    }

    fn next_sharer(
        &self,
        sharing: Sharing,
        best: ScoredSite,
        sites: &[SiteLine],
    ) -> Option<NextSharer> {
        let client = self.evaluation.shared?.by;
        let race = |site: SiteIndex| {
            let rows = self.table.sites();
            let at = rows.binary_search_by_key(&site, |row| row.site).ok()?;
            Some(self.roster.site_race(u16::try_from(at).ok()?, client))
        };
        let first = race(best.site)?;
        let shares = |line: &&SiteLine| {
            let is_other = line.site != best.site && line.standing != SiteStanding::NoNode;
            is_other && self.shares(sharing, line.site, line.choice_ms)
        };
        let others = sites.iter().filter(shares);
        let others = others.filter_map(|line| Some((race(line.site)?, line.site)));
        let (second, site) =
            others.min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)))?;
        // One that was before it has given the client away.
        (second >= first).then(|| NextSharer {
            site,
            flip_weight_ratio: second / first,
        })
    }

    /// The second of those that ran at the chosen sites and could be named; the list itself may put another before it, so
    /// that it has two sites.
    fn second_node(&self, nodes: &[NodeLine]) -> Option<SecondNode> {
        let id = |node| &self.snapshot.topology().node(node).id;
        let could = nodes
            .iter()
            .filter(|line| line.place.is_some() || line.eliminated.is_none());
        let mut runners: Vec<(f32, NodeIndex)> = could
            .filter_map(|line| Some((line.race?, line.node)))
            .collect();
        runners.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| id(a.1).cmp(id(b.1))));
        let (first, second) = (runners.first()?, runners.get(1)?);
        // More weight for the node is more weight for its site, and sites race for a client that they share: then others
        // may come to share the key.
        let site = |node| self.snapshot.topology().site_of(node);
        let is_alone = self.sharing.is_none() || site(first.1) == site(second.1);
        is_alone.then(|| SecondNode {
            node: second.1,
            flip_weight_ratio: second.0 / first.0,
        })
    }
}

/// The site that lies the least above a limit.
fn nearest_to<'l>(limit_ms: f32, sites: impl Iterator<Item = &'l SiteLine>) -> Option<Joiner> {
    let total = |line: &&SiteLine| line.choice_ms;
    let nearest = sites.min_by(|a, b| total(a).total_cmp(&total(b)).then(a.site.cmp(&b.site)))?;
    Some(Joiner {
        site: nearest.site,
        join_ms: nearest.choice_ms - limit_ms,
    })
}
