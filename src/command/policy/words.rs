//! Revisions in words.

use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::command::CommandError;
use crate::engine::date::Date;
use crate::sidecar::signing;
use crate::sidecar::wire::proto;
use crate::sidecar::writer::store;

/// Reads a policy from a file, or from the standard input where that is called `-`.
pub(in crate::command) fn document(path: &Path) -> Result<String, CommandError> {
    let read = if path.as_os_str() == "-" {
        let mut text = String::new();
        let input = std::io::stdin().take(store::MAX_DOCUMENT_BYTES + 1);
        let read = { input }.read_to_string(&mut text);
        read.and_then(|bytes| {
            let is_within = bytes as u64 <= store::MAX_DOCUMENT_BYTES;
            let most = store::MAX_DOCUMENT_BYTES;
            let long = || std::io::Error::other(format!("has more than the {most} bytes allowed"));
            is_within.then_some(text).ok_or_else(long)
        })
    } else {
        store::read_document(path)
    };
    read.map_err(|source| CommandError::Read {
        path: path.to_path_buf(),
        source,
    })
}

/// The signature beside a document, to be sent with it; empty where there is none.
pub(in crate::command) fn signature(path: &Path) -> Result<String, CommandError> {
    let beside = signing::beside(path);
    match store::read_regular(&beside, signing::MAX_SIGNATURE_BYTES as u64) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|source| CommandError::Read {
            path: beside,
            source,
        }),
    }
}

/// A digest as people see it elsewhere.
pub(in crate::command) fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

/// A moment in UTC, to the second.
pub(in crate::command) fn at(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000 % 86_400;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let day = Date::from_unix_ms(unix_ms);
    format!("{day} {hours:02}:{minutes:02}:{:02}Z", seconds % 60)
}

/// How a revision came about.
pub(super) fn origin(revision: &proto::PolicyRevision) -> String {
    match revision.rollback_to {
        0 => revision.origin.replace('_', " "),
        to => format!("rollback to {to}"),
    }
}

/// What of a revision is another text than before.
pub(super) fn changed(revision: &proto::PolicyRevision) -> &'static str {
    match (revision.policy_changed, revision.topology_changed) {
        (Some(true), Some(true)) => "policy, topology",
        (Some(true), _) => "policy",
        (_, Some(true)) => "topology",
        (Some(false), Some(false)) => "nothing",
        _ if revision.parent == 0 => "policy, topology",
        _ => "not known",
    }
}

/// Who wanted a revision, and why.
pub(super) fn wanted(revision: &proto::PolicyRevision) -> String {
    match (revision.who.as_str(), revision.why.as_str()) {
        (who, "") => who.to_owned(),
        ("", why) => why.to_owned(),
        (who, why) => format!("{why} ({who})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_to_the_second() {
        assert_eq!(at(0), "1970-01-01 00:00:00Z");
        assert_eq!(at(1_795_790_645_999), "2026-11-27 14:44:05Z");
    }

    #[test]
    fn the_first_revision_changed_all_there_is() {
        let mut revision = proto::PolicyRevision::default();
        assert_eq!(changed(&revision), "policy, topology");
        revision.parent = 3;
        assert_eq!(changed(&revision), "not known", "the parent is forgotten");
        (revision.policy_changed, revision.topology_changed) = (Some(true), Some(false));
        assert_eq!(changed(&revision), "policy");
        revision.origin = "policy_apply".to_owned();
        assert_eq!(origin(&revision), "policy apply");
        revision.rollback_to = 2;
        assert_eq!(origin(&revision), "rollback to 2");
    }
}
