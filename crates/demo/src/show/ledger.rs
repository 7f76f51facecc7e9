//! What became of all requests, second by second.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::proxy::{Done, Served};
use super::told::Second;
use crate::audience::pick;
use crate::measure::{microseconds, quantile_ms, ratio};
use crate::nodes::NodePlan;
use tradewind_client::Request;
use tradewind_simulator::random::Random;

/// Requests kept for each node, to ask about once it is left. A node with little weight still owns one of them by chance.
const WITNESSES: usize = 4;

/// Counts of some time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: u64,
    /// Not served by any node.
    pub(super) failed: u64,
    /// Served by a node after the first of the list.
    pub(super) retried: u64,
    pub(super) hits: u64,
    /// Attempts, by node.
    pub(super) sent: Vec<u64>,
    /// Requests answered, by node.
    pub(super) served: Vec<u64>,
    /// How long each took.
    times_us: Vec<u64>,
}

/// Hit ratios that other ways to choose a node would have had for the same requests.
#[derive(Debug)]
pub(super) struct Shadow {
    random: Random,
    /// One cache for each site, by site and object: no scheme can do better.
    shared: BTreeSet<(usize, u32)>,
    /// Any node of the site, by node and object: what a balancer without regard to the object does.
    scattered: BTreeSet<(usize, u32)>,
    requests: u64,
    shared_hits: u64,
    scattered_hits: u64,
    hits: u64,
}

/// Hit ratios, 0 to 1, over the same requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct HitRatios {
    pub(super) measured: f64,
    pub(super) best: f64,
    pub(super) scattered: f64,
}

/// What became of all requests.
#[derive(Debug)]
pub(super) struct Ledger {
    nodes: Vec<NodePlan>,
    /// Positions of the nodes of each site.
    sites: Vec<Vec<usize>>,
    /// The site of each node, a position in `sites`.
    site_of: Vec<usize>,
    seconds: Vec<Tally>,
    /// The second that is under way.
    open: Tally,
    /// For each node, the last requests that it owned while all was well.
    witnesses: Vec<VecDeque<Request>>,
    shadow: Shadow,
}

impl Ledger {
    pub(super) fn new(nodes: &[NodePlan], seed: u64) -> Self {
        let mut names: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (position, node) in nodes.iter().enumerate() {
            names.entry(&node.site).or_default().push(position);
        }
        let sites: Vec<Vec<usize>> = names.into_values().collect();
        let site = |node| sites.iter().position(|site| site.contains(&node));
        Self {
            site_of: (0..nodes.len())
                .map(|node| site(node).unwrap_or(0))
                .collect(),
            open: Tally::of(nodes.len()),
            seconds: Vec::new(),
            witnesses: vec![VecDeque::new(); nodes.len()],
            shadow: Shadow {
                random: Random::new(seed),
                shared: BTreeSet::new(),
                scattered: BTreeSet::new(),
                requests: 0,
                shared_hits: 0,
                scattered_hits: 0,
                hits: 0,
            },
            nodes: nodes.to_vec(),
            sites,
        }
    }

    /// Takes in a request that is done. While all is well, `calm`, it also counts for what is usual.
    pub(super) fn add(&mut self, done: Done, calm: bool) {
        self.open.add(&done);
        let Some(Served { node, hit }) = done.served.filter(|_| calm) else {
            return;
        };
        let site = self.site_of.get(node).copied().unwrap_or(0);
        let peers = self.sites.get(site).map_or(&[][..], Vec::as_slice);
        self.shadow.add((site, peers), done.object, hit);
        if done.by_owner
            && let Some(witnesses) = self.witnesses.get_mut(node)
        {
            witnesses.truncate(WITNESSES - 1);
            witnesses.push_front(done.request);
        }
    }

    /// Ends the second that is under way.
    pub(super) fn close_second(&mut self) -> Second {
        let next = Tally::of(self.nodes.len());
        let mut tally = std::mem::replace(&mut self.open, next);
        tally.times_us.sort_unstable();
        let names = self.nodes.iter().map(|node| node.id.clone());
        let second = Second {
            at_s: self.seconds.len() as u64 + 1,
            requests: tally.requests,
            failed: tally.failed,
            retried: tally.retried,
            hit_ratio: ratio(tally.hits, tally.requests - tally.failed),
            p50_ms: tally.quantile_ms(0.5),
            p99_ms: tally.quantile_ms(0.99),
            served: names.zip(tally.served.iter().copied()).collect(),
        };
        // Seconds are kept to the end, their times are not needed any more.
        tally.times_us = Vec::new();
        self.seconds.push(tally);
        second
    }

    /// Seconds that are over.
    pub(super) fn len(&self) -> usize {
        self.seconds.len()
    }

    pub(super) fn nodes(&self) -> &[NodePlan] {
        &self.nodes
    }

    /// Requests that the node owned while all was well, the last first.
    pub(super) fn witnesses(&self, node: usize) -> Vec<Request> {
        let kept = self.witnesses.get(node);
        kept.map_or_else(Vec::new, |kept| kept.iter().cloned().collect())
    }

