//! Decisions made here, before any string is made of them.

use tradewind_engine::decision::Decision;
use tradewind_engine::freshness::Fresh;
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
    /// Which version of the object may be served, whatever caches hold, by the purges that are known here.
    pub fresh: Fresh,
    /// Whether all purges are known here that the sidecar knew of a few seconds ago. Else `fresh` may say too little.
    pub is_freshness_known: bool,
    /// The path of the request in its one normal form, which rules saw: what a node should be asked for. Empty where the request
    /// has none.
    pub path: &'a str,
    /// What follows `?` in it, without that.
    pub query_string: &'a str,
    pub(super) addresses: &'a NodeAddresses,
}

impl<'a> Ruling<'a> {
    /// The address of a node, `host:port`.
    pub fn address(&self, node: NodeIndex) -> &'a str {
        self.addresses.text(node)
    }
}
