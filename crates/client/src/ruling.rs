//! Decisions made here, before any string is made of them.

use tradewind_engine::decision::Decision;
use tradewind_engine::model::NodeIndex;
use tradewind_wire::addresses::NodeAddresses;

/// A decision, borrowed from the copy that it was made from.
#[derive(Debug)]
pub struct Ruling<'a> {
    /// The decision itself.
    pub decision: Decision<'a>,
    /// Names the decision where outcomes refer to it: 24 hexadecimal digits. Empty while the sidecar was never there to say
    /// how to name what is decided.
    pub decision_id: &'a str,
    addresses: &'a NodeAddresses,
}

impl<'a> Ruling<'a> {
    pub(super) fn new(
        decision: Decision<'a>,
        decision_id: &'a str,
        addresses: &'a NodeAddresses,
    ) -> Self {
        Self {
            decision,
            decision_id,
            addresses,
        }
    }

    /// The address of a node, `host:port`.
    pub fn address(&self, node: NodeIndex) -> &'a str {
        self.addresses.text(node)
    }
}
