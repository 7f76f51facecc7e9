//! Networks whose place the policy knows better than the geo files.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use super::Known;

/// Networks and their places; the longest prefix wins.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    v4: PrefixMap<Ipv4Net, Known>,
    v6: PrefixMap<Ipv6Net, Known>,
}

impl Overrides {
    /// Adds a network; answers whether it was there already.
    pub(super) fn insert(&mut self, net: IpNet, known: Known) -> bool {
        match net {
            IpNet::V4(net) => self.v4.insert(net, known).is_some(),
            IpNet::V6(net) => self.v6.insert(net, known).is_some(),
        }
    }

    /// How many networks there are.
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// The place of the longest prefix that covers `ip`.
    pub(super) fn find(&self, ip: IpAddr) -> Option<Known> {
        // Most policies override nothing, and every request asks.
        if self.v4.is_empty() && self.v6.is_empty() {
            return None;
        }
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.get_lpm(&Ipv4Net::from(ip)).map(|(_, known)| *known),
            IpAddr::V6(ip) => self.v6.get_lpm(&Ipv6Net::from(ip)).map(|(_, known)| *known),
        }
    }
}
