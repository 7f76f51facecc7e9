//! What is not known of a document because parts of it could not be decoded, and so must not be judged.
//!
//! A rule whose `match` is refused is not a rule without `match`; a pool whose name is misspelt may be the very pool that
//! another line asks for. Whoever checks meaning asks here first, so that one mistake is one finding.

use super::NodeId;
use super::path::{Path, Step};
use super::tree::{Content, Source};

/// Where a path leads.
enum Found {
    /// To a value that was decoded.
    Value(NodeId),
    /// To nothing: a default stands for it.
    Default,
    /// To something that is missing, misspelt or set aside, or into it.
    Doubt,
}

impl Source {
    /// Whether the value at `path` is a stand-in, or part of one: what is wrong with it has been said.
    pub(super) fn is_stand_in(&self, path: &Path<'_>) -> bool {
        self.doubts.any && matches!(self.follow(path), Found::Doubt)
    }

    /// Whether the value at `path` is all that the document says there.
    pub(super) fn is_whole(&self, path: &Path<'_>) -> bool {
        !self.doubts.any
            || match self.follow(path) {
                Found::Value(id) => self.is_subtree_whole(id),
                Found::Default => true,
                Found::Doubt => false,
            }
    }

    /// Whether every entry of the list at `path` is there, with its `field` as the document says it.
    pub(super) fn has_every(&self, path: &Path<'_>, field: &'static str) -> bool {
        if !self.doubts.any {
            return true;
        }
        match self.follow(path) {
            Found::Doubt => false,
            Found::Default => true,
            Found::Value(list) => match self.node(list).map(|node| &node.content) {
                Some(Content::List(items)) => items.iter().all(|item| {
                    !self.is_set_aside(*item)
                        && !matches!(self.step(*item, Step::Field(field)), Found::Doubt)
                }),
                _ => true,
            },
        }
    }

    /// Whether the document itself has a value at `path`.
    pub fn is_given(&self, path: &Path<'_>) -> bool {
        matches!(self.follow(path), Found::Value(_))
    }

    fn follow(&self, path: &Path<'_>) -> Found {
        let Some(mut at) = self.root() else {
            return Found::Doubt;
        };
        for step in path.steps() {
            match self.step(at, step) {
                Found::Value(next) => at = next,
                end => return end,
            }
        }
        Found::Value(at)
    }

    fn step(&self, at: NodeId, step: Step<'_>) -> Found {
        if let Some((next, _)) = self.child(at, step) {
            return Found::Value(next);
        }
        let Step::Field(name) = step else {
            return Found::Default;
        };
        if self.doubts.has(at, name) || self.is_field_set_aside(at, name) {
            Found::Doubt
        } else {
            Found::Default
        }
    }

    /// Whether `map` has this field, in a form that could not be read.
    pub(super) fn is_field_set_aside(&self, map: NodeId, name: &str) -> bool {
        match self.node(map).map(|node| &node.content) {
            Some(Content::Map(entries)) => entries
                .iter()
                .any(|(key, value)| self.text_of(*key) == Some(name) && self.is_set_aside(*value)),
            _ => false,
        }
    }

    fn is_subtree_whole(&self, id: NodeId) -> bool {
        if self.is_set_aside(id) || self.doubts.has_any(id) {
            return false;
        }
        match self.node(id).map(|node| &node.content) {
            Some(Content::List(items)) => items.iter().all(|item| self.is_subtree_whole(*item)),
            Some(Content::Map(entries)) => entries
                .iter()
                .all(|(_, value)| self.is_subtree_whole(*value)),
            Some(Content::Scalar { .. }) | None => true,
        }
    }
}
