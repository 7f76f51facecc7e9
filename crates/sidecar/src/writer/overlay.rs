//! The states that operators set, on disk, so that a restart keeps a drain.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::store;
use tradewind_engine::lifecycle::{Entries, Entry, MAX_ENTRIES, MAX_WORDS, Target};
use tradewind_engine::model::{AdminState, MAX_ID_BYTES};

/// The file in the state directory.
const FILE: &str = "admin-states";

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

    /// The states kept last. A file that cannot be read is set aside, with an error in the log: a drain that is lost in
    /// silence is worse than none.
    pub(super) fn load(&self) -> Entries {
        let Some(path) = self.path() else {
            return Entries::new();
        };
        match read(&path) {
            Ok(entries) => return entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "admin states are lost, the file is set aside");
                if let Err(error) = fs::rename(&path, path.with_extension("bad")) {
                    tracing::warn!(%error, "it cannot be set aside");
                }
            }
        }
        Entries::new()
    }

    /// Keeps states: written aside, synced, renamed. `Ok(false)` when there is nowhere to keep them.
    pub(super) fn save(&self, entries: &Entries) -> io::Result<bool> {
        let (Some(dir), Some(path)) = (&self.dir, self.path()) else {
            return Ok(false);
        };
        let kept = entries.iter().map(|(target, entry)| Kept {
            target: target.clone(),
            entry: entry.clone(),
        });
        let bytes = serde_json::to_vec_pretty(&kept.collect::<Vec<_>>())?;
        fs::create_dir_all(dir)?;
        let aside = path.with_extension("new");
        let mut file = File::create(&aside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&aside, &path)?;
        File::open(dir)?.sync_all()?;
        Ok(true)
    }

    fn path(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(FILE))
    }
}

/// Reads what was kept; refuses what could not have been set.
fn read(path: &Path) -> io::Result<Entries> {
    let kept: Vec<Kept> = serde_json::from_str(&store::read_regular(path)?)?;
    let is_good = |kept: &Kept| {
        kept.target.id().len() <= MAX_ID_BYTES
            && kept.entry.state != AdminState::Ready
            && [&kept.entry.who, &kept.entry.why]
                .iter()
                .all(|words| words.chars().count() <= MAX_WORDS)
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
        assert_eq!(overlay.load(), entries);
        fs::write(state.join(FILE), "[{").unwrap();
        assert!(overlay.load().is_empty());
        assert!(state.join("admin-states.bad").exists());
        let nowhere = Overlay::default();
        assert!(!nowhere.save(&entries).unwrap() && nowhere.load().is_empty());
    }
}
