//! What is probably wrong with a text that is not YAML: the parser says where it gave up, which is not where the mistake is.

use std::ops::Range;

use super::code::Code;
use crate::model::printable;

/// How many lines behind the place where the parser gave up a tab is looked for.
const LINES_BEHIND: usize = 2;

/// Longest word that a message repeats, in characters.
const MAX_WORD_CHARS: usize = 80;

/// A finding about the text itself.
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
}

/// The likely mistake where the parser gave up at byte `at`, saying `why`.
pub(super) fn explain(text: &str, at: usize, why: &str) -> Fault {
    if let Some(tab) = tab_in_indentation(text, at) {
        return Fault {
            code: Code::D001,
            span: tab..tab + 1,
            message: "not readable as YAML: a tab in the indentation".to_owned(),
            help: "YAML is indented by spaces: write them instead".to_owned(),
        };
    }
    let word = word_at(text, at);
    let shown = printable(word, MAX_WORD_CHARS);
    let quoted = format!("if the text begins so, put it in quotes: \"{shown}\"");
    match word.chars().next() {
        Some('*') => Fault {
            code: Code::D002,
            span: at..at + word.len(),
            message: format!("`{shown}` reads as an alias, which is not allowed here"),
            help: quoted,
        },
        Some(mark @ ('@' | '`' | '%')) => Fault {
            code: Code::D001,
            span: at..at + word.len(),
            message: format!("not readable as YAML: no text begins with `{mark}`"),
            help: quoted,
        },
        _ => Fault {
            code: Code::D001,
            span: at..at + 1,
            message: format!(
                "not readable as YAML: {}",
                why.split(" at char ").next().unwrap_or(why)
            ),
            help: "check the indentation, quotes and brackets here".to_owned(),
        },
    }
}

/// What to do about an anchor, an alias or a tag that stands at the beginning of `word`.
pub(super) fn advice_on_indirection(word: &str) -> String {
    let why = "write the value out: anchors, aliases and tags could make a short file a large one";
    let word = word_at(word, 0);
    if word.is_empty() {
        return why.to_owned();
    }
    let shown = printable(word, MAX_WORD_CHARS);
    format!("{why}; if the text begins so, put it in quotes: \"{shown}\"")
}

/// The first tab in the indentation of the line of `at`, or of one just behind it.
fn tab_in_indentation(text: &str, at: usize) -> Option<usize> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let mut line_start = start;
    for line in text.get(start..)?.split('\n').take(1 + LINES_BEHIND) {
        let content = line.trim_start_matches([' ', '\t']);
        let indentation = line.strip_suffix(content).unwrap_or_default();
        if let Some(tab) = indentation
            .find('\t')
            .filter(|_| !content.trim().is_empty())
        {
            return Some(line_start + tab);
        }
        line_start += line.len() + 1;
    }
    None
}

/// The word that begins at byte `at`.
fn word_at(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or_default();
    let end = rest.find(|c: char| c.is_whitespace() || ",]}#".contains(c));
    rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tab_is_shown_where_it_is() {
        for (text, at, tab) in [
            ("a:\n\tb: 1\n", 1, Some(3)),
            ("a:\n\tb: 1\n", 4, Some(3)),
            ("a:\n  \tb: 1\n", 2, Some(5)),
            ("a: x\ty\nb: 1\n", 3, None),
            ("a: x\n\t\nb: 1\n", 3, None),
            ("a: [\n", 3, None),
        ] {
            assert_eq!(tab_in_indentation(text, at), tab, "{text:?}");
        }
    }

    #[test]
    fn words_that_yaml_takes_for_signs_are_to_be_quoted() {
        for (text, code, help) in [
            ("a: [*.example.com]", Code::D002, "\"*.example.com\""),
            ("a: [@x, y]", Code::D001, "\"@x\""),
            ("a: [b: c", Code::D001, "check the indentation"),
        ] {
            let fault = explain(text, 4, "found x at char 5 line 1 column 5");
            assert_eq!(fault.code, code, "{text}");
            assert!(fault.help.contains(help), "{}", fault.help);
        }
    }
}
