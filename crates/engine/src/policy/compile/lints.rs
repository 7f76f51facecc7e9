//! What can be used as it is and is most likely not meant so: pools that one failure takes away, weights that move nothing.

use std::collections::BTreeSet;

use super::super::document::ScoreDocument;
use super::Compiler;
use crate::document::{Code, Path};
use crate::model::{NodeIndex, SiteIndex};
use crate::topology::Topology;

/// Labels by which fleets say what fails together.
const DOMAIN_LABELS: &[&str] = &["zone", "failure_domain", "topology.kubernetes.io/zone"];

impl Compiler<'_, '_> {
    /// Warns of what is most likely not meant. `spec` is the path of the section.
    pub(super) fn lint(&mut self, spec: &Path<'_>) {
        let Some(topology) = self.topology else {
            return;
        };
        self.lint_domains(&spec.field("pools"), topology);
        self.lint_price(&spec.field("score"), topology);
        self.lint_bias(&spec.field("score"), topology);
    }

    /// Pools that fail as a whole. The origin is one by nature, and where all nodes stand at one site there is no choice.
    fn lint_domains(&mut self, path: &Path<'_>, topology: &Topology) {
        let sites: BTreeSet<SiteIndex> = topology.nodes().iter().map(|node| node.site).collect();
        if sites.len() < 2 {
            return;
        }
        let document = self.document;
        for (index, pool) in document.spec.pools.iter().enumerate() {
            let members = self.pool_members.get(index).and_then(Option::as_ref);
            let Some(members) = members.filter(|members| !is_origin(members, topology)) else {
                continue;
            };
            if let Some(domain) = only_domain(members, topology) {
                let message = format!("all nodes of the pool `{}` {domain}", pool.name);
                let help = "what fails there takes away the whole pool; select nodes of another site or zone too";
                self.checker
                    .warning(Code::P048, &path.index(index), message, help);
            }
        }
    }

    /// A cost term that is the same at every site.
    fn lint_price(&mut self, path: &Path<'_>, topology: &Topology) {
        let ScoreDocument { cost, .. } = &self.document.spec.score;
        if cost.weight <= 0.0 || cost.ms_per_usd <= 0.0 {
            return;
        }
        let mut prices = topology
            .nodes()
            .iter()
            .map(|node| topology.site(node.site).price_usd_per_gb);
        let first = prices.next();
        let is_first = |price: f32| first.is_some_and(|first| price.total_cmp(&first).is_eq());
        if prices.all(is_first) {
            let message = format!(
                "the cost term has a weight, and every site the price {} USD/GB",
                first.unwrap_or_default()
            );
            let help = format!(
                "set `price_usd_per_gb` of sites in `{}`, or leave out `cost`",
                topology.file()
            );
            self.checker
                .warning(Code::P049, &path.field("cost"), message, &help);
        }
    }

    /// A bias for a site that nothing can be sent to.
    fn lint_bias(&mut self, path: &Path<'_>, topology: &Topology) {
        let members = self.pool_members.iter().flatten().flatten();
        let used: BTreeSet<SiteIndex> = members.map(|node| topology.node(*node).site).collect();
        let list = path.field("bias");
        let is_certain = self.pool_members.iter().all(Option::is_some);
        for (index, bias) in self.document.spec.score.bias.iter().enumerate() {
            let site = topology.find_site(&bias.site);
            if is_certain && site.is_some_and(|site| !used.contains(&site)) {
                let message = format!("no pool has a node at `{}`", bias.site);
                let help = "delete it, or select the site's nodes in a pool";
                self.checker
                    .warning(Code::P049, &list.index(index), message, help);
            }
        }
    }
}

/// Whether all nodes are of the last tier of several.
fn is_origin(members: &[NodeIndex], topology: &Topology) -> bool {
    let last = topology.tiers().len().saturating_sub(1);
    let tier = |node: &NodeIndex| topology.site(topology.node(*node).site).tier.get();
    last > 0 && members.iter().all(|node| tier(node) == last)
}

/// What all nodes have in common that may fail.
fn only_domain(members: &[NodeIndex], topology: &Topology) -> Option<String> {
    let (first, rest) = members.split_first()?;
    let first = topology.node(*first);
    let nodes = || rest.iter().map(|node| topology.node(*node));
    if nodes().all(|node| node.site == first.site) {
        return Some(format!("stand at `{}`", topology.site(first.site).id));
    }
    let shared = DOMAIN_LABELS.iter().find_map(|label| {
        let value = first.labels.get(*label)?;
        let is_same = nodes().all(|node| node.labels.get(*label) == Some(value));
        is_same.then_some((label, value))
    });
    shared.map(|(label, value)| format!("have the label {label}: {value}"))
}
