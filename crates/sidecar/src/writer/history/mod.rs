//! What took effect, on disk: a file for each revision, so that a restart finds the last good one and what was before; and
//! one for the rollout that there is, so that a restart goes on with it.
//!
//! A file has a line of JSON and the texts behind it, in the manner of [`kept`]. Where keys are pinned, the line has the
//! signatures of the texts, which are checked again when it is read: what a restart serves is signed as well.

mod line;
mod rollout;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::kept::{self, Lost};
use super::seals::Seals;
use super::store::MAX_DOCUMENT_BYTES;
use crate::signing::MAX_SIGNATURE_BYTES;
use tradewind_engine::lifecycle::{Revision, RolloutRecord};

/// The folder in the state directory.
const FOLDER: &str = "revisions";

/// How files of whole revisions end.
const WHOLE: &str = "revision";

/// The file that a process locks while it lives.
const LOCK: &str = "lock";

/// The file of the rollout, in the same folder.
const ROLLOUT: &str = "rollout";

/// Longest line of JSON: words are bounded where they come in, and signatures. Their lines' ends take two bytes.
const MAX_LINE_BYTES: u64 = (16 << 10) + 4 * MAX_SIGNATURE_BYTES as u64;

/// The folder that revisions are kept in.
#[derive(Debug)]
pub(super) struct History {
    folder: PathBuf,
    /// Held while this process lives, so that others can tell.
    lock: OnceLock<File>,
}

/// What an earlier run kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The revisions, in any order.
    pub(super) revisions: Vec<Revision>,
    /// The largest number that any of the files bears, whether it can be used or not.
    pub(super) last_number: u64,
    /// The rollout. One that cannot be used is as good as none, and the policy in force serves: an earlier state of it might try
    /// the candidate on more requests than it was told to last.
    pub(super) rollout: Option<RolloutRecord>,
    /// What cannot be used.
    pub(super) lost: Vec<Lost>,
}

impl History {
    /// Revisions in the state directory `dir`, which is made when the first is kept.
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            folder: dir.join(FOLDER),
            lock: OnceLock::new(),
        }
    }

    /// Says so where another process uses the same folder: each would overwrite what the other keeps. Not refused, because a
    /// process that is being replaced may still be draining.
    fn claim(&self) {
        if self.lock.get().is_some() {
            return;
        }
        let Ok(file) = File::create(self.folder.join(LOCK)) else {
            return;
        };
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            let folder = self.folder.display();
            tracing::error!(%folder, "another process keeps its revisions here: give each sidecar a --state-dir of its own");
        }
        drop(self.lock.set(file));
    }

    /// Where they are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// All that is kept. A file that cannot be used is set aside, with an error in the log.
    pub(super) fn load(&self, seals: &mut Seals) -> Kept {
        let mut kept = Kept::default();
        let Ok(files) = fs::read_dir(&self.folder) else {
            return kept;
        };
        self.claim();
        for path in files.filter_map(|file| Some(file.ok()?.path())) {
            kept.last_number = kept.last_number.max(number(&path).unwrap_or_default());
            if path.extension().is_some_and(|it| it == WHOLE) {
                match read_revision(&path, seals) {
                    Ok(revision) => kept.revisions.push(revision),
                    Err(error) => kept.lost.push(kept::set_aside(&path, &error)),
                }
            }
        }
        let path = self.folder.join(ROLLOUT);
        match read_rollout(&path, seals) {
            Ok(record) => kept.rollout = Some(record),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => kept.lost.push(kept::set_aside(&path, &error)),
        }
        kept
    }

    /// Keeps a revision, in the place of what is kept under its number.
    pub(super) fn save(&self, revision: &Revision, seals: &Seals) -> io::Result<()> {
        let line = line::Line::of(revision, seals.of_pair(&revision.texts));
        let texts = [&*revision.texts.policy, &*revision.texts.topology];
        self.put(
            &self.path(revision.number),
            &serde_json::to_string(&line)?,
            &texts,
        )
    }

    fn put(&self, path: &Path, line: &str, texts: &[&str]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        self.claim();
        kept::write(path, &format!("{line}\n{}", texts.concat()))
    }

    /// Keeps what there is of a rollout, or that there is none.
    pub(super) fn save_rollout(
        &self,
        record: Option<&RolloutRecord>,
        seals: &Seals,
    ) -> io::Result<()> {
        let path = self.folder.join(ROLLOUT);
        let Some(record) = record else {
            return match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed.and_then(|()| File::open(&self.folder)?.sync_all()),
            };
        };
        let signature = seals
            .of(&record.document)
            .map(|seal| Arc::clone(&seal.signature));
        let line = rollout::Line::of(record, signature);
        self.put(&path, &serde_json::to_string(&line)?, &[&record.document])
    }

    /// Deletes those older than `oldest`. What cannot be deleted is tried again with the next.
    pub(super) fn forget_before(&self, oldest: u64) {
        let Ok(files) = fs::read_dir(&self.folder) else {
            return;
        };
        for file in files.flatten() {
            let path = file.path();
            let is_ours = path
                .extension()
                .is_some_and(|it| it == WHOLE || it == kept::ASIDE);
            if is_ours && number(&path).is_some_and(|number| number < oldest) {
                drop(fs::remove_file(path));
            }
        }
    }

    /// The digits are for people who list the folder.
    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:08}.{WHOLE}"))
    }
}

