//! What is measured at each tick and second of a run.

use std::collections::{BTreeMap, BTreeSet};

use tradewind_engine::control::condition;
use tradewind_engine::fleet::Stamp;
use tradewind_engine::number::from_u64;
use tradewind_engine::signal::Admission;

use super::sidecar::Sidecar;
use super::{Fleet, agreement};

/// A node is left once so many of all sidecars have.
const LEFT: f64 = 0.999;

/// What tells lists of weights apart: the stamp that is followed, and the nodes of the site with an own breaker.
type View = (Stamp, Vec<usize>);

impl Fleet {
    pub(super) fn measure(&mut self) {
        self.see_who_left();
        if self.now.0.is_multiple_of(1_000) {
            self.see_who_agrees();
        }
    }

    fn see_who_left(&mut self) {
        let alive = self.sidecars.iter().filter(|it| !it.is_dead);
        let all = from_u64(alive.clone().count() as u64);
        for failure in &mut self.report.failures {
            let fails = self.health.get(failure.node).is_some_and(|it| it.fails);
            let Some(seed) = self.seeds.get(failure.node).filter(|_| fails) else {
                continue;
            };
            if failure.left_ms.is_none() {
                let verdict = |it: &&Sidecar| it.view(*seed, &self.operation).0;
                let left = alive
                    .clone()
                    .filter(|it| verdict(it) != Admission::Admitted);
                if from_u64(left.count() as u64) >= all * LEFT {
                    failure.left_ms = Some(self.now.since(failure.began));
                }
            }
        }
    }

    /// Only at sites where some see something else than others there is anything to reckon.
    fn see_who_agrees(&mut self) {
        let scale = self.scenario.scale;
        let site_of = |node: usize| node / scale.nodes_per_site;
        let alive = || {
            self.sidecars
                .iter()
                .enumerate()
                .filter(|(_, it)| !it.is_dead)
        };
        let mut followed: BTreeMap<Stamp, &Sidecar> = BTreeMap::new();
        let mut own: BTreeMap<usize, BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
        for (member, sidecar) in alive() {
            followed.entry(sidecar.member.stamp()).or_insert(sidecar);
            for seed in sidecar.own.keys() {
                if let Some(node) = self.index.get(seed) {
                    let of_site = own.entry(site_of(*node)).or_default();
                    of_site.entry(member).or_default().push(*node);
                }
            }
        }
        let mut sites: BTreeSet<usize> = own.keys().copied().collect();
        let mut facts = followed.values().map(|it| &it.member.facts().nodes);
        if let Some(first) = facts.next() {
            for other in facts {
                let differ = |a: &BTreeMap<_, _>, b: &BTreeMap<_, _>| {
                    let other = a.iter().filter(|(seed, fact)| b.get(*seed) != Some(*fact));
                    other.map(|(seed, _)| *seed).collect::<Vec<_>>()
                };
                let seeds = differ(first, other).into_iter().chain(differ(other, first));
                let nodes = seeds.filter_map(|seed| self.index.get(&seed));
                sites.extend(nodes.map(|node| site_of(*node)));
            }
        }
        let (mut any, mut near) = (0.0, 0.0);
        for site in &sites {
            let mut views: BTreeMap<View, (usize, u64, u64)> = BTreeMap::new();
            for (member, sidecar) in alive() {
                let of_own = own.get(site).and_then(|it| it.get(&member));
                let view = (sidecar.member.stamp(), of_own.cloned().unwrap_or_default());
                let group = views.entry(view).or_insert((member, 0, 0));
                group.1 += 1;
                group.2 += u64::from(scale.home(member) == *site);
            }
            let groups = |of_home: bool| -> Vec<(Vec<f64>, u64)> {
                let groups = views.values().map(|(member, all, at_home)| {
                    let count = if of_home { *at_home } else { *all };
                    (self.weights(*member, *site), count)
                });
                groups.filter(|(_, count)| *count > 0).collect()
            };
            any += 1.0 - agreement::of_groups(&groups(false));
            near += 1.0 - agreement::of_groups(&groups(true));
        }
        let count = from_u64(scale.sites as u64);
        self.report.any_two.push(1.0 - any / count);
        self.report.neighbours.push(1.0 - near / count);
    }

    /// What a sidecar weighs the nodes of a site by.
    fn weights(&self, member: usize, site: usize) -> Vec<f64> {
        let per_site = self.scenario.scale.nodes_per_site;
        let nodes = self.seeds.iter().skip(site * per_site).take(per_site);
        let Some(sidecar) = self.sidecars.get(member) else {
            return Vec::new();
        };
        let weigh = |seed| {
            let fact = sidecar.member.facts().node(seed);
            let (_, used) = sidecar.view(seed, &self.operation);
            let condition = condition::factor(fact.level, &self.operation.weights);
            used * condition * f64::from(fact.ramp) / 8.0
        };
        nodes.map(|seed| weigh(*seed)).collect()
    }
}
