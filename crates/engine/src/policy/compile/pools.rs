//! Pools resolved to nodes: which belong to one, and which of those meet what a rule demands.

use super::super::conditions;
use super::super::document::{Affinity, PoolDocument, RuleDocument};
use super::super::limits::MAX_NODE_SETS;
use super::super::node_set::{self, Demands, NodeSet, SetIndex};
use super::super::{PlanTier, Pool, Reclaim, reclaim};
use super::{Compiler, plan};
use crate::document::{Code, Path};
use crate::model::{NodeIndex, PoolIndex};

impl Compiler<'_, '_> {
    /// Checks every pool; answers them with their plans.
    pub(super) fn pools(&mut self, path: &Path<'_>) -> Vec<Pool> {
        let documents = &self.document.spec.pools;
        if documents.is_empty() && self.checker.is_whole(path) {
            let help = "name at least one set of nodes";
            self.checker
                .error(Code::P002, path, "no pool".to_owned(), help);
        }
        let mut pools = Vec::new();
        for (index, document) in documents.iter().enumerate() {
            let path = path.index(index);
            self.checker
                .id(Code::P004, &path.field("name"), &document.name);
            if documents
                .iter()
                .take(index)
                .any(|other| other.name == document.name)
            {
                self.twice(&path.field("name"), "pool", &document.name);
            }
            let members = self.select(&path.field("select"), document);
            self.pool_members.push(members);
            let demands = Demands::default();
            let tier = self.tier(&path, (index, document.affinity), Some(&demands));
            let defaults = RuleDocument::default();
            let plan = plan(
                &self.document.spec,
                &defaults,
                (tier.into_iter().collect(), demands),
                &[],
            );
            let copies = f64::from(document.spread.max_copies);
            let copies_path = path.field("spread");
            let copies_path = copies_path.field("max_copies");
            self.checker
                .in_range(Code::P006, &copies_path, copies, &(1.0..=24.0));
            if let Some(factor) = document.hash_balance_factor {
                let path = path.field("hash_balance_factor");
                self.checker
                    .in_range(Code::P006, &path, factor, &(101.0..=1_000.0));
            }
            reclaim::check(self.checker, &path, document);
            // Without its nodes it is refused, and the policy with it.
            pools.extend(tier.map(|tier| Pool {
                name: document.name.as_str().into(),
                tier,
                plan,
                balance_factor: document.hash_balance_factor.map(|percent| percent / 100.0),
                reclaim: Reclaim::of(document),
            }));
        }
        pools
    }

    /// The nodes of a pool; `None` when what selects them is refused.
    fn select(&mut self, path: &Path<'_>, document: &PoolDocument) -> Option<Vec<NodeIndex>> {
        let topology = self.topology?;
        let select = &document.select;
        let before = self.checker.errors();
        let tier = select.tier.as_ref();
        let tiers = topology.tier_names();
        if let Some(tier) = tier.filter(|tier| !tiers.has(tier)) {
            let path = path.field("tier");
            self.checker.unknown_name(Code::P008, &path, &tiers, tier);
        }
        let sites_path = path.field("sites");
        conditions::check_not_empty(self.checker, &sites_path, select.sites.len());
        let mut sites = Vec::new();
        for (k, name) in select.sites.iter().enumerate() {
            if let Some(site) = topology.find_site(name) {
                sites.push(site);
            } else {
                let names = topology.site_names();
                self.checker
                    .unknown_name(Code::P008, &sites_path.index(k), &names, name);
            }
        }
        if self.checker.errors() > before || !self.checker.is_whole(path) {
            return None;
        }
        let members: Vec<NodeIndex> = topology
            .indexed_nodes()
            .filter(|(_, node)| {
                let site = topology.site(node.site);
                tier.is_none_or(|tier| topology.tier_name(site.tier) == tier)
                    && (select.sites.is_empty() || sites.contains(&node.site))
                    && node_set::has_labels(&node.labels, &select.labels)
            })
            .map(|(index, _)| index)
            .collect();
        if members.is_empty() {
            let help = format!(
                "a pool without nodes could never answer; compare tier, sites and labels with `{}`",
                topology.file()
            );
            let message = format!("the pool `{}` selects no node", document.name);
            self.checker.error(Code::P009, path, message, &help);
        }
        Some(members)
    }

    /// One step of a plan: a pool under demands, if those are known.
    pub(super) fn tier(
        &mut self,
        path: &Path<'_>,
        (pool, affinity): (usize, Affinity),
        demands: Option<&Demands>,
    ) -> Option<PlanTier> {
        let demands = demands?;
        let same =
            |(known, asked, _): &&(usize, Demands, SetIndex)| *known == pool && asked == demands;
        let known = self.known_sets.iter().find(same).map(|(_, _, set)| *set);
        let set = known.or_else(|| {
            let set = self.new_set(path, pool, demands)?;
            self.known_sets.push((pool, demands.clone(), set));
            Some(set)
        })?;
        Some(PlanTier {
            pool: PoolIndex(u16::try_from(pool).ok()?),
            set,
            affinity,
        })
    }

    /// The nodes of a pool that meet demands; one set for all who ask for the same nodes.
    fn new_set(&mut self, path: &Path<'_>, pool: usize, demands: &Demands) -> Option<SetIndex> {
        let topology = self.topology?;
        let members = self.pool_members.get(pool)?.as_ref()?;
        if members.is_empty() {
            return None;
        }
        let meets = |node: &NodeIndex| {
            let node = topology.node(*node);
            demands.capable(node) && demands.inside_fence(node, topology)
        };
        let admitted: Vec<NodeIndex> = members.iter().copied().filter(meets).collect();
        if admitted.is_empty() {
            let message = "a pool of this rule is left without nodes".to_owned();
            let help = format!(
                "its `require` and `geofence` leave no node of this pool; compare them with `{}`",
                topology.file()
            );
            self.checker.error(Code::P009, path, message, &help);
            return None;
        }
        let set = NodeSet::new(admitted, topology);
        let known = self.sets.iter().position(|other| *other == set);
        let position = known.unwrap_or(self.sets.len());
        if position >= MAX_NODE_SETS {
            let message = format!("more than {MAX_NODE_SETS} distinct sets of nodes");
            let help = "let rules share pools, `require` and `geofence`";
            self.checker.error(Code::P001, path, message, help);
            return None;
        }
        if known.is_none() {
            self.sets.push(set);
        }
        u16::try_from(position).ok().map(SetIndex)
    }
}
