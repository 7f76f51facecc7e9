//! Which node addresses a policy lets stand in answers.

use super::super::conditions;
use super::Compiler;
use crate::document::{Code, Diagnostic, Path};
use crate::model::printable;
use crate::topology::{AddressPattern, Host, Node, RefusedRange, Topology};

/// Of how many nodes with one fault the names are shown.
const MAX_NODES_NAMED: usize = 4;

impl<'a> Compiler<'a, '_> {
    /// Checks the lists, and the addresses of all nodes against them.
    pub(super) fn addresses(&mut self, path: &Path<'_>) {
        let document = &self.document.spec.addresses;
        conditions::check_not_empty(self.checker, &path.field("only"), document.only.len());
        let allow = self.patterns(&path.field("allow"), &document.allow);
        let only = self.patterns(&path.field("only"), &document.only);
        if let (Some(allow), Some(only)) = (&allow, &only) {
            self.check_names(&[allow, only]);
        }
        // What a refused pattern would have allowed nobody knows.
        if let Some(allow) = allow {
            self.check_ranges(&allow);
        }
        if let Some(only) = only.filter(|only| !only.is_empty()) {
            let listed = |node: &Node| only.iter().any(|pattern| pattern.matches(&node.address));
            let outside: Vec<&Node> = self.nodes_with(|node| !listed(node));
            let message = "outside of spec.addresses.only".to_owned();
            let help = "correct the topology, or list the address there";
            self.tell_of_nodes(Code::P013, &outside, (&message, help));
        }
    }

    /// Nodes whose address could turn a router against its own host, unless the policy lists it.
    fn check_ranges(&mut self, allow: &[AddressPattern]) {
        let listed = |node: &Node| allow.iter().any(|pattern| pattern.matches(&node.address));
        for range in RefusedRange::ALL {
            let inside = self
                .nodes_with(|node| node.address.refused_range() == Some(range) && !listed(node));
            let message = format!("in the {} range, which is refused", range.name());
            let help =
                "correct the topology, or list the range under spec.addresses.allow of the policy";
            self.tell_of_nodes(Code::P013, &inside, (&message, help));
        }
    }

    /// Nodes whose address is a name, unless the policy lists it: nginx and `HAProxy` look names up, but Envoy takes what it
    /// is told, in a header or as an endpoint, as an IP address only, and leaves such a node out without a word.
    fn check_names(&mut self, lists: &[&[AddressPattern]]) {
        let named = self.nodes_with(|node| {
            let mut patterns = lists.iter().copied().flatten();
            let is_name = matches!(node.address.host(), Host::Name(_));
            is_name && !patterns.any(|pattern| pattern.matches(&node.address))
        });
        let help = "write IP addresses; or list the names under spec.addresses.allow, if only proxies ask that look them up";
        let message = "to be looked up by name, which Envoy does not do";
        self.tell_of_nodes(Code::P034, &named, (message, help));
    }

    fn nodes_with(&self, holds: impl Fn(&Node) -> bool) -> Vec<&'a Node> {
        let nodes = self.topology.map_or(&[][..], Topology::nodes).iter();
        nodes.filter(|node| holds(node)).collect()
    }

    /// One finding about all nodes with the same fault, where the first of them stands in the topology file.
    fn tell_of_nodes(&mut self, code: Code, nodes: &[&Node], (what, help): (&str, &str)) {
        let Some(topology) = self.topology else {
            return;
        };
        let marks = nodes.iter().map(|node| topology.address_mark(node));
        let Some((mark, first)) = marks.zip(nodes).min_by_key(|(mark, _)| mark.entry) else {
            return;
        };
        let named: Vec<String> = nodes
            .iter()
            .take(MAX_NODES_NAMED)
            .map(|n| format!("`{}`", n.id))
            .collect();
        let message = match nodes.len() {
            1 => format!(
                "the address {} of node `{}` is {what}",
                first.address, first.id
            ),
            count => {
                let more = if count > named.len() { ", …" } else { "" };
                format!(
                    "the addresses of {count} nodes are {what}: {}{more}; this is {}",
                    named.join(", "),
                    first.address
                )
            }
        };
        let path = format!("spec.nodes[{}].address", mark.entry);
        let place = (topology.file(), mark);
        self.checker
            .add(Diagnostic::elsewhere(code, place, (path, message), help));
    }

    /// The patterns of an address list; `None` when one of them is refused.
    fn patterns(&mut self, path: &Path<'_>, texts: &[String]) -> Option<Vec<AddressPattern>> {
        let mut patterns = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let path = path.index(index);
            match AddressPattern::parse(text) {
                Ok(pattern) => {
                    if let AddressPattern::Net(net) = &pattern {
                        conditions::warn_of_mapped(self.checker, &path, net);
                    }
                    patterns.push(pattern);
                }
                Err(error) => {
                    let shown = printable(text, 80);
                    let message = error.message(&shown);
                    self.checker
                        .error(Code::P007, &path, message, &error.help());
                }
            }
        }
        (patterns.len() == texts.len() && self.checker.is_whole(path)).then_some(patterns)
    }
}
