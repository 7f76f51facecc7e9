//! How much of a pool may be ejected at once.
//!
//! Ejecting a node moves its load to the others. When many fail it is more often the traffic, the network or the
//! observer than the nodes, and ejecting them all would finish the rest. So at most a share of each pool's weight is
//! ejected; those that failed first go first.
//!
//! Small pools: a share of two or three nodes may be less than one of them. One node may always be ejected while another
//! is left, whatever the share says; the last one of a pool never is. (With Envoy's percentages of hosts, 34 % of two is
//! none and 67 % of three is two; by weight and with that exception it is one and two.)

use crate::model::NodeIndex;

/// A node of a pool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// The node.
    pub node: NodeIndex,
    /// Its weight: its capacity.
    pub weight: f64,
    /// Where it stands among those that should be ejected, the longest first; `None` when it should not.
    pub rank: Option<u32>,
}

/// Which of a pool's nodes may be ejected: those of lowest rank whose weight together stays within `max_ratio` of the
/// pool's, but one at least, and never all.
pub fn ejected(members: &[Member], max_ratio: f64) -> Vec<NodeIndex> {
    let all: f64 = members.iter().map(|member| member.weight).sum();
    let mut wanted: Vec<&Member> = members
        .iter()
        .filter(|member| member.rank.is_some())
        .collect();
    wanted.sort_by_key(|member| (member.rank, member.node));
    let mut ejected = Vec::new();
    let mut weight = 0.0;
    for member in wanted {
        let with = weight + member.weight;
        // A little is left for rounding: 34 % of 50 nodes of equal weight are 17.
        let fits = with <= all * max_ratio * (1.0 + 1e-9);
        let is_first = ejected.is_empty() && max_ratio > 0.0;
        if (fits || is_first) && ejected.len() + 1 < members.len() {
            ejected.push(member.node);
            weight = with;
        }
    }
    ejected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(weights: &[u32], failing: u64) -> Vec<Member> {
        let member = |(at, weight): (u32, &u32)| Member {
            node: NodeIndex(at),
            weight: f64::from(*weight),
            rank: (failing >> at & 1 == 1).then_some(at),
        };
        (0_u32..).zip(weights).map(member).collect()
    }

    /// B5, for every pool of up to eight nodes, every set of failing ones, several weights and shares.
    #[test]
    fn the_cap_holds_for_every_small_pool() {
        let weights = [
            [1_u32; 8],
            [1, 2, 3, 4, 1, 2, 3, 4],
            [100, 1, 1, 1, 1, 1, 1, 1],
        ];
        for weights in weights {
            for size in 1..=8 {
                let weights = &weights[..size];
                let all: u32 = weights.iter().sum();
                for failing in 0..1_u64 << size {
                    for percent in [0.0, 10.0, 34.0, 50.0, 67.0, 100.0] {
                        let out = ejected(&pool(weights, failing), percent / 100.0);
                        let weight: u32 = out.iter().map(|node| weights[node.get()]).sum();
                        let within = f64::from(weight) <= f64::from(all) * percent / 100.0 + 1e-6;
                        assert!(
                            within || out.len() == 1,
                            "{weights:?} {failing:b} {percent}: {out:?}"
                        );
                        assert!(out.len() < size, "the last one stays");
                        assert!(out.iter().all(|node| failing >> node.0 & 1 == 1));
                        assert!(percent > 0.0 || out.is_empty());
                        let someone = failing != 0 && size > 1 && percent > 0.0;
                        assert_eq!(!out.is_empty(), someone, "one may always go");
                    }
                }
            }
        }
    }

    #[test]
    fn two_of_three_go_at_67_percent() {
        assert_eq!(ejected(&pool(&[1; 3], 0b111), 0.67).len(), 2);
        assert_eq!(ejected(&pool(&[1; 3], 0b111), 0.34).len(), 1);
        assert_eq!(ejected(&pool(&[1; 50], u64::MAX), 0.34).len(), 17);
    }
}
