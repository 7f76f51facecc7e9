//! Regular expressions: compiled within bounds, and refused when nothing they could match is ever sent.

use regex_automata::meta::Regex;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::super::matcher::Expression;
use super::shown;
use crate::document::{Checker, Code, Path};

/// Largest compiled form of one expression, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// What the texts are made of that an expression is to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// A path in normal form: it begins with a slash, is ASCII, and has neither `?`, `#` nor a space.
    Path,
    /// The value of a header: no control character but the tab.
    Header,
    /// The value of a query parameter in normal form: ASCII, without `&`, `#` and spaces.
    Query,
}

impl Alphabet {
    fn has(self, letter: char) -> bool {
        match self {
            Self::Path => letter.is_ascii_graphic() && !"?#\\\"<>[]^`{|}".contains(letter),
            Self::Header => letter == '\t' || !letter.is_ascii_control(),
            Self::Query => letter.is_ascii_graphic() && !"&#\\\"<>[]^`{|}".contains(letter),
        }
    }

    fn has_some(self, first: char, last: char) -> bool {
        match self {
            Self::Header => !(first > '\u{9}' && last < ' ') && first != '\u{7f}' && last >= '\t',
            Self::Path | Self::Query => {
                let last = last.min('\u{7e}');
                (first..=last).any(|letter| self.has(letter))
            }
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Path => {
                "it must match a whole path in normal form: from the first `/`, without `?` and what follows, other \
                 than ASCII percent-encoded (%C3%A9)"
            }
            Self::Header => "it must match the whole value of the header",
            Self::Query => {
                "it must match the whole value as it stands in the query, percent-encoded, up to the next `&`"
            }
        }
    }
}

/// Compiles an expression that must match the whole text, in linear time and bounded space.
pub(super) fn compile(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    text: &str,
    alphabet: Alphabet,
) -> Option<Expression> {
    let config = Regex::config()
        .nfa_size_limit(Some(MAX_REGEX_BYTES))
        .onepass_size_limit(Some(MAX_REGEX_BYTES));
    let build = |text: &str| {
        let built = Regex::builder().configure(config.clone()).build(text);
        built.map_err(|error| why(&error))
    };
    // By itself first: wrapped, an unbalanced `)` could close the wrapper's group.
    match build(text).and_then(|_| build(&format!("^(?:{text})$"))) {
        // `OPTIONS *` has the one path that does not begin with a slash.
        Ok(regex)
            if can_match(text, alphabet) || (alphabet == Alphabet::Path && regex.is_match("*")) =>
        {
            Some(Expression {
                text: text.into(),
                regex: Box::new(regex),
            })
        }
        Ok(_) => {
            let message = format!("`{}` matches nothing that is ever sent", shown(text));
            checker.error(Code::P007, path, message, alphabet.help());
            None
        }
        Err(why) => {
            let help =
                "see the syntax of Rust's regex; at most 1 MiB compiled, without look-around";
            let message = format!("not a usable expression: {why}");
            checker.error(Code::P007, path, message, help);
            None
        }
    }
}

fn why(error: &regex_automata::meta::BuildError) -> String {
    match error.syntax_error() {
        Some(_) => "its syntax is wrong".to_owned(),
        None if error.size_limit().is_some() => "it is larger than 1 MiB compiled".to_owned(),
        None => {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().to_owned()
        }
    }
}

/// Whether an expression matches any text over the alphabet, as far as its form tells: `true` where it is not certain.
fn can_match(text: &str, alphabet: Alphabet) -> bool {
    let Ok(parsed) = regex_syntax::parse(text) else {
        return true;
    };
    is_possible(&parsed, alphabet)
        && (alphabet != Alphabet::Path || start(&parsed, alphabet) == Start::Slash)
}

/// Whether some text over the alphabet matches, look-around taken for met.
fn is_possible(part: &Hir, alphabet: Alphabet) -> bool {
    match part.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(text) => text.chars().all(|letter| alphabet.has(letter)),
            Err(_) => alphabet == Alphabet::Header,
        },
        HirKind::Class(class) => has_some(class, alphabet),
        HirKind::Repetition(repeated) => repeated.min == 0 || is_possible(&repeated.sub, alphabet),
        HirKind::Capture(capture) => is_possible(&capture.sub, alphabet),
        HirKind::Concat(parts) => parts.iter().all(|part| is_possible(part, alphabet)),
        HirKind::Alternation(parts) => parts.iter().any(|part| is_possible(part, alphabet)),
    }
}

