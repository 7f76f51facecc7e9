//! The text of a document as a tree of spans, within stated limits.

use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle};

use super::diagnostic::{self, Diagnostic, Diagnostics, Severity};
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

/// The position of a value in [`Source`]'s table.
pub(super) type NodeId = usize;

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

/// A document's name, text and tree. Nodes that could not be decoded are set aside and skipped by every later look-up.
#[derive(Debug)]
pub struct Source {
    name: String,
    text: String,
    nodes: Vec<Node>,
    root: Option<NodeId>,
    set_aside: Vec<bool>,
}

impl Source {
    /// Reads `text` into a tree. `name` is what faults call the file. A text that is over a limit or is not YAML gives
    /// a source without a root, and the faults say why.
    pub fn read(name: &str, text: &str, limits: &Limits) -> (Self, Diagnostics) {
        let mut source = Self {
            name: name.to_owned(),
            text: String::new(),
            nodes: Vec::new(),
            root: None,
            set_aside: Vec::new(),
        };
        let mut faults = Diagnostics::default();
        if text.len() > limits.max_bytes {
            let message = format!(
                "the document has {} bytes, at most {} are allowed",
                text.len(),
                limits.max_bytes
            );
            faults.push(source.diagnostic(
                Severity::Error,
                "D007",
                &(0..0),
                (message, "split the fleet or the rules"),
            ));
            return (source, faults);
        }
        text.clone_into(&mut source.text);
        let mut builder = Builder {
            source: &mut source,
            faults: &mut faults,
            limits,
            open: Vec::new(),
            repeated: None,
            seen: 0,
        };
        let root = builder.build(text);
        source.root = root;
        source.set_aside = vec![false; source.nodes.len()];
        (source, faults)
    }

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
        }
    }

    pub(super) fn text_of(&self, id: NodeId) -> Option<&str> {
        match &self.node(id)?.content {
            Content::Scalar { text, .. } => Some(text),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// Makes a fault about the value at `path`, which counts list elements as the decoded value has them.
    pub fn fault(
        &self,
        severity: Severity,
        code: &'static str,
        path: &Path<'_>,
        said: (String, &str),
    ) -> Diagnostic {
        let (span, full_path) = self.locate(path);
        let mut diagnostic = self.diagnostic(severity, code, &span, said);
        diagnostic.path = full_path;
        diagnostic
    }

    pub(super) fn diagnostic(
        &self,
        severity: Severity,
        code: &'static str,
        span: &Range<usize>,
        (message, help): (String, &str),
    ) -> Diagnostic {
        let (line, column, excerpt, marked) = diagnostic::excerpt(&self.text, span);
        let file = self.name.clone();
        let help = help.to_owned();
        Diagnostic {
            severity,
            code,
            file,
            path: String::new(),
            line,
            column,
            excerpt,
            marked,
            message,
            help,
        }
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
    fn first_line_of(&self, span: Range<usize>) -> Range<usize> {
        let covered = self.text.get(span.clone()).unwrap_or_default();
        let first = covered
            .split('\n')
            .next()
            .unwrap_or_default()
            .trim_end()
            .len();
        span.start..span.start + first.max(1)
    }

    fn child(&self, id: NodeId, step: Step<'_>) -> Option<(NodeId, String)> {
        match (&self.node(id)?.content, step) {
            (Content::Map(entries), Step::Field(name)) => entries
                .iter()
                .find(|(key, value)| self.text_of(*key) == Some(name) && !self.is_set_aside(*value))
                .map(|(_, value)| (*value, name.to_owned())),
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

/// Turns the parser's events into the tree.
struct Builder<'a> {
    source: &'a mut Source,
    faults: &'a mut Diagnostics,
    limits: &'a Limits,
    /// Lists and maps not yet ended: the node, and for a map the key that waits for its value.
    open: Vec<(NodeId, Option<NodeId>)>,
    /// A key that its map has already: its value is read over.
    repeated: Option<NodeId>,
    seen: usize,
}

/// What an event of the parser means for the tree.
enum Meaning {
    Value {
        content: Content,
        is_decorated: bool,
    },
    End,
    Document,
    Alias,
    Nothing,
}

fn meaning(event: Event<'_>) -> Meaning {
    let (content, anchor, tag) = match event {
        Event::DocumentStart(..) => return Meaning::Document,
        Event::SequenceEnd | Event::MappingEnd => return Meaning::End,
        Event::Alias(..) => return Meaning::Alias,
        Event::Scalar(text, style, anchor, tag) => {
            let plain = style == ScalarStyle::Plain;
            let text = text.into_owned().into_boxed_str();
            (Content::Scalar { text, plain }, anchor, tag)
        }
        Event::SequenceStart(_, anchor, tag) => (Content::List(Vec::new()), anchor, tag),
        Event::MappingStart(_, anchor, tag) => (Content::Map(Vec::new()), anchor, tag),
        _ => return Meaning::Nothing,
    };
    let is_decorated = anchor > 0 || tag.is_some();
    Meaning::Value {
        content,
        is_decorated,
    }
}

impl Builder<'_> {
    fn build(&mut self, text: &str) -> Option<NodeId> {
        let mut options = Options::default();
        options.flow_nesting_limit = self.limits.max_depth;
        options.block_nesting_limit = self.limits.max_depth;
        let mut root = None;
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = match event {
                Ok(found) => found,
                Err(error) => {
                    let at = error.marker().byte_offset().unwrap_or(0);
                    let message = format!("not readable as YAML: {error}");
                    let help = "check the indentation, quotes and brackets here";
                    self.refuse("D001", at..at + 1, message, help);
                    return None;
                }
            };
            let span = span.byte_range().unwrap_or(0..0);
            match meaning(event) {
                Meaning::Value {
                    content,
                    is_decorated,
                } => {
                    if is_decorated {
                        self.refuse_indirection(span, "an anchor or a tag");
                        return None;
                    }
                    let id = self.add(span, content)?;
                    root = root.or(Some(id));
                }
                Meaning::End => self.close(span.end),
                Meaning::Document if root.is_some() => {
                    let message = "a second document in one file, 1 is allowed".to_owned();
                    let help = "put each document in a file of its own";
                    self.refuse("D009", span, message, help);
                    return None;
                }
                Meaning::Alias => {
                    self.refuse_indirection(span, "an alias");
                    return None;
                }
                Meaning::Document | Meaning::Nothing => {}
            }
        }
        if root.is_none() {
            let help = "`tradewind schema` shows what belongs here";
            self.refuse("D010", 0..0, "the document is empty".to_owned(), help);
        }
        root
    }

    fn refuse_indirection(&mut self, span: Range<usize>, what: &str) {
        let help =
            "write the value out: anchors, aliases and tags could make a short file a large one";
        self.refuse(
            "D002",
            span,
            format!("{what}, which is not allowed here"),
            help,
        );
    }

    fn add(&mut self, span: Range<usize>, content: Content) -> Option<NodeId> {
        self.seen += 1;
        if self.seen > self.limits.max_nodes {
            let message = format!("more than {} values", self.limits.max_nodes);
            self.refuse("D007", span, message, "split the fleet or the rules");
            return None;
        }
        let opens = !matches!(content, Content::Scalar { .. });
        let id = self.source.nodes.len();
        self.source.nodes.push(Node { span, content });
        self.attach(id)?;
        if opens {
            self.open.push((id, None));
        }
        Some(id)
    }

    /// Hangs a new node under the list or map that is open.
    fn attach(&mut self, id: NodeId) -> Option<()> {
        let Some((parent, waiting_key)) = self.open.last_mut() else {
            return Some(());
        };
        let parent = *parent;
        let key = waiting_key.take();
        match self
            .source
            .nodes
            .get_mut(parent)
            .map(|node| &mut node.content)
        {
            Some(Content::List(items)) => items.push(id),
            Some(Content::Map(entries)) => match key {
                Some(key) if self.repeated == Some(key) => self.repeated = None,
                Some(key) => entries.push((key, id)),
                None => return self.begin_entry(parent, id),
            },
            Some(Content::Scalar { .. }) | None => {}
        }
        Some(())
    }

    fn begin_entry(&mut self, map: NodeId, key: NodeId) -> Option<()> {
        let span = self.source.span_of(key);
        let Some(name) = self.source.text_of(key).map(str::to_owned) else {
            self.refuse(
                "D005",
                span,
                "a list or a map as a field name".to_owned(),
                "field names are plain words",
            );
            return None;
        };
        let twice = match self.source.node(map).map(|node| &node.content) {
            // Quadratic in the fields of one map; maps with more fields than this are refused as unknown fields anyway.
            Some(Content::Map(entries)) => entries
                .iter()
                .rev()
                .take(64)
                .any(|(other, _)| self.source.text_of(*other) == Some(&*name)),
            _ => false,
        };
        if twice {
            let message = format!("the field `{name}` stands twice");
            self.refuse("D003", span, message, "keep one of the two");
            self.repeated = Some(key);
        }
        if let Some((_, waiting)) = self.open.last_mut() {
            *waiting = Some(key);
        }
        Some(())
    }

    fn close(&mut self, end: usize) {
        if let Some((id, _)) = self.open.pop()
            && let Some(node) = self.source.nodes.get_mut(id)
        {
            node.span.end = node.span.end.max(end);
        }
    }

    fn refuse(&mut self, code: &'static str, span: Range<usize>, message: String, help: &str) {
        let source = &*self.source;
        self.faults.push_with(Severity::Error, || {
            source.diagnostic(Severity::Error, code, &span, (message, help))
        });
    }
}
