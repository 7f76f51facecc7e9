//! Node addresses as proxies write them, both ways.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tradewind_engine::model::NodeIndex;
use tradewind_engine::topology::Topology;

/// The addresses of every node of a topology, made once for it.
#[derive(Debug, Default)]
pub struct NodeAddresses {
    /// `ip:port`, `[ip]:port` or `name:port`, by [`NodeIndex`].
    texts: Vec<Box<str>>,
    /// Nodes that are given by an IP address; of several on one address the first.
    by_socket: BTreeMap<SocketAddr, NodeIndex>,
    /// Nodes that are given by a name; of several with one name and port the first.
    by_name: BTreeMap<Box<str>, NodeIndex>,
}

impl NodeAddresses {
    /// Writes out the address of every node.
    pub fn new(topology: &Topology) -> Self {
        let mut addresses = Self::default();
        for (index, node) in topology.indexed_nodes() {
            let text: Box<str> = node.address.to_string().into();
            match node.address.socket() {
                Some(socket) => addresses.by_socket.entry(socket).or_insert(index),
                None => addresses.by_name.entry(text.clone()).or_insert(index),
            };
            addresses.texts.push(text);
        }
        addresses
    }

    /// The address of a node.
    #[inline]
    pub fn text(&self, node: NodeIndex) -> &str {
        self.texts.get(node.get()).map_or("", |text| text)
    }

    /// The node at a socket address.
    pub fn at(&self, address: SocketAddr) -> Option<NodeIndex> {
        self.by_socket.get(&address).copied()
    }

    /// The node of an address in the form of [`NodeAddresses::text`].
    pub fn find(&self, text: &str) -> Option<NodeIndex> {
        match text.parse() {
            Ok(socket) => self.at(socket),
            Err(_) => self.by_name.get(text).copied(),
        }
    }

    /// Heap memory in bytes, about.
    pub fn memory_bytes(&self) -> usize {
        let texts = self.texts.iter().chain(self.by_name.keys());
        let texts: usize = texts.map(|text| text.len()).sum();
        let sockets = self.by_socket.len() * size_of::<(SocketAddr, NodeIndex)>();
        let names = self.by_name.len() * size_of::<(Box<str>, NodeIndex)>();
        texts + size_of_val(self.texts.as_slice()) + sockets + names
    }
}
