//! The text of a document as a tree of spans, within stated limits.

use std::ops::Range;

use super::NodeId;
use super::code::Code;
use super::diagnostic::{self, Also, Diagnostic};
use super::doubts::Doubts;
use super::path::{Path, Step};

/// How large a document may be. Checked before and while reading.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Size of the text in bytes.
    pub max_bytes: usize,
    /// Values in the document, keys counted too.
    pub max_nodes: usize,
    /// Nesting of lists and maps.
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 32 << 20,
            max_nodes: 2_000_000,
            max_depth: 32,
        }
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Scalar { text: Box<str>, plain: bool },
    List(Vec<NodeId>),
    Map(Vec<(NodeId, NodeId)>),
}

/// A document's name, text and tree. Nodes that could not be decoded are set aside and skipped by every later look-up;
/// what that leaves in doubt is kept in `Doubts`.
#[derive(Debug)]
pub struct Source {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) nodes: Vec<Node>,
    pub(super) root: Option<NodeId>,
    pub(super) set_aside: Vec<bool>,
    pub(super) doubts: Doubts,
}

impl Source {
    /// What faults call this document.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn root(&self) -> Option<NodeId> {
        self.root
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(super) fn is_set_aside(&self, id: NodeId) -> bool {
        self.set_aside.get(id).copied().unwrap_or(true)
    }

    pub(super) fn set_aside(&mut self, id: NodeId) {
        if let Some(flag) = self.set_aside.get_mut(id) {
            *flag = true;
            self.doubts.any = true;
        }
    }

    pub(super) fn text_of(&self, id: NodeId) -> Option<&str> {
        match &self.node(id)?.content {
            Content::Scalar { text, .. } => Some(text),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// Makes a fault about the value at `path`, which counts list elements as the decoded value has them.
    pub fn fault(&self, code: Code, path: &Path<'_>, said: (String, &str)) -> Diagnostic {
        let (span, full_path) = self.locate(path);
        let mut diagnostic = self.diagnostic(code, &span, said);
        diagnostic.path = full_path;
        diagnostic
    }

    pub(super) fn diagnostic(
        &self,
        code: Code,
        span: &Range<usize>,
        (message, help): (String, &str),
    ) -> Diagnostic {
        let (line, column, excerpt, marked) = diagnostic::excerpt(&self.text, span);
        let file = self.name.clone();
        let help = help.to_owned();
        Diagnostic {
            code,
            file,
            path: String::new(),
            line,
            column,
            excerpt,
            marked,
            message,
            help,
            also: Also::default(),
        }
    }

    /// Where in the text the value at `path` stands, in bytes; where it was left to a default, the nearest existing ancestor.
    pub fn range_of(&self, path: &Path<'_>) -> Range<usize> {
        let mut at = self.root;
        let mut range = 0..self.text.len();
        for step in path.steps() {
            at = at.and_then(|id| self.child(id, step)).map(|(id, _)| id);
            let Some(node) = at.and_then(|id| self.node(id)) else {
                break;
            };
            range = node.span.clone();
        }
        range
    }

    /// The span and true path of the value at `path`; of its nearest existing ancestor where it was left to a default.
    fn locate(&self, path: &Path<'_>) -> (Range<usize>, String) {
        let mut at = self.root;
        let mut span = 0..0;
        let mut written = String::new();
        for step in path.steps() {
            let Some((next, name)) = at.and_then(|id| self.child(id, step)) else {
                at = None;
                append(&mut written, &step.to_string());
                continue;
            };
            at = Some(next);
            span = self.node(next).map_or(0..0, |node| node.span.clone());
            append(&mut written, &name);
        }
        (self.first_line_of(span), written)
    }

    /// Blocks are marked by their first line only.
    pub(super) fn first_line_of(&self, span: Range<usize>) -> Range<usize> {
        let covered = self.text.get(span.clone()).unwrap_or_default();
        let first = covered
            .split('\n')
            .next()
            .unwrap_or_default()
            .trim_end()
            .len();
        span.start..span.start + first.max(1)
    }

    pub(super) fn child(&self, id: NodeId, step: Step<'_>) -> Option<(NodeId, String)> {
        match (&self.node(id)?.content, step) {
            (Content::Map(entries), Step::Field(name)) => entries
                .iter()
                .find(|(key, value)| self.text_of(*key) == Some(name) && !self.is_set_aside(*value))
                .map(|(_, value)| (*value, name.to_owned())),
            // A document in order is looked up at once: fleets have lists of fifty thousand.
            (Content::List(items), Step::Index(wanted)) if !self.doubts.any => {
                Some((*items.get(wanted)?, format!("[{wanted}]")))
            }
            (Content::List(items), Step::Index(wanted)) => items
                .iter()
                .enumerate()
                .filter(|(_, item)| !self.is_set_aside(**item))
                .nth(wanted)
                .map(|(index, item)| (*item, format!("[{index}]"))),
            _ => None,
        }
    }

    pub(super) fn span_of(&self, id: NodeId) -> Range<usize> {
        let span = self.node(id).map_or(0..0, |node| node.span.clone());
        self.first_line_of(span)
    }

    /// The path of `wanted` as text, for faults found while decoding.
    pub(super) fn path_of(&self, wanted: NodeId) -> String {
        let mut path = Vec::new();
        if self
            .root
            .is_some_and(|root| self.find(root, wanted, &mut path))
        {
            path.reverse();
            let text: String = path.concat();
            return text.trim_start_matches('.').to_owned();
        }
        String::new()
    }

    fn find(&self, at: NodeId, wanted: NodeId, path: &mut Vec<String>) -> bool {
        if at == wanted {
            return true;
        }
        match self.node(at).map(|node| &node.content) {
            Some(Content::Map(entries)) => {
                for (key, value) in entries {
                    if *key == wanted || self.find(*value, wanted, path) {
                        path.push(format!(".{}", self.text_of(*key).unwrap_or("?")));
                        return true;
                    }
                }
            }
            Some(Content::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    if self.find(*item, wanted, path) {
                        path.push(format!("[{index}]"));
                        return true;
                    }
                }
            }
            Some(Content::Scalar { .. }) | None => {}
        }
        false
    }
}

/// Adds a step to a path that is being written out.
fn append(path: &mut String, step: &str) {
    if !path.is_empty() && !step.starts_with('[') {
        path.push('.');
    }
    path.push_str(step);
}
