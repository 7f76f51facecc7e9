//! The nodes that many sidecars share, who uses which how much, and what becomes of an attempt.

use tradewind_engine::hash::NodeSeed;
use tradewind_engine::number::from_u64;

use crate::random::Random;

/// How large a fleet is.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Sidecars.
    pub members: usize,
    /// Sites.
    pub sites: usize,
    /// Nodes at each.
    pub nodes_per_site: usize,
    /// How often a sidecar asks each node of its own site, of the next [`Scale::near`] and of the [`Scale::far`] behind those,
    /// a second.
    pub rates: [f64; 3],
    /// Sites that a sidecar uses now and then.
    pub near: usize,
    /// Sites that it uses seldom.
    pub far: usize,
}

impl Scale {
    /// 40 sidecars and 200 nodes at ten sites, for a test.
    pub const SMALL: Self = Self {
        members: 40,
        sites: 10,
        nodes_per_site: 20,
        rates: [20.0, 2.3, 0.05],
        near: 2,
        far: 4,
    };

    /// 1,000 sidecars and 10,000 nodes at 250 sites.
    pub const LARGE: Self = Self {
        members: 1_000,
        sites: 250,
        nodes_per_site: 40,
        rates: [42.0, 2.3, 0.025],
        near: 3,
        far: 20,
    };

    /// All nodes.
    pub fn nodes(&self) -> usize {
        self.sites * self.nodes_per_site
    }

    /// The site that a sidecar stands beside.
    pub fn home(&self, member: usize) -> usize {
        member % self.sites
    }

    /// The nodes that a sidecar uses, and how often it asks each, a second.
    pub fn uses(&self, member: usize) -> impl Iterator<Item = (usize, f64)> {
        let scale = *self;
        let home = self.home(member);
        // A stride that has no divisor in common with the number of sites spreads who is far from whom.
        let sites = (0..=scale.near + scale.far).map(move |at| (at, (home + at * 7) % scale.sites));
        sites.flat_map(move |(at, site)| {
            let [own, near, far] = scale.rates;
            let rate = match at {
                0 => own,
                at if at <= scale.near => near,
                _ => far,
            };
            let first = site * scale.nodes_per_site;
            (first..first + scale.nodes_per_site).map(move |node| (node, rate))
        })
    }
}

/// The name of a node, as facts have it.
pub fn seed(node: usize) -> NodeSeed {
    NodeSeed::of_id(&format!("node-{node}"))
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Health {
    /// Whether it answers at all.
    pub fails: bool,
    /// How many times slower it is than usual.
    pub slowdown: f64,
}

impl Health {
    /// A node that is well.
    pub const WELL: Self = Self {
        fails: false,
        slowdown: 1.0,
    };
}

/// Median of service times where all is well, in microseconds, and how much they scatter.
const MEDIAN_US: f64 = 2_000.0;
const SIGMA: f64 = 0.4;

/// Of a node that is well so many attempts fail.
const FAILURES: f64 = 0.001;

/// What becomes of an attempt: the time to the first byte in microseconds; `None` where it fails.
pub fn attempt(health: Health, random: &mut Random) -> Option<u32> {
    if health.fails || random.unit() < FAILURES {
        return None;
    }
    let us = MEDIAN_US * health.slowdown * random.lognormal(SIGMA);
    u32::try_from(tradewind_engine::number::to_u64(us)).ok()
}

/// How many attempts come where `expected` do in the mean.
pub fn arrivals(expected: f64, random: &mut Random) -> u32 {
    if expected <= 0.0 {
        return 0;
    }
    if expected > 30.0 {
        // Near enough to a normal distribution, of which twelve uniform numbers are.
        let sum: f64 = (0..12).map(|_| random.unit()).sum();
        let count = expected + (sum - 6.0) * libm::sqrt(expected);
        return u32::try_from(tradewind_engine::number::to_u64(count + 0.5)).unwrap_or(0);
    }
    // Knuth: so many uniform numbers until their product is below e to the minus expected.
    let least = libm::exp(-expected);
    let (mut product, mut count) = (random.unit(), 0);
    while product > least {
        product *= random.unit();
        count += 1;
    }
    count
}

/// A share, as counts.
pub fn share(part: u64, of: u64) -> f64 {
    from_u64(part) / from_u64(of.max(1))
}