/// The number of the revision that a file is of.
fn number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn read_revision(path: &Path, seals: &mut Seals) -> io::Result<Revision> {
    let most = 2 * MAX_DOCUMENT_BYTES + MAX_LINE_BYTES;
    let read = line::parse(&kept::read(path, most)?);
    let (revision, signatures) = read.ok_or_else(|| unusable("is not a revision"))?;
    let texts = [
        ("policy", &revision.texts.policy, signatures.policy),
        ("topology", &revision.texts.topology, signatures.topology),
    ];
    for (which, text, signature) in texts {
        let checked = seals.check(text, signature.as_deref(), "");
        checked.map_err(|error| unusable(&format!("has a {which} that is not used: {error}")))?;
    }
    Ok(revision)
}

fn read_rollout(path: &Path, seals: &mut Seals) -> io::Result<RolloutRecord> {
    let most = MAX_DOCUMENT_BYTES + MAX_LINE_BYTES;
    let read = rollout::parse(&kept::read(path, most)?);
    let (record, signature) = read.ok_or_else(|| unusable("is not a rollout"))?;
    let checked = seals.check(&record.document, signature.as_deref(), "");
    checked.map_err(|error| unusable(&format!("has a policy that is not used: {error}")))?;
    Ok(record)
}

fn unusable(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::Keys;
    use crate::state::State;
    use crate::writer::seals::Pair;
    use tradewind_engine::edition::Texts;
    use tradewind_engine::lifecycle::{Origin, Over};
    use tradewind_engine::model::Digest;
    use tradewind_engine::rollout::{Phase, Stage};
    use tradewind_engine::snapshot::Cohort;

    /// Nothing needs a signature.
    fn open() -> Seals {
        Seals::new(Keys::default(), Arc::new(State::default()))
    }

    #[test]
    fn a_rollout_comes_back_and_is_forgotten_when_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path());
        let load = || history.load(&mut open()).rollout;
        assert!(history.save_rollout(None, &open()).is_ok() && load().is_none());
        let paused = Phase::Paused {
            why: "a look".to_owned(),
        };
        for phase in [Phase::Running, Phase::Waiting { until_unix_ms: 9 }, paused] {
            let stage = |buckets| Stage {
                buckets,
                hold_ms: 7,
            };
            let record = RolloutRecord {
                document: "pölicy\n".into(),
                base: Digest::of(b"base"),
                stages: vec![stage(100), stage(5_000)],
                cohort: Cohort::ClientGroup,
                is_shadow: false,
                stage: 1,
                phase,
                stage_since_unix_ms: 5,
                started_unix_ms: 4,
                who: "ada".to_owned(),
                why: "tests".to_owned(),
            };
            history.save_rollout(Some(&record), &open()).unwrap();
            assert_eq!(load(), Some(record));
        }
        let path = history.folder().join(ROLLOUT);
        let whole = fs::read_to_string(&path).unwrap();
        let cut: String = whole.chars().skip(1).collect();
        fs::write(&path, cut).unwrap();
        assert_eq!(load(), None);
        assert!(!path.exists(), "it is set aside");
        history.save_rollout(None, &open()).unwrap();
    }

    fn revision(number: u64, origin: Origin) -> Revision {
        Revision {
            number,
            parent: number.checked_sub(1),
            texts: Texts {
                policy: "pölicy\n".into(),
                topology: "12\ntopology".into(),
            },
            origin,
            who: "ada".to_owned(),
            why: "quoted \"why\"\nand more".to_owned(),
            at_unix_ms: 7,
            over: Over {
                policy: Some(Digest::of(b"file")),
                topology: None,
            },
        }
    }

    #[test]
    fn what_is_kept_comes_back_and_the_oldest_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path());
        let load = || history.load(&mut open()).revisions;
        assert!(load().is_empty());
        let origins = [
            Origin::Sources,
            Origin::Policy,
            Origin::Topology,
            Origin::Rollout,
            Origin::Rollback(1),
        ];
        let all: Vec<Revision> = (1..).zip(origins).map(|(n, it)| revision(n, it)).collect();
        for revision in &all {
            history.save(revision, &open()).unwrap();
        }
        let sorted = || {
            let mut kept = load();
            kept.sort_by_key(|it| it.number);
            kept
        };
        assert_eq!(sorted(), all);
        fs::write(history.folder().join("00000002.new"), "cut").unwrap();
        history.forget_before(3);
        assert_eq!(sorted(), all[2..]);
        assert_eq!(
            fs::read_dir(history.folder()).unwrap().count(),
            4,
            "and the lock"
        );
    }

    /// A file as versions of this program wrote it that knew no first line.
    fn of_old(revision: &Revision) -> String {
        let line = line::Line::of(revision, Pair::default());
        let texts = [&*revision.texts.policy, &*revision.texts.topology].concat();
        format!("{}\n{texts}", serde_json::to_string(&line).unwrap())
    }

    #[test]
    fn each_byte_of_a_kept_file_counts_and_the_next_older_one_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path());
        let [older, newer] = [1, 2].map(|number| revision(number, Origin::Sources));
        history.save(&older, &open()).unwrap();
        history.save(&newer, &open()).unwrap();
        let path = history.path(2);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in [1, 32, 128] {
                let mut spoilt = whole.clone();
                spoilt[at] ^= bit;
                fs::write(&path, &spoilt).unwrap();
                let kept = history.load(&mut open());
                assert_eq!(
                    kept.revisions,
                    std::slice::from_ref(&older),
                    "byte {at}, bit {bit}"
                );
                assert_eq!((kept.lost.len(), kept.last_number), (1, 2));
                assert!(path.with_extension(kept::BAD).exists());
            }
        }
    }

    #[test]
    fn files_of_the_form_before_are_read_and_such_of_a_later_one_are_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path());
        let good = revision(1, Origin::Sources);
        let whole = of_old(&good);
        fs::create_dir_all(history.folder()).unwrap();
        fs::write(history.path(1), &whole).unwrap();
        let newer = whole.replace("\"format\":1", "\"format\":2");
        let cut = whole.strip_suffix("topology").unwrap();
        let broken = ["", "{}\n", "7", cut, &newer].map(str::to_owned);
        for (number, broken) in (2..).zip(broken) {
            fs::write(history.path(number), &broken).unwrap();
            let kept = history.load(&mut open());
            assert_eq!(kept.revisions, std::slice::from_ref(&good), "{broken:?}");
            assert!(history.path(number).with_extension(kept::BAD).exists());
        }
    }
}
