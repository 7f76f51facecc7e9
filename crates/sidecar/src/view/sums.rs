//! What nodes come to together: of each site, and of the whole fleet.

use super::FleetView;
use tradewind_engine::number::from_u64;
use tradewind_engine::signal::latency::Steps;
use tradewind_engine::topology::Topology;

/// What the nodes of a site come to.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    rate: f64,
    busy: (f64, u32),
    hits: (u64, u64),
}

impl Sum {
    fn hit_ratio(self) -> Option<f64> {
        let (hits, misses) = self.hits;
        (hits + misses > 0).then(|| from_u64(hits) / from_u64(hits + misses))
    }
}

/// Sums up what is known of nodes.
pub(super) fn note(view: &mut FleetView, topology: &Topology) {
    let mut sums = vec![Sum::default(); topology.sites().len()];
    let mut all = Sum::default();
    for (node, known) in topology.nodes().iter().zip(&view.nodes) {
        let Some(site) = sums.get_mut(node.site.get()) else {
            continue;
        };
        for sum in [site, &mut all] {
            sum.rate += known.requests_per_second;
            sum.hits = (sum.hits.0 + known.hits.0, sum.hits.1 + known.hits.1);
            if let Some(busy) = known.utilisation {
                sum.busy = (sum.busy.0 + f64::from(busy), sum.busy.1 + 1);
            }
        }
    }
    for (site, sum) in view.sites.iter_mut().zip(sums) {
        site.requests_per_second = sum.rate;
        site.hit_ratio = sum.hit_ratio();
        let (busy, told) = sum.busy;
        site.utilisation = (told > 0).then(|| busy / f64::from(told));
    }
    view.hit_ratio = all.hit_ratio();
    let times = Steps::together(view.nodes.iter().map(|node| &node.times));
    let [p50, p99] = times.quantiles([0.5, 0.99]);
    view.times_ms = p50
        .zip(p99)
        .map(|(p50, p99)| (p50 / 1_000.0, p99 / 1_000.0));
}
