//! Tells the writer to look again when a watched file may have changed.
//!
//! The directory is watched, not the file: editors and orchestrators replace files by renaming, and a watch on the old
//! file goes deaf. Any event but reading means "look again"; what changed is decided by content. A slow poll covers lost
//! events.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::writer::Mailbox;

/// Watches the directories of `files` for as long as it lives.
#[derive(Debug)]
pub struct Watch {
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Starts to watch. A directory that can not be watched is left to the poll, with a warning.
    pub fn start(files: &[PathBuf], mailbox: Mailbox) -> Self {
        let told = move |event: notify::Result<Event>| {
            // Our own reading is told of too; taken for a change, it would make us read again without end.
            if !event.is_ok_and(|event| is_reading(event.kind)) {
                mailbox.look_again();
            }
        };
        let watcher = notify::recommended_watcher(told);
        let mut watcher = match watcher {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::warn!(%error, "files are not watched, only polled");
                return Self { _watcher: None };
            }
        };
        for dir in directories(files) {
            if let Err(error) = watcher.watch(&dir, RecursiveMode::NonRecursive) {
                tracing::warn!(dir = %dir.display(), %error, "a directory is not watched, only polled");
            }
        }
        Self {
            _watcher: Some(watcher),
        }
    }
}

/// Whether a file was opened or read, and not changed.
fn is_reading(kind: EventKind) -> bool {
    let closed_after_writing = EventKind::Access(AccessKind::Close(AccessMode::Write));
    kind.is_access() && kind != closed_after_writing
}

/// The directories of the files as named, and of what they link to.
fn directories(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut dirs = BTreeSet::new();
    for file in files {
        dirs.insert(parent(file));
        if let Ok(target) = file.canonicalize() {
            dirs.insert(parent(&target));
        }
    }
    dirs
}
