//! The files of logs: opened, unpacked, and followed by one progress bar.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::unpack::Unpacked;
use crate::command::CommandError;

/// Logs smaller than this together are done before a progress bar could be read, in bytes.
const LONG_LOG_BYTES: u64 = 1 << 20;

/// What stands for the standard input in the place of a file.
const STANDARD_INPUT: &str = "-";

/// Logs to read, one behind another.
pub(in crate::command) struct Inputs {
    files: Vec<(PathBuf, Option<File>)>,
    progress: ProgressBar,
}

impl Inputs {
    /// Opens all, so that a wrong name is found out before the work. `show` is whether somebody watches progress.
    pub(in crate::command) fn open(paths: &[PathBuf], show: bool) -> Result<Self, CommandError> {
        let mut files = Vec::with_capacity(paths.len());
        let mut length = 0;
        for path in paths {
            let file = if path.as_os_str() == STANDARD_INPUT {
                None
            } else {
                let file = File::open(path).map_err(|source| unreadable(path, source))?;
                let about = file.metadata().map_err(|source| unreadable(path, source))?;
                length += about.len();
                Some(file)
            };
            files.push((path.clone(), file));
        }
        let target = if show && length >= LONG_LOG_BYTES {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let progress = ProgressBar::with_draw_target(Some(length), target);
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {eta} left");
        if let Ok(style) = style {
            progress.set_style(style);
        }
        Ok(Self { files, progress })
    }

    /// Gives each log with its name to `read`, in order.
    pub(in crate::command) fn each(
        self,
        mut read: impl FnMut(&Path, Unpacked<Box<dyn Read>>) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        for (path, file) in self.files {
            let input: Box<dyn Read> = match file {
                Some(file) => Box::new(self.progress.wrap_read(file)),
                None => Box::new(io::stdin().lock()),
            };
            read(&path, Unpacked::new(input))?;
        }
        self.progress.finish_and_clear();
        Ok(())
    }
}

/// The error of a file that cannot be read at all.
pub(in crate::command) fn unreadable(path: &Path, source: io::Error) -> CommandError {
    CommandError::Read {
        path: path.to_owned(),
        source,
    }
}
