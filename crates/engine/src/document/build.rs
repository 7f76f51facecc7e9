//! The text of a document read into a tree, event by event, within limits.

use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle};

use super::NodeId;
use super::code::Code;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::doubts::Doubts;
use super::syntax;
use super::tree::{Content, Limits, Node, Source};

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
            doubts: Doubts::default(),
        };
        let mut faults = Diagnostics::default();
        if text.len() > limits.max_bytes {
            let message = format!(
                "the document has {} bytes, at most {} are allowed",
                text.len(),
                limits.max_bytes
            );
            faults.push(source.diagnostic(
                Code::D007,
                &(0..0),
                (message, "split the fleet or the rules"),
            ));
            return (source, faults);
        }
        text.clone_into(&mut source.text);
        let root = Builder::new(&mut source, &mut faults, limits).build(text);
        source.root = root;
        source.set_aside = vec![false; source.nodes.len()];
        (source, faults)
    }
}

/// Turns the parser's events into the tree.
pub(super) struct Builder<'a> {
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

impl<'a> Builder<'a> {
    pub(super) fn new(
        source: &'a mut Source,
        faults: &'a mut Diagnostics,
        limits: &'a Limits,
    ) -> Self {
        Self {
            source,
            faults,
            limits,
            open: Vec::new(),
            repeated: None,
            seen: 0,
        }
    }

    /// Reads the whole text; the root of the tree, unless the text is refused.
    pub(super) fn build(&mut self, text: &str) -> Option<NodeId> {
        let mut options = Options::default();
        options.flow_nesting_limit = self.limits.max_depth;
        options.block_nesting_limit = self.limits.max_depth;
        // Nobody here wants them; and where somebody else's features turn them on, the parser has a bound of its own for
        // how many may stand in a row.
        options.emit_comments = false;
        let mut root = None;
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = match event {
                Ok(found) => found,
                Err(error) => {
                    let at = error.marker().byte_offset().unwrap_or(0);
                    let fault = syntax::explain(text, at, &error.to_string());
                    self.refuse(fault.code, fault.span, fault.message, &fault.help);
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
                    self.refuse(Code::D009, span, message, help);
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
            self.refuse(Code::D010, 0..0, "the document is empty".to_owned(), help);
        }
        root
    }

    fn refuse_indirection(&mut self, span: Range<usize>, what: &str) {
        let word = self.source.text.get(span.clone()).unwrap_or_default();
        let is_sign = word.starts_with(['*', '&', '!']);
        let help = syntax::advice_on_indirection(if is_sign { word } else { "" });
        let message = format!("{what}, which is not allowed here");
        self.refuse(Code::D002, span, message, &help);
    }

    fn add(&mut self, span: Range<usize>, content: Content) -> Option<NodeId> {
        self.seen += 1;
        if self.seen > self.limits.max_nodes {
            let message = format!("more than {} values", self.limits.max_nodes);
            self.refuse(Code::D007, span, message, "split the fleet or the rules");
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
                Code::D005,
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
            self.refuse(Code::D003, span, message, "keep one of the two");
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

    fn refuse(&mut self, code: Code, span: Range<usize>, message: String, help: &str) {
        let source = &*self.source;
        let said = Diagnostic::new(code, source.name(), (String::new(), message), help);
        self.faults.push_with(&said, || {
            source.diagnostic(code, &span, (said.message.clone(), help))
        });
    }
}
