//! What nodes have done, for decisions: of those that are named for an object only once they have done its purges.

use std::collections::BTreeMap;

/// Up to which purge each of these nodes has done all, by its id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFloors(BTreeMap<Box<str>, u64>);

impl NodeFloors {
    /// These nodes.
    pub fn new(floors: impl IntoIterator<Item = (Box<str>, u64)>) -> Self {
        Self(floors.into_iter().collect())
    }

    /// The nodes by their ids, each with the purge up to which it has done all.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(node, floor)| (&**node, *floor))
    }

    /// The least of all; `u64::MAX` of none.
    pub fn least(&self) -> u64 {
        self.0.values().copied().min().unwrap_or(u64::MAX)
    }

    /// Whether a node has not done the purge that is an object's version. Of a node that is not awaited nobody knows.
    pub fn is_behind(&self, node: &str, version: u64) -> bool {
        self.0.get(node).is_some_and(|floor| *floor < version)
    }
}
