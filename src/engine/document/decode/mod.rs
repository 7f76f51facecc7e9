//! Typed values out of a [`Source`]: serde's derived decoders, run until every fault is known.

mod at;
mod fault;

use serde::Deserialize;

use super::diagnostic::{Diagnostics, MAX_DIAGNOSTICS, Severity};
use super::tree::{Content, NodeId, Source};
use at::At;
use fault::{DecodeError, Kind};

/// The outcome of decoding: what could be read, and what could not.
#[derive(Debug)]
pub struct Decoded<T> {
    /// The value, without the parts that were set aside; `None` when too little is left.
    pub value: Option<T>,
    /// Why parts were set aside; empty for a document that is as it should be.
    pub faults: Diagnostics,
}

impl Source {
    /// Decodes the whole document as a `T`. Each fault is reported once; what it makes unreadable is set aside.
    pub fn decode<T: for<'de> Deserialize<'de>>(&mut self) -> Decoded<T> {
        let mut faults = Diagnostics::default();
        let Some(root) = self.root() else {
            return Decoded {
                value: None,
                faults,
            };
        };
        loop {
            let error = match T::deserialize(At {
                source: self,
                node: root,
            }) {
                Ok(value) => {
                    return Decoded {
                        value: Some(value),
                        faults,
                    };
                }
                Err(error) => error,
            };
            let at = error.node.unwrap_or(root);
            if !self.follows_from_earlier_fault(at, &error) {
                let (code, help) = error.kind.advice();
                let span = self.span_of(at);
                let mut fault =
                    self.diagnostic(Severity::Error, code, &span, (error.message, &help));
                fault.path = self.path_of(at);
                faults.push(fault);
            }
            if at == root || faults.items().len() >= MAX_DIAGNOSTICS {
                return Decoded {
                    value: None,
                    faults,
                };
            }
            self.set_aside_with_key(at);
        }
    }

    /// A field reported as missing that is there, but was set aside for a fault already reported.
    fn follows_from_earlier_fault(&self, map: NodeId, error: &DecodeError) -> bool {
        let Kind::MissingField(name) = &error.kind else {
            return false;
        };
        match self.node(map).map(|node| &node.content) {
            Some(Content::Map(entries)) => entries
                .iter()
                .any(|(key, value)| self.text_of(*key) == Some(name) && self.is_set_aside(*value)),
            _ => false,
        }
    }

    /// Sets a node aside; a field name takes its value along.
    fn set_aside_with_key(&mut self, id: NodeId) {
        self.set_aside(id);
        let value = self.values_of_key(id);
        if let Some(value) = value {
            self.set_aside(value);
        }
    }

    fn values_of_key(&self, wanted: NodeId) -> Option<NodeId> {
        (0..)
            .map_while(|id| self.node(id))
            .find_map(|node| match &node.content {
                Content::Map(entries) => entries
                    .iter()
                    .find(|(key, _)| *key == wanted)
                    .map(|(_, value)| *value),
                _ => None,
            })
    }
}

#[cfg(test)]
mod tests;
