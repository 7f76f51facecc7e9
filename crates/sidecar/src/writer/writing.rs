//! Files that somebody writes in place: half of one may be a sound document, so it is read once it is closed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A file that was not written to for so long counts as closed: that it was closed may not have been told.
const QUIET: Duration = Duration::from_secs(2);

/// Which files are being written, as far as the system tells.
#[derive(Debug, Default)]
pub(super) struct Writing {
    /// Those that matter.
    names: Vec<OsString>,
    /// When each was written to last.
    open: Mutex<BTreeMap<PathBuf, Instant>>,
}

impl Writing {
    /// Nothing is written. Files of these names matter.
    pub(super) fn new(paths: [Option<&Path>; 2]) -> Self {
        let names = paths.into_iter().flatten().filter_map(Path::file_name);
        Self {
            names: names.map(ToOwned::to_owned).collect(),
            open: Mutex::default(),
        }
    }

    /// Somebody writes to a file.
    pub(super) fn written(&self, path: &Path, now: Instant) {
        let matters = path
            .file_name()
            .is_some_and(|name| self.names.iter().any(|it| it == name));
        if matters {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.insert(path.to_owned(), now);
        }
    }

    /// A file is closed, or another one has taken its place.
    pub(super) fn closed(&self, path: &Path) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(path);
    }

    /// Whether any is being written.
    pub(super) fn is_under_way(&self, now: Instant) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, last| now.saturating_duration_since(*last) < QUIET);
        !open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_file_is_written_until_it_is_closed_or_quiet() {
        let now = clock::now();
        let at = |ms| now + Duration::from_millis(ms);
        let writing = Writing::new([Some(Path::new("/conf/policy.yaml")), None]);
        writing.written(Path::new("/conf/beside"), at(0));
        assert!(!writing.is_under_way(at(0)), "it does not matter");
        let policy = Path::new("/conf/policy.yaml");
        writing.written(policy, at(0));
        writing.written(policy, at(1_500));
        assert!(writing.is_under_way(at(3_400)));
        writing.closed(policy);
        assert!(!writing.is_under_way(at(3_400)));
        writing.written(policy, at(4_000));
        assert!(!writing.is_under_way(at(6_000)));
    }
}
