//! The states that operators set, on disk, so that a restart keeps a drain.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::kept::{self, Lost};
use super::store::MAX_DOCUMENT_BYTES;
use crate::identity::caller::MAX_SIGNATURE;
use tradewind_engine::lifecycle::{Entries, Entry, MAX_ENTRIES, MAX_WORDS, Target};
use tradewind_engine::model::{AdminState, MAX_ID_BYTES};

/// The file in the state directory, and how the one before it ends.
const FILE: &str = "admin-states";
const BEFORE: &str = "1";

/// An entry as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    target: Target,
    #[serde(flatten)]
    entry: Entry,
}

/// The directory that the states are kept in, if there is one.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    dir: Option<PathBuf>,
}

impl Overlay {
    /// States in `dir`, which is made when the first are kept.
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        Self { dir }
    }

    /// The states kept last, and what of it cannot be used: a drain that is lost in silence is worse than none. In the place of a
    /// spoilt file the one before it is taken; only the last change is lost then.
    pub(super) fn load(&self) -> (Entries, Vec<Lost>) {
        let mut lost = Vec::new();
        let Some(path) = self.path() else {
            return (Entries::new(), lost);
        };
        for path in [path.clone(), path.with_extension(BEFORE)] {
            match read(&path) {
                Ok(entries) => return (entries, lost),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => lost.push(kept::set_aside(&path, &error)),
            }
        }
        (Entries::new(), lost)
    }

    /// Keeps states, and what was kept before beside them. `Ok(false)` when there is nowhere to keep them.
    pub(super) fn save(&self, entries: &Entries) -> io::Result<bool> {
        let (Some(dir), Some(path)) = (&self.dir, self.path()) else {
            return Ok(false);
        };
        let kept = entries.iter().map(|(target, entry)| Kept {
            target: target.clone(),
            entry: entry.clone(),
        });
        let body = serde_json::to_string_pretty(&kept.collect::<Vec<_>>())?;
        fs::create_dir_all(dir)?;
        // Copied and not renamed, so that there is a newest one at every moment; a copy that is cut is told by its digest.
        match fs::copy(&path, path.with_extension(BEFORE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        kept::write(&path, &body)?;
        Ok(true)
    }

    fn path(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(FILE))
    }
}

/// Reads what was kept; refuses what could not have been set.
fn read(path: &Path) -> io::Result<Entries> {
    let kept: Vec<Kept> = serde_json::from_str(&kept::read(path, MAX_DOCUMENT_BYTES)?)?;
    let is_good = |kept: &Kept| {
        kept.target.id().len() <= MAX_ID_BYTES
            && kept.entry.state != AdminState::Ready
            && kept.entry.who.chars().count() <= MAX_SIGNATURE
            && kept.entry.why.chars().count() <= MAX_WORDS
    };
    if kept.len() > MAX_ENTRIES || !kept.iter().all(is_good) {
        let error = "holds entries that cannot have been set";
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    let pairs = kept.into_iter().map(|kept| (kept.target, kept.entry));
    Ok(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_by_somebody_with_a_long_name_was_lost_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let states = Overlay::new(Some(dir.path().to_owned()));
        let mut drained = entry(AdminState::Drain, None);
        drained.who = "x".repeat(MAX_SIGNATURE);
        let all: Entries = [(Target::Node("fra-1".into()), drained)]
            .into_iter()
            .collect();
        states.save(&all).unwrap();
        let (kept, lost) = states.load();
        assert_eq!((kept, lost.len()), (all, 0));
    }

    fn entry(state: AdminState, until_unix_ms: Option<u64>) -> Entry {
        Entry {
            state,
            until_unix_ms,
            who: "me".into(),
            why: "tests \"quoted\"".into(),
            since_unix_ms: 5,
        }
    }

    #[test]
    fn what_is_kept_comes_back_and_a_broken_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let overlay = Overlay::new(Some(state.clone()));
        let entries = Entries::from([
            (Target::Node("a".into()), entry(AdminState::Drain, Some(9))),
            (
                Target::Site("a".into()),
                entry(AdminState::Maintenance, None),
            ),
        ]);
        assert!(overlay.save(&entries).unwrap());
        assert_eq!(overlay.load(), (entries.clone(), Vec::new()));
        fs::write(state.join(FILE), "[{").unwrap();
        let (none, lost) = overlay.load();
        assert_eq!((none.len(), lost.len()), (0, 1));
        assert!(state.join("admin-states.bad").exists());
        let nowhere = Overlay::default();
        assert!(!nowhere.save(&entries).unwrap() && nowhere.load().0.is_empty());
    }

    #[test]
    fn each_byte_of_the_file_counts_and_the_one_before_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let overlay = Overlay::new(Some(dir.path().to_owned()));
        let older = Entries::from([(Target::Node("a".into()), entry(AdminState::Drain, None))]);
        let mut newer = older.clone();
        newer.insert(
            Target::Site("b".into()),
            entry(AdminState::Maintenance, Some(9)),
        );
        overlay.save(&older).unwrap();
        overlay.save(&newer).unwrap();
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in [1, 32, 128] {
                let mut spoilt = whole.clone();
                spoilt[at] ^= bit;
                fs::write(&path, &spoilt).unwrap();
                let (entries, lost) = overlay.load();
                assert_eq!(
                    (entries, lost.len()),
                    (older.clone(), 1),
                    "byte {at}, bit {bit}"
                );
            }
        }
        fs::write(&path, "[]").unwrap();
        assert_eq!(
            overlay.load(),
            (Entries::new(), Vec::new()),
            "the form before"
        );
    }
}
