//! Keeps compiled geo tables on disk, and gets them back at a start.
//!
//! Writing some hundred megabytes and syncing them takes a second, in which the writer must not stand still: a thread
//! does it that lives as long. What is kept saves time and is the last resort; it is never needed. So whatever goes wrong
//! is told and passed over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use crate::geoip::kept::{Keep, KeptError, Tables};
use crate::geoip::{FileInfo, Limits, source};
use crate::state::State;
use tradewind_engine::geo::ranges::Ranges;

/// The tables on disk, where a directory for them is known.
#[derive(Debug, Clone)]
pub(super) struct Kept(Option<Keep>);

/// Puts tables there.
#[derive(Debug)]
pub(super) struct Keeper {
    kept: Kept,
    state: Arc<State>,
    /// The thread that wrote last, or still does.
    writing: Option<JoinHandle<()>>,
}

impl Kept {
    /// The tables kept of just these files, if the sums beside the files agree.
    pub(super) fn made_of(&self, paths: &[PathBuf], limits: &Limits) -> Option<Tables> {
        let keep = self.0.as_ref().filter(|keep| keep.path().exists())?;
        let digests = paths
            .iter()
            .map(|path| source::content_digest(path, limits));
        let content: Vec<_> = digests.collect::<Result<_, _>>().ok()?;
        let mut tables = got(keep, keep.made_of(&content))?;
        for (file, path) in tables.files.iter_mut().zip(paths) {
            source::check_sum_file(path, file.digest).ok()?;
            // Equal content may have moved.
            file.path.clone_from(path);
        }
        Some(tables)
    }

    /// The tables kept last, whatever they were made of.
    pub(super) fn last_good(&self) -> Option<Tables> {
        let keep = self.0.as_ref()?;
        got(keep, keep.last_good())
    }
}

impl Keeper {
    pub(super) fn new(dir: Option<PathBuf>, state: Arc<State>) -> Self {
        Self {
            kept: Kept(dir.map(Keep::new)),
            state,
            writing: None,
        }
    }

    /// What is on disk.
    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Keeps tables in place of those before, in the background.
    pub(super) fn keep(&mut self, ranges: &Arc<Ranges>, files: &[FileInfo]) {
        let Some(keep) = self.kept.0.clone() else {
            return;
        };
        // Two would write the same file, so the second waits for the first.
        let earlier = self.writing.take();
        let (ranges, files) = (Arc::clone(ranges), files.to_vec());
        let state = Arc::clone(&self.state);
        let started = thread::Builder::new()
            .name("tradewind-keep".to_owned())
            .spawn(move || {
                if let Some(earlier) = earlier {
                    drop(earlier.join());
                }
                match keep.save(&ranges, &files) {
                    Ok(()) => tracing::debug!(path = %keep.path().display(), "geo tables are kept"),
                    Err(error) => failed(&state, &keep.path(), &error),
                }
            });
        match started {
            Ok(writing) => self.writing = Some(writing),
            Err(error) => failed(&self.state, Path::new("thread"), &error),
        }
    }

    /// Forgets what is kept.
    pub(super) fn clear(&self) {
        if let Some(keep) = &self.kept.0
            && let Err(error) = keep.clear()
        {
            tracing::warn!(path = %keep.path().display(), %error, "geo tables that nobody needs cannot be removed");
        }
    }
}

fn failed(state: &State, path: &Path, error: &std::io::Error) {
    state.reloads.store_failed.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(path = %path.display(), %error, "geo tables cannot be kept");
}

fn got(keep: &Keep, result: Result<Option<Tables>, KeptError>) -> Option<Tables> {
    result.unwrap_or_else(|error| {
        tracing::warn!(path = %keep.path().display(), %error, "the geo tables that were kept are passed over");
        None
    })
}
