//! The order of a published implementation of weighted rendezvous, given our draws.

use rendezvous_hash::{Capacity, Node, NodeHasher, RendezvousNodes, WeightedNode};
use std::hash::{Hash, Hasher};
use tradewind_engine::hash::{KeyHash, NodeSeed};

use super::{fleet, key, oracle, positions};

/// Gives `rendezvous_hash` the draws of this crate: its weighted nodes then race `ln(u) / weight` in double precision.
struct OurDraws;

impl NodeHasher<NodeSeed> for OurDraws {
    fn hash<T: Hash>(&self, node: &NodeSeed, item: &T) -> u64 {
        let mut written = Written(0);
        item.hash(&mut written);
        // u = 1 - (draw + 1/2) / 2^31, as a fraction of 2^64.
        let draw = oracle::draw(KeyHash(written.0), *node);
        (u64::MAX - ((2 * u64::from(draw) + 1) << 32)) + 1
    }
}

/// A hasher that remembers the number written to it.
struct Written(u64);

impl Hasher for Written {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a key hash writes a u64")
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A node known by its seed.
struct Seeded(NodeSeed);

impl Node for Seeded {
    type NodeId = NodeSeed;
    type HashCode = u64;

    fn node_id(&self) -> &NodeSeed {
        &self.0
    }

    fn hash_code<H, U: Hash>(&self, hasher: &H, item: &U) -> u64
    where
        H: NodeHasher<NodeSeed>,
    {
        hasher.hash(&self.0, item)
    }
}

#[test]
fn rendezvous_hash_gives_the_same_order() {
    // It is exact to 2^-53, we to 5e-7, so two races closer than that may change places. The chance for a given pair of
    // neighbours in the order is of that size too: one place in a million, and never a difference that shows in shares.
    let nodes = fleet(100);
    let mut peer = RendezvousNodes::new(OurDraws);
    for &(seed, weight) in &nodes {
        let capacity = Capacity::new(f64::from(weight)).unwrap();
        peer.insert(WeightedNode::new(Seeded(seed), capacity));
    }
    let keys = 3_000;
    let mut different = 0;
    for number in 0..keys {
        let ours = positions(&nodes, key(number), 10);
        let theirs: Vec<NodeSeed> = peer
            .calc_candidates(&key(number))
            .take(10)
            .map(|node| node.node.0)
            .collect();
        different += usize::from(ours.iter().map(|&n| nodes[n].0).ne(theirs));
    }
    assert!(different <= 2, "{different} of {keys} orders differ");
}
