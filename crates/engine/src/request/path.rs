//! Paths and query strings in one normal form, which is what rules match and keys are made of.
//!
//! A client can spell one path in many ways, and a node serves the same for all of them: `/a/../internal`, `//internal`,
//! `/%69nternal`. A rule that compared what was sent would be passed by the next spelling. The normal form is that of
//! RFC 3986, section 6.2.2, taken as far as servers go:
//!
//! 1. what is percent-encoded and may stand by itself is decoded, but `;` in a path, and `&`, `=`, `+` and `;` in a query,
//!    which mean something else when they are; hexadecimal digits are upper case. The RFC decodes letters, digits and
//!    `-._~` only; servers serve `/%40internal` for `/@internal` too;
//! 2. what may not stand in a path by itself (spaces, quotes, bytes beyond ASCII, a `%` that begins no code) is encoded;
//! 3. `%2F` is a slash, as for every server that decodes before it looks ([`EscapedSlashes`] says otherwise);
//! 4. empty segments are merged ([`EmptySegments`] says otherwise), then dot segments are removed, in the order of nginx.
//!
//! The form is ASCII, and its own normal form. Backslashes, NUL, control characters and `#` are refused: servers read
//! them differently, so nobody can say which path is meant.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How paths are read where servers differ. `docs/paths.md` says what nodes do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PathForm {
    /// What `//` is.
    pub empty_segments: EmptySegments,
    /// What `%2F` is.
    pub escaped_slashes: EscapedSlashes,
}

/// What several slashes in a row are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EmptySegments {
    /// One slash, as nginx, Apache and Envoy's `merge_slashes` have it.
    #[default]
    Merge,
    /// Empty segments: `/a//b` and `/a/b` are two objects, and two paths for rules.
    Keep,
}

/// What `%2F` in a path is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EscapedSlashes {
    /// A slash: rules hold for nodes that decode it.
    #[default]
    Decode,
    /// Part of a segment: for fleets whose nodes never decode it.
    Keep,
    /// A fault of the request.
    Refuse,
}

/// Why a path or query string has no normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// Neither `/` nor `*` leads it.
    #[error("must begin with `/`")]
    NoSlash,
    /// Some servers take it for a slash.
    #[error("has a backslash at byte {0}, which some servers take for `/`")]
    Backslash(usize),
    /// `%00`, at which some servers end the path.
    #[error("has `%00` at byte {0}, at which some servers end a path")]
    Nul(usize),
    /// A control character.
    #[error("has a control character at byte {0}")]
    Control(usize),
    /// A fragment, which clients keep for themselves.
    #[error("has `#` at byte {0}, and no fragment is ever sent")]
    Fragment(usize),
    /// `%2F` where the policy refuses it.
    #[error("has `%2F` at byte {0}, which the policy refuses")]
    EscapedSlash(usize),
}

/// A path in normal form: borrowed where it is already, else written to `room`. The asterisk of `OPTIONS *` and an
/// empty path stand for themselves.
#[inline]
pub fn normal_path<'a>(
    given: &'a str,
    form: PathForm,
    room: &'a mut String,
) -> Result<&'a str, PathFault> {
    if is_plain(given) {
        return Ok(given);
    }
    rebuild_path(given, form, room)
}

/// A query string in normal form: percent-encoding as in a path, order and everything else as it stands.
#[inline]
pub fn normal_query<'a>(given: &'a str, room: &'a mut String) -> Result<&'a str, PathFault> {
    let special = given
        .bytes()
        .fold(0, |seen, byte| seen | class(byte) & IN_QUERY);
    if special == 0 {
        return Ok(given);
    }
    rebuild_query(given, room)
}

/// Writes a byte as `%HH`.
pub fn push_escaped(byte: u8, text: &mut String) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    text.push('%');
    for nibble in [byte >> 4, byte & 0xf] {
        text.extend(DIGITS.get(usize::from(nibble)));
    }
}

