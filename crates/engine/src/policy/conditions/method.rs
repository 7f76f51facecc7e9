//! Methods: any token may be one (RFC 9110, section 9.1), but one letter off a known one is a slip.

use super::shown;
use crate::document::{Checker, Code, Path, suggest};

/// IANA's registry of HTTP methods, without `*`.
const REGISTERED: &[&str] = &[
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POST",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// Methods that caches and home networks use without registering them, one edit off a registered one or not.
const KNOWN_BESIDE: &[&str] = &[
    "BAN",
    "M-SEARCH",
    "NOTIFY",
    "PURGE",
    "REFRESH",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
];

/// Checks a method; they are compared without case.
pub(super) fn method(checker: &mut Checker<'_>, path: &Path<'_>, text: &str) -> Option<Box<str>> {
    let upper = text.to_ascii_uppercase();
    match fault(&upper) {
        None => Some(upper.into()),
        Some(help) => {
            let message = format!("`{}` is the method of no request", shown(text));
            checker.error(Code::P007, path, message, &help);
            None
        }
    }
}

fn fault(upper: &str) -> Option<String> {
    if !is_token(upper) {
        return Some("write one method an entry, like GET".to_owned());
    }
    if REGISTERED.contains(&upper) || KNOWN_BESIDE.contains(&upper) {
        return None;
    }
    let near = suggest::nearest(upper, REGISTERED.iter().copied())?;
    Some(format!("did you mean {near}?"))
}

/// Whether a text is a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let mark = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || mark(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_the_registry_and_of_ones_own_are_taken() {
        assert!(REGISTERED.is_sorted() && KNOWN_BESIDE.is_sorted());
        for good in [
            "GET",
            "VERSION-CONTROL",
            "M-SEARCH",
            "PURGE",
            "FROBNICATE",
            "X.1",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
    }

    #[test]
    fn slips_and_what_is_no_token_are_refused() {
        for (bad, help) in [
            ("GTE", "did you mean GET?"),
            ("PSOT", "did you mean POST?"),
            ("DELET", "did you mean DELETE?"),
            ("OPTION", "did you mean OPTIONS?"),
            ("GET POST", "one method an entry"),
            ("GET,POST", "one method an entry"),
            ("", "one method an entry"),
        ] {
            assert!(
                fault(bad).unwrap().contains(help),
                "{bad}: {:?}",
                fault(bad)
            );
        }
    }
}
