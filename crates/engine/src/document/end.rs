//! What tells a whole document from one that was cut between two lines, which may be a sound document too.

use super::checker::Checker;
use super::code::Code;
use super::path::Path;
use super::tree::{Content, Source};

/// The field that a document may end with, and the line that is it.
const END: &str = "end";
const LINE: &str = "end: true";

/// Whether a text says that it ends where it does: by `end: true` as its last line but for comments, or because it is one bracket
/// (JSON), whose other half nothing that is cut has.
pub fn has_end(text: &str) -> bool {
    let is_said = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let last = text.lines().rfind(is_said).unwrap_or_default();
    // Words behind the value are a comment.
    let last = last.split(" #").next().unwrap_or_default();
    last.trim_end() == LINE || is_bracket(text)
}

/// Whether the document is one map in brackets.
fn is_bracket(text: &str) -> bool {
    let lines = text.lines().map(str::trim_start);
    let mut said = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    said.next().is_some_and(|line| line.starts_with('{'))
}

impl Source {
    /// Whether the field is the last one of the document as it is written.
    fn is_last(&self, name: &str) -> bool {
        let root = self.root().and_then(|root| self.node(root));
        let Some(Content::Map(entries)) = root.map(|root| &root.content) else {
            return false;
        };
        let last = entries.last().and_then(|(key, _)| self.text_of(*key));
        last == Some(name)
    }
}

impl Checker<'_> {
    /// `end` says nothing where more follows it, and nothing but true.
    pub fn end(&mut self, end: Option<bool>) {
        let path = Path::Root.field(END);
        let help = "make `end: true` the last line, or leave it out";
        match end {
            None => {}
            Some(false) => self.error(Code::D015, &path, "`end` is false".to_owned(), help),
            Some(true) => {
                let source = self.source();
                if !source.is_last(END) && !is_bracket(&source.text) {
                    self.error(Code::D015, &path, "more follows `end`".to_owned(), help);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_the_last_line_or_a_bracket() {
        for whole in [
            "a: 1\nend: true\n",
            "a: 1\nend: true",
            "end: true # all\n\n# bye\n",
            "# json\n{\"a\": 1}",
        ] {
            assert!(has_end(whole), "{whole}");
        }
        for cut in [
            "",
            "a: 1\n",
            "a: 1\nend: tru",
            "a: 1\nend:",
            "end: true\na: 1\n",
            "a:\n  end: true\n",
            "end: trueish",
        ] {
            assert!(!has_end(cut), "{cut}");
        }
    }
}