/// Must be looked at in a path: to be decoded, encoded or refused.
const IN_PATH: u8 = 1;
/// The same in a query string.
const IN_QUERY: u8 = 2;
/// A slash …
const SLASH: u8 = 4;
/// … and what must not follow one: another, or a dot. The next bit, so that one shift makes the first into the second.
const NOT_AFTER_SLASH: u8 = 8;

/// What has to be looked at, by byte. Most paths are in normal form, and a table tells so in one pass.
#[expect(
    clippy::indexing_slicing,
    reason = "checked when it is compiled, and a constant has no other way"
)]
static CLASSES: [u8; 256] = {
    let mut classes = [IN_PATH | IN_QUERY; 256];
    let mut byte: u8 = 0x21;
    while byte < 0x7f {
        if is_plain_in_path(byte) {
            classes[byte as usize] = 0;
        }
        byte += 1;
    }
    classes[b'/' as usize] = SLASH | NOT_AFTER_SLASH;
    classes[b'.' as usize] = NOT_AFTER_SLASH;
    classes[b'?' as usize] = IN_PATH;
    classes
};

#[inline]
fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(IN_PATH)
}

/// Whether a byte stands for itself in a segment: `pchar` of RFC 3986 without percent-encoding.
const fn is_plain_in_path(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

/// Whether a byte means the same in a query string, encoded or not: it parts neither pairs nor names from values.
const fn is_plain_in_value(byte: u8) -> bool {
    (is_plain_in_path(byte) || matches!(byte, b'/' | b'?'))
        && !matches!(byte, b'&' | b'=' | b'+' | b';')
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether a path is in normal form for certain: it begins with a slash, every byte stands for itself, and after a slash
/// there is neither another nor a dot.
#[inline]
fn is_plain(path: &str) -> bool {
    let mut seen = 0;
    let mut before = 0;
    for class in path.bytes().map(class) {
        // Other bits meet only where the byte before has been seen to be special already.
        seen |= class & (IN_PATH | before << 1);
        before = class;
    }
    seen == 0 && path.starts_with('/')
}

/// What is read next from a text.
enum Piece {
    /// A byte as it was sent.
    Plain(u8),
    /// A byte that was percent-encoded.
    Escaped(u8),
}

/// The pieces of a text with their positions; a `%` that begins no code stands for itself.
fn pieces(text: &str) -> impl Iterator<Item = (usize, Piece)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        let escaped = match bytes.get(at..at + 3) {
            Some(&[b'%', high, low]) => hex(high).zip(hex(low)),
            _ => None,
        };
        let position = at;
        Some(if let Some((high, low)) = escaped {
            at += 3;
            (position, Piece::Escaped(high << 4 | low))
        } else {
            at += 1;
            (position, Piece::Plain(byte))
        })
    })
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cold]
fn rebuild_path<'a>(
    given: &'a str,
    form: PathForm,
    room: &'a mut String,
) -> Result<&'a str, PathFault> {
    if given.is_empty() || given == "*" {
        return Ok(given);
    }
    room.clear();
    let mut segments = Segments {
        path: room,
        empty: form.empty_segments,
    };
    for (at, piece) in pieces(given) {
        match piece {
            Piece::Plain(b'/') => segments.end(),
            Piece::Escaped(b'/') => match form.escaped_slashes {
                EscapedSlashes::Decode => segments.end(),
                EscapedSlashes::Keep => push_escaped(b'/', segments.path),
                EscapedSlashes::Refuse => return Err(PathFault::EscapedSlash(at)),
            },
            Piece::Plain(b'\\') => return Err(PathFault::Backslash(at)),
            Piece::Plain(b'#') => return Err(PathFault::Fragment(at)),
            Piece::Plain(byte) if byte.is_ascii_control() => return Err(PathFault::Control(at)),
            Piece::Escaped(0) => return Err(PathFault::Nul(at)),
            Piece::Plain(byte) if is_plain_in_path(byte) => segments.path.push(char::from(byte)),
            Piece::Escaped(byte) if is_plain_in_path(byte) && byte != b';' => {
                segments.path.push(char::from(byte));
            }
            Piece::Plain(byte) | Piece::Escaped(byte) => push_escaped(byte, segments.path),
        }
    }
    segments.resolve();
    if room.starts_with('/') {
        Ok(room)
    } else {
        Err(PathFault::NoSlash)
    }
}

