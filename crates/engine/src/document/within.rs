//! Places within a text that a document holds: an expression is a text of several lines, and only one of them is wrong.

use std::ops::Range;

use super::NodeId;
use super::code::Code;
use super::diagnostic::Diagnostic;
use super::path::Path;
use super::tree::{Content, Source};

impl Source {
    /// Makes a fault about the byte `at` of the text at `path`; about the whole of it where the document writes the text so
    /// that nobody can tell.
    pub(super) fn fault_within(
        &self,
        code: Code,
        path: &Path<'_>,
        at: usize,
        said: (String, &str),
    ) -> Diagnostic {
        let whole = self.fault(code, path, said);
        let span = self.node_at(path).and_then(|id| self.span_within(id, at));
        let Some(span) = span else {
            return whole;
        };
        Diagnostic {
            path: whole.path.clone(),
            ..self.diagnostic(code, &span, (whole.message, &whole.help))
        }
    }

    fn node_at(&self, path: &Path<'_>) -> Option<NodeId> {
        let steps = path.steps().into_iter();
        steps.fold(self.root(), |at, step| Some(self.child(at?, step)?.0))
    }

    /// Where the byte `at` of a scalar's value is written.
    fn span_within(&self, id: NodeId, at: usize) -> Option<Range<usize>> {
        let node = self.node(id)?;
        let Content::Scalar { text, .. } = &node.content else {
            return None;
        };
        let written = self.text.get(node.span.clone())?;
        let letter = text.get(at..)?.chars().next()?;
        let value = text.get(..at + letter.len_utf8())?;
        let start = node.span.start + place_of(value, written)?;
        Some(self.first_line_of(start..node.span.end))
    }
}

/// Where the last letter of `value`, the beginning of a text, is in what stands for that text: the same letters with quotes,
/// indentation and line ends between. `None` where escapes stand for some.
fn place_of(value: &str, written: &str) -> Option<usize> {
    let is_block = written.starts_with(['|', '>']);
    let is_quoted = written.starts_with(['"', '\'']);
    let body = if is_block {
        written.find('\n')?
    } else {
        usize::from(is_quoted)
    };
    let is_escaped = |rest: &str| rest.starts_with('\\') && !rest.starts_with("\\\"");
    let mut rest = written.get(body..)?;
    let mut place = body;
    for letter in value.chars().filter(|letter| !letter.is_whitespace()) {
        loop {
            if written.starts_with('"') && is_escaped(rest) {
                return None;
            }
            place = written.len() - rest.len();
            let next = rest.chars().next()?;
            rest = rest.get(next.len_utf8()..)?;
            if next == letter {
                break;
            }
        }
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::super::tree::Limits;
    use super::*;

    #[test]
    fn places_are_those_of_the_document() {
        for (written, value, line, column) in [
            ("a: b == cd\n", "b == cd", 1, 9),
            ("a: 'b == ''cd'''\n", "b == 'cd'", 1, 12),
            ("a: \"b == \\\"cd\\\"\"\n", "b == \"cd\"", 1, 12),
            ("a: |\n  b ==\n    cd\n", "b ==\n  cd\n", 3, 5),
            ("a: >-\n  b\n  == cd\n", "b == cd", 3, 6),
            ("a:\n  é == cd\n", "é == cd", 2, 8),
        ] {
            let (source, _) = Source::read("s", written, &Limits::default());
            let path = Path::Root;
            let path = path.field("a");
            let node = source.node_at(&path).unwrap();
            assert_eq!(source.text_of(node), Some(value), "{written}");
            let at = value.find("cd").unwrap();
            let fault = source.fault_within(Code::P007, &path, at, (String::new(), ""));
            assert_eq!((fault.line, fault.column), (line, column), "{written}");
            assert_eq!(fault.path, "a");
        }
    }

    #[test]
    fn where_nobody_can_tell_the_whole_is_marked() {
        let text = "x: 1\na: \"\\x62 == cd\"\n";
        let (source, _) = Source::read("s", text, &Limits::default());
        let path = Path::Root;
        let path = path.field("a");
        for at in [5, 900] {
            let fault = source.fault_within(Code::P007, &path, at, (String::new(), ""));
            assert_eq!((fault.line, fault.column), (2, 4));
        }
    }
}
