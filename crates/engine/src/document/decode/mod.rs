//! Typed values out of a [`Source`]: serde's derived decoders, run until every fault is known.

mod at;
mod fault;
mod stand_in;

use serde::Deserialize;

use super::NodeId;
use super::diagnostic::{Diagnostics, MAX_DIAGNOSTICS};
use super::suggest;
use super::tree::{Content, Source};
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

/// Values decoded in all readings of one document before it is given up: bounds the time that a hostile one takes.
const MAX_VALUES_READ: usize = 20_000_000;

/// Most readings of one document, however small.
const MAX_READINGS: usize = 1_000;

impl Source {
    /// Decodes the whole document as a `T`. Each fault is reported once; what it makes unreadable is set aside, and for a
    /// required field that is missing a stand-in is decoded.
    pub fn decode<T: for<'de> Deserialize<'de>>(&mut self) -> Decoded<T> {
        let mut faults = Diagnostics::default();
        let value = self
            .root()
            .and_then(|root| self.decode_until_good(root, &mut faults));
        Decoded { value, faults }
    }

    fn decode_until_good<T: for<'de> Deserialize<'de>>(
        &mut self,
        root: NodeId,
        faults: &mut Diagnostics,
    ) -> Option<T> {
        let affordable = MAX_VALUES_READ / self.nodes.len().max(1);
        let mut readings_left = affordable.clamp(MAX_DIAGNOSTICS, MAX_READINGS);
        loop {
            let here = At {
                source: self,
                node: root,
            };
            let error = match T::deserialize(here) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            readings_left = readings_left.checked_sub(1)?;
            if faults.items().len() >= MAX_DIAGNOSTICS {
                return None;
            }
            self.report(root, &error, faults);
            self.repair(root, &error)?;
        }
    }

    fn report(&self, root: NodeId, error: &DecodeError, faults: &mut Diagnostics) {
        let at = error.node.unwrap_or(root);
        let follows_from_earlier_fault = match &error.kind {
            Kind::MissingField(name) => self.is_field_set_aside(at, name),
            Kind::NoStandIn => true,
            Kind::UnknownField { .. } | Kind::Value => false,
        };
        if !follows_from_earlier_fault {
            let (code, help) = error.kind.advice();
            let mut fault =
                self.diagnostic(code, &self.span_of(at), (error.message.clone(), &help));
            fault.path = self.path_of(at);
            faults.push(fault);
        }
    }

    /// Makes the next reading get further; `None` if there is nothing left to read.
    fn repair(&mut self, root: NodeId, error: &DecodeError) -> Option<()> {
        let at = error.node.unwrap_or(root);
        match &error.kind {
            Kind::MissingField(name) => {
                self.doubts.add_hole(at, name);
                return Some(());
            }
            Kind::UnknownField { allowed, seen } => {
                if let Some((map, name)) = self.meant_by(at, allowed, seen) {
                    self.doubts.add_meant(map, name);
                }
            }
            Kind::Value | Kind::NoStandIn => {}
        }
        if at == root {
            return None;
        }
        self.set_aside(at);
        if let Some((_, value)) = self.entry_of_key(at) {
            self.set_aside(value);
        }
        Some(())
    }

    /// The absent field that an unknown one was probably to be, and its map.
    fn meant_by(
        &self,
        key: NodeId,
        allowed: &[&'static str],
        seen: &str,
    ) -> Option<(NodeId, &'static str)> {
        let name = suggest::nearest(seen, allowed.iter().copied())?;
        let (map, _) = self.entry_of_key(key)?;
        let Content::Map(entries) = &self.node(map)?.content else {
            return None;
        };
        let is_there = |(key, _): &(NodeId, NodeId)| self.text_of(*key) == Some(name);
        (!entries.iter().any(is_there)).then_some((map, name))
    }

    /// The map that has a field of this name, and the field's value.
    fn entry_of_key(&self, wanted: NodeId) -> Option<(NodeId, NodeId)> {
        // A map's node comes before those of its fields.
        let before = self.nodes.iter().enumerate().take(wanted).rev();
        before
            .filter_map(|(id, node)| match &node.content {
                Content::Map(entries) => Some((id, entries)),
                _ => None,
            })
            .find_map(|(id, entries)| {
                let (_, value) = entries.iter().find(|(key, _)| *key == wanted)?;
                Some((id, *value))
            })
    }
}

#[cfg(test)]
mod tests;