/// A path that is being written, segment by segment.
struct Segments<'a> {
    path: &'a mut String,
    empty: EmptySegments,
}

impl Segments<'_> {
    /// Ends a segment by a slash.
    fn end(&mut self) {
        let was_dots = self.resolve();
        let is_empty = self.empty == EmptySegments::Merge && self.path.ends_with('/');
        if !was_dots && !is_empty {
            self.path.push('/');
        }
    }

    /// Removes the last segment if it is `.`, and the one before it too if it is `..`; the slash before it stays. Whether
    /// it was one of them. Above the root there is the root.
    fn resolve(&mut self) -> bool {
        let Some((before, last)) = self.path.rsplit_once('/') else {
            return false;
        };
        let end = match last {
            "." => before.len() + 1,
            ".." => before.rfind('/').map_or(0, |slash| slash) + 1,
            _ => return false,
        };
        self.path.truncate(end);
        true
    }
}

#[cold]
fn rebuild_query<'a>(given: &'a str, room: &'a mut String) -> Result<&'a str, PathFault> {
    room.clear();
    for (at, piece) in pieces(given) {
        match piece {
            Piece::Plain(b'#') => return Err(PathFault::Fragment(at)),
            Piece::Plain(byte) if byte.is_ascii_control() => return Err(PathFault::Control(at)),
            Piece::Plain(byte) if is_plain_in_path(byte) || matches!(byte, b'/' | b'?') => {
                room.push(char::from(byte));
            }
            Piece::Escaped(byte) if is_plain_in_value(byte) => room.push(char::from(byte)),
            Piece::Plain(byte) | Piece::Escaped(byte) => push_escaped(byte, room),
        }
    }
    Ok(room)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MERGED: PathForm = PathForm {
        empty_segments: EmptySegments::Merge,
        escaped_slashes: EscapedSlashes::Decode,
    };

    fn path(given: &str, form: PathForm) -> Result<String, PathFault> {
        normal_path(given, form, &mut String::new()).map(str::to_owned)
    }

    #[test]
    fn one_object_has_one_path() {
        for (given, normal) in [
            ("/internal/x", "/internal/x"),
            ("//internal/x", "/internal/x"),
            ("/./internal/x", "/internal/x"),
            ("/a/../internal/x", "/internal/x"),
            ("/a/b/../../internal/./x", "/internal/x"),
            ("/../internal/x", "/internal/x"),
            ("/%69nternal/x", "/internal/x"),
            ("/%2e/internal/x", "/internal/x"),
            ("/a/%2E%2e/internal/x", "/internal/x"),
            ("/%2Finternal/x", "/internal/x"),
            ("/a%2f..%2Finternal/x", "/internal/x"),
            ("///internal//x", "/internal/x"),
            ("/a//../internal/x", "/internal/x"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/café", "/caf%C3%A9"),
            ("/a b|c", "/a%20b%7Cc"),
            ("/100%", "/100%25"),
            ("/a%zz", "/a%25zz"),
            ("/a%2", "/a%252"),
            ("/a%252e", "/a%252e"),
            ("/a/", "/a/"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/..", "/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a;v=1,2:3@4", "/a;v=1,2:3@4"),
            ("/%40internal/users%3Adelete", "/@internal/users:delete"),
            ("/%28x%29%21%24%26%27%2A%2b%2C%3d", "/(x)!$&'*+,="),
            ("/a%3bb", "/a%3Bb"),
            ("/%7Euser", "/~user"),
            ("/a%5Cb", "/a%5Cb"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(path(given, MERGED).as_deref(), Ok(normal), "{given}");
        }
    }

    #[test]
    fn empty_segments_and_escaped_slashes_are_the_policys_to_keep() {
        let kept = PathForm {
            empty_segments: EmptySegments::Keep,
            escaped_slashes: EscapedSlashes::Keep,
        };
        for (given, normal) in [
            ("/a//b", "/a//b"),
            ("//a", "//a"),
            ("/a//../b", "/a/b"),
            ("/a%2fb", "/a%2Fb"),
            ("/x/..%2Finternal", "/x/..%2Finternal"),
            ("/a/./b", "/a/b"),
        ] {
            assert_eq!(path(given, kept).as_deref(), Ok(normal), "{given}");
        }
        let refusing = PathForm {
            escaped_slashes: EscapedSlashes::Refuse,
            ..MERGED
        };
        assert_eq!(path("/a%2Fb", refusing), Err(PathFault::EscapedSlash(2)));
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for (given, fault) in [
            ("/a\\b", PathFault::Backslash(2)),
            ("/a%00b", PathFault::Nul(2)),
            ("/a\0", PathFault::Control(2)),
            ("/a\r\n", PathFault::Control(2)),
            ("/a\u{7f}", PathFault::Control(2)),
            ("/a#b", PathFault::Fragment(2)),
            ("a", PathFault::NoSlash),
            ("../a", PathFault::NoSlash),
            ("%2", PathFault::NoSlash),
        ] {
            assert_eq!(path(given, MERGED), Err(fault), "{given}");
        }
    }

    #[test]
    fn queries_keep_their_order() {
        for (given, normal) in [
            ("b=2&a=1", "b=2&a=1"),
            ("%61=%7e&x=%2f&y=/?", "a=~&x=/&y=/?"),
            ("debug=a%40b%3a&x=%26%3d%2b%3b", "debug=a@b:&x=%26%3D%2B%3B"),
            ("a[]=é&c=\"", "a%5B%5D=%C3%A9&c=%22"),
            ("a=%00&p=\\", "a=%00&p=%5C"),
            ("..//..", "..//.."),
        ] {
            let mut room = String::new();
            assert_eq!(normal_query(given, &mut room), Ok(normal), "{given}");
        }
        let mut room = String::new();
        assert_eq!(normal_query("a#", &mut room), Err(PathFault::Fragment(1)));
        assert_eq!(normal_query("\n", &mut room), Err(PathFault::Control(0)));
    }

    /// Texts made of what paths are made of, and of what breaks them.
    fn spellings() -> impl Strategy<Value = String> {
        let parts = prop::sample::select(vec![
            "/", "//", ".", "..", "%2e", "%2F", "%5c", "a", "B", "%41", "%", "%4", "é", " ", "?",
            "~", ";", "%c3%A9",
        ]);
        prop::collection::vec(parts, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
    }

    fn forms() -> impl Strategy<Value = PathForm> {
        let empty = prop_oneof![Just(EmptySegments::Merge), Just(EmptySegments::Keep)];
        let slashes = prop_oneof![Just(EscapedSlashes::Decode), Just(EscapedSlashes::Keep)];
        (empty, slashes).prop_map(|(empty_segments, escaped_slashes)| PathForm {
            empty_segments,
            escaped_slashes,
        })
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own(given in spellings(), form in forms()) {
            if let Ok(once) = path(&given, form) {
                prop_assert!(once.is_ascii());
                prop_assert!(once.starts_with('/'));
                prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."), "{once}");
                let merged = form.empty_segments == EmptySegments::Merge;
                prop_assert!(!(merged && once.contains("//")), "{once}");
                prop_assert_eq!(path(&once, form), Ok(once.clone()));
            }
        }

        #[test]
        fn what_is_called_plain_is_left_by_the_long_way_too(given in "/[a-zA-Z0-9/._~-]{0,24}") {
            prop_assume!(is_plain(&given));
            let mut room = String::new();
            prop_assert_eq!(rebuild_path(&given, MERGED, &mut room), Ok(given.as_str()));
        }

        #[test]
        fn a_querys_normal_form_is_its_own(given in "\\PC{0,24}") {
            let mut room = String::new();
            if let Ok(once) = normal_query(&given, &mut room).map(str::to_owned) {
                let mut room = String::new();
                prop_assert_eq!(normal_query(&once, &mut room), Ok(once.as_str()));
            }
        }
    }
}
