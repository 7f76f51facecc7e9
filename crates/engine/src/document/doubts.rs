//! What was found wanting while decoding, by where it was.

use std::collections::{BTreeMap, BTreeSet};

use super::NodeId;

/// What was found wanting while decoding.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Whether anything was set aside or is missing at all.
    pub(super) any: bool,
    /// By map: required fields that it has not, or not in a form that could be read. Stand-ins are decoded for them.
    holes: BTreeMap<NodeId, Vec<&'static str>>,
    /// By map: absent fields that an unknown field of it seems to mean.
    meant: BTreeSet<(NodeId, &'static str)>,
}

impl Doubts {
    /// Notes that `map` lacks a required field.
    pub(super) fn add_hole(&mut self, map: NodeId, field: &'static str) {
        self.any = true;
        self.holes.entry(map).or_default().push(field);
    }

    /// Notes that an unknown field of `map` was probably to be this one.
    pub(super) fn add_meant(&mut self, map: NodeId, field: &'static str) {
        self.any = true;
        self.meant.insert((map, field));
    }

    /// The required fields that `map` lacks.
    pub(super) fn holes_of(&self, map: NodeId) -> &[&'static str] {
        self.holes.get(&map).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has(&self, map: NodeId, field: &str) -> bool {
        self.holes_of(map).contains(&field) || self.meant_of(map).any(|meant| meant == field)
    }

    pub(super) fn has_any(&self, map: NodeId) -> bool {
        self.holes.contains_key(&map) || self.meant_of(map).next().is_some()
    }

    pub(super) fn meant_of(&self, map: NodeId) -> impl Iterator<Item = &'static str> {
        let from_here = self.meant.range((map, "")..);
        from_here
            .take_while(move |(of, _)| *of == map)
            .map(|(_, field)| *field)
    }
}
