//! How much of a fleet another topology takes away.
//!
//! A truncated file, a wrong file or a broken generator most often shows as a fleet that has shrunk. Weight is compared
//! node by node, by id: what is gone or smaller counts, what is new or larger does not make up for it, because new nodes
//! start with empty caches. Drain and maintenance do not count, since they are an operator's explicit word, and reversible;
//! unless nothing is left that takes traffic: then all of it goes.

use std::collections::BTreeMap;
use std::fmt;

use super::Topology;
use crate::model::AdminState;

/// What one topology takes away of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removal {
    /// Capacity of nodes that are gone, and what others lost of theirs.
    pub removed: u64,
    /// Capacity of the whole fleet before.
    pub whole: u64,
}

impl Removal {
    /// What `after` takes away of `before`.
    pub fn between(before: &Topology, after: &Topology) -> Self {
        let nodes = after.nodes().iter();
        let kept: BTreeMap<&str, u16> = nodes.map(|node| (&*node.id, node.capacity)).collect();
        let mut removal = Self::default();
        for node in before.nodes() {
            let left = kept.get(&*node.id).copied().unwrap_or_default();
            removal.removed += u64::from(node.capacity.saturating_sub(left));
            removal.whole += u64::from(node.capacity);
        }
        let takes_traffic = |fleet: &Topology| {
            let mut nodes = fleet.nodes().iter();
            nodes.any(|node| node.state == AdminState::Ready && node.capacity > 0)
        };
        if takes_traffic(before) && !takes_traffic(after) {
            removal.removed = removal.whole;
        }
        removal
    }

    /// The share of the weight that goes, 0 to 1.
    pub fn ratio(self) -> f64 {
        if self.whole == 0 {
            return 0.0;
        }
        share(self.removed) / share(self.whole)
    }

    /// Whether more than `most` (0 to 1) of the weight goes; exactly that much does not.
    pub fn exceeds(self, most: f64) -> bool {
        self.ratio() > most
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "takes away {} % of the fleet's weight",
            percent(self.ratio())
        )
    }
}

/// A weight as a float: 50,000 nodes of at most 1,000 each are far below 2^53.
fn share(weight: u64) -> f64 {
    u32::try_from(weight).map_or(f64::MAX, f64::from)
}

/// A ratio in percent with one decimal, or none where it is whole.
pub fn percent(ratio: f64) -> String {
    let text = format!("{:.1}", ratio * 100.0);
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::topology::compile;

    fn fleet(nodes: &[(&str, u16, &str)]) -> Topology {
        let mut text = String::from(
            "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites: [{id: a, lat: 1, lon: 1}, {id: b, lat: 2, lon: 2}]\n  nodes:\n",
        );
        for (id, capacity, rest) in nodes {
            writeln!(
                text,
                "    - {{id: {id}, address: \"{id}.example.net:80\", capacity: {capacity}, {rest}}}"
            )
            .unwrap();
        }
        compile("topology.yaml", &text).topology.unwrap()
    }

    fn ratio(after: &[(&str, u16, &str)]) -> f64 {
        let before = fleet(&[
            ("x", 100, "site: a"),
            ("y", 200, "site: a"),
            ("z", 100, "site: b"),
        ]);
        Removal::between(&before, &fleet(after)).ratio()
    }

    #[test]
    fn what_is_gone_or_smaller_counts_and_nothing_makes_up_for_it() {
        let whole = [
            ("x", 100, "site: a"),
            ("y", 200, "site: a"),
            ("z", 100, "site: b"),
        ];
        assert!((ratio(&whole) - 0.0).abs() < 1e-12);
        assert!((ratio(&whole[1..]) - 0.25).abs() < 1e-12);
        assert!((ratio(&[whole[0], ("y", 50, "site: a"), whole[2]]) - 0.375).abs() < 1e-12);
        let grown = [("x", 1000, "site: a"), ("new", 1000, "site: b")];
        assert!((ratio(&grown) - 0.75).abs() < 1e-12);
        assert!((ratio(&[("other", 100, "site: a")]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn moving_a_node_or_taking_it_out_of_service_is_not_removal() {
        let after = [
            ("x", 100, "site: b"),
            ("y", 200, "site: a, state: maintenance"),
            ("z", 100, "site: b, state: drain"),
        ];
        assert!((ratio(&after) - 0.0).abs() < 1e-12);
    }

    #[test]
    fn a_fleet_of_which_nothing_takes_traffic_is_gone() {
        let out = |state: &'static str| {
            [
                ("x", 100, "site: a, state: maintenance"),
                ("y", 200, "site: a, state: drain"),
                ("z", 100, state),
            ]
        };
        assert!((ratio(&out("site: b, state: maintenance")) - 1.0).abs() < 1e-12);
        assert!((ratio(&out("site: b")) - 0.0).abs() < 1e-12);
    }

    #[test]
    fn the_bound_itself_is_allowed_and_words_are_short() {
        let removal = |removed| Removal {
            removed,
            whole: 1000,
        };
        assert!(!removal(250).exceeds(0.25) && removal(251).exceeds(0.25));
        assert!(!removal(1000).exceeds(1.0) && removal(1).exceeds(0.0));
        assert!((Removal::default().ratio() - 0.0).abs() < 1e-12);
        assert_eq!(
            removal(620).to_string(),
            "takes away 62 % of the fleet's weight"
        );
        assert_eq!(percent(0.625), "62.5");
    }
}