    /// The sum of some seconds.
    pub(super) fn sum(&self, range: Range<usize>) -> Tally {
        let mut sum = Tally::of(self.nodes.len());
        let from = range.start.min(range.end);
        for tally in self.seconds.get(from..range.end).unwrap_or_default() {
            sum.merge(tally);
        }
        sum
    }

    /// The last so many seconds.
    pub(super) fn last(&self, seconds: usize) -> Range<usize> {
        self.len().saturating_sub(seconds)..self.len()
    }

    /// What was sent to a node, as a share of what would have been with its share of `usual` seconds.
    pub(super) fn relative(&self, node: usize, range: Range<usize>, usual: Range<usize>) -> f64 {
        let usual = self.sum(usual).share(node);
        if usual > 0.0 {
            self.sum(range).share(node) / usual
        } else {
            0.0
        }
    }

    /// Hit ratios while all was well.
    pub(super) fn hit_ratios(&self) -> HitRatios {
        let of = |hits| ratio(hits, self.shadow.requests).unwrap_or(0.0);
        HitRatios {
            measured: of(self.shadow.hits),
            best: of(self.shadow.shared_hits),
            scattered: of(self.shadow.scattered_hits),
        }
    }
}

impl Shadow {
    fn add(&mut self, (site, peers): (usize, &[usize]), object: u32, hit: bool) {
        let node = peers.get(pick(&mut self.random, peers.len()));
        self.requests += 1;
        self.hits += u64::from(hit);
        self.shared_hits += u64::from(!self.shared.insert((site, object)));
        if let Some(node) = node {
            self.scattered_hits += u64::from(!self.scattered.insert((*node, object)));
        }
    }
}

impl Tally {
    fn of(nodes: usize) -> Self {
        Self {
            sent: vec![0; nodes],
            served: vec![0; nodes],
            ..Self::default()
        }
    }

    fn add(&mut self, done: &Done) {
        self.requests += 1;
        self.times_us.push(microseconds(done.took));
        for node in &done.tried {
            if let Some(sent) = self.sent.get_mut(*node) {
                *sent += 1;
            }
        }
        let Some(Served { node, hit }) = done.served else {
            self.failed += 1;
            return;
        };
        self.hits += u64::from(hit);
        self.retried += u64::from(done.tried.len() > 1);
        if let Some(count) = self.served.get_mut(node) {
            *count += 1;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.retried += other.retried;
        self.hits += other.hits;
        for (own, other) in self.sent.iter_mut().zip(&other.sent) {
            *own += other;
        }
        for (own, other) in self.served.iter_mut().zip(&other.served) {
            *own += other;
        }
    }

    /// What was sent to a node, as a share of all that was sent.
    pub(super) fn share(&self, node: usize) -> f64 {
        let sent = self.sent.get(node).copied().unwrap_or(0);
        ratio(sent, self.sent.iter().sum()).unwrap_or(0.0)
    }

    /// A quantile of the times, which must be sorted.
    fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        quantile_ms(&self.times_us, quantile)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ledger() -> Ledger {
        let nodes = [("a-1", "a"), ("a-2", "a"), ("b-1", "b")];
        let nodes = nodes.map(|(id, site)| NodePlan::on_any_port(id, site));
        Ledger::new(&nodes, 1)
    }

    fn done(object: u32, tried: &[usize], served: bool, hit: bool) -> Done {
        let served = tried.last().copied().filter(|_| served);
        Done {
            request: Request::default(),
            object,
            by_owner: true,
            tried: tried.to_vec(),
            served: served.map(|node| Served { node, hit }),
            took: Duration::from_millis(10),
        }
    }

    #[test]
    fn a_second_counts_who_served_and_who_was_tried() {
        let mut ledger = ledger();
        ledger.add(done(1, &[0], true, false), true);
        ledger.add(done(1, &[0], true, true), true);
        ledger.add(done(2, &[0, 2], true, true), true);
        ledger.add(done(3, &[1], false, false), true);
        let second = ledger.close_second();
        assert_eq!((second.requests, second.failed, second.retried), (4, 1, 1));
        assert_eq!(second.served["a-1"], 2);
        assert_eq!(second.hit_ratio, Some(2.0 / 3.0));
        assert_eq!((second.p50_ms, second.p99_ms), (Some(10.0), Some(10.0)));
        assert!((ledger.sum(0..1).share(0) - 0.6).abs() < 1e-9);
        assert_eq!(
            (ledger.witnesses(0).len(), ledger.witnesses(1).len()),
            (2, 0)
        );
        assert!((ledger.relative(0, 0..1, 0..1) - 1.0).abs() < 1e-9);
        assert_eq!(ledger.close_second().p50_ms, None);
        assert_eq!(ledger.last(5), 0..2);
    }

    #[test]
    fn shadows_tell_the_best_from_the_scattered() {
        let mut ledger = ledger();
        for round in 0..10 {
            for object in 0..50 {
                ledger.add(done(object, &[0], true, round > 0), true);
            }
        }
        let ratios = ledger.hit_ratios();
        assert!((ratios.measured - 0.9).abs() < 1e-9 && (ratios.best - 0.9).abs() < 1e-9);
        assert!((0.75..0.85).contains(&ratios.scattered), "{ratios:?}");
    }
}