fn has_some(class: &Class, alphabet: Alphabet) -> bool {
    match class {
        Class::Unicode(class) => class
            .ranges()
            .iter()
            .any(|range| alphabet.has_some(range.start(), range.end())),
        Class::Bytes(class) => class
            .ranges()
            .iter()
            .any(|range| alphabet.has_some(char::from(range.start()), char::from(range.end()))),
    }
}

/// How a match of a part can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With a slash.
    Slash,
    /// Not with a slash, but it can be empty: what follows decides.
    Empty,
    /// With something else only.
    Elsewhere,
}

fn start(part: &Hir, alphabet: Alphabet) -> Start {
    if !is_possible(part, alphabet) {
        return Start::Elsewhere;
    }
    match part.kind() {
        HirKind::Empty | HirKind::Look(_) => Start::Empty,
        HirKind::Literal(literal) if literal.0.first() == Some(&b'/') => Start::Slash,
        HirKind::Class(class) if has_slash(class) => Start::Slash,
        HirKind::Literal(_) | HirKind::Class(_) => Start::Elsewhere,
        HirKind::Capture(capture) => start(&capture.sub, alphabet),
        HirKind::Repetition(repeated) => match start(&repeated.sub, alphabet) {
            Start::Elsewhere if repeated.min == 0 => Start::Empty,
            start => start,
        },
        HirKind::Concat(parts) => {
            let starts = parts.iter().map(|part| start(part, alphabet));
            let mut decided = starts.filter(|start| *start != Start::Empty);
            decided.next().unwrap_or(Start::Empty)
        }
        HirKind::Alternation(parts) => {
            let starts: Vec<Start> = parts.iter().map(|part| start(part, alphabet)).collect();
            let order = [Start::Slash, Start::Empty];
            let found = order.into_iter().find(|wanted| starts.contains(wanted));
            found.unwrap_or(Start::Elsewhere)
        }
    }
}

fn has_slash(class: &Class) -> bool {
    match class {
        Class::Unicode(class) => {
            let mut ranges = class.ranges().iter();
            ranges.any(|range| (range.start()..=range.end()).contains(&'/'))
        }
        Class::Bytes(class) => {
            let mut ranges = class.ranges().iter();
            ranges.any(|range| (range.start()..=range.end()).contains(&b'/'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_some_path_matches_are_taken() {
        for good in [
            "/seg-[0-9]+\\.ts",
            "^/a$",
            ".*\\.mp4",
            "[^.]*\\.js",
            "(/a|/b)/.*",
            "(?:x|/)y",
            "a?/b",
            "(a|)/b",
            "(?i)/A",
            "\\W.*",
            "/a\\*b",
        ] {
            assert!(can_match(good, Alphabet::Path), "{good}");
        }
    }

    #[test]
    fn expressions_that_no_path_matches_are_found() {
        for bad in [
            "video/.*",
            "^video",
            "[a-z]+\\.js",
            "(a|b)/c",
            "a*b/",
            "/a\\?b=1",
            "/a b",
            "/café",
            "/a#b",
            "[a-z]*",
            "",
            "[^/]+",
            "https?://.*",
            "(?:/é|x/)y",
        ] {
            assert!(!can_match(bad, Alphabet::Path), "{bad}");
        }
    }

    #[test]
    fn values_of_headers_and_parameters_have_letters_of_their_own() {
        for (text, header, query) in [
            ("[0-9a-f]+", true, true),
            ("a&b", true, false),
            ("a b", true, false),
            ("é", true, false),
            ("a\\[\\]", true, false),
            ("\\x01", false, false),
            ("\\t", true, false),
            ("[\\x01-\\x08]", false, false),
            (".*", true, true),
        ] {
            assert_eq!(can_match(text, Alphabet::Header), header, "{text}");
            assert_eq!(can_match(text, Alphabet::Query), query, "{text}");
        }
    }
}
