//! Where the log's files are: `audit.log`, older ones as `audit.log.1` and so on, and the head beside them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::verify::{Head, Part};
use crate::regular;

/// The file that is written to.
pub const LOG: &str = "audit.log";

/// Where the log ends.
pub const HEAD: &str = "audit.head";

/// Older files that are kept.
pub const KEPT_FILES: usize = 8;

/// The older file of this number, from 1: the higher, the older.
pub(super) fn older(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{LOG}.{number}"))
}

/// All files of the log in a directory that are there, oldest first.
pub fn find(dir: &Path) -> Vec<PathBuf> {
    let older = (1..=KEPT_FILES).rev().map(|number| older(dir, number));
    let all = older.chain([dir.join(LOG)]);
    all.filter(|path| path.exists()).collect()
}

/// Reads a file of the log.
pub fn read(path: &Path) -> io::Result<Part> {
    Ok(Part {
        name: path.display().to_string(),
        bytes: regular::read(path)?,
    })
}

/// The head in a directory; `None` where there is none.
pub fn read_head(dir: &Path) -> io::Result<Option<Head>> {
    match regular::read(&dir.join(HEAD)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps the head: written aside, synced, renamed over the old one. The directory is not synced: a head that is older than the
/// log is a good one.
pub(super) fn write_head(dir: &Path, head: &Head) -> io::Result<()> {
    let aside = dir.join("audit.head.new");
    let mut file = File::create(&aside)?;
    file.write_all(&serde_json::to_vec(head)?)?;
    file.sync_all()?;
    fs::rename(&aside, dir.join(HEAD))
}
