//! What took effect, on disk: a file for each revision, so that a restart finds the last good one and what was before; and
//! one for the rollout that there is, so that a restart goes on with it.
//!
//! A file has a line of JSON and the two texts behind it, whole or not at all: it is written aside, synced and renamed, and
//! the directory synced. The digests in the line tell of texts that were spoilt later.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::store::MAX_DOCUMENT_BYTES;
use tradewind_engine::edition::Texts;
use tradewind_engine::lifecycle::{Origin, Over, Revision, RolloutRecord};
use tradewind_engine::model::Digest;
use tradewind_engine::rollout::{Phase, Stage};
use tradewind_engine::snapshot::Cohort;

/// The folder in the state directory.
const FOLDER: &str = "revisions";

/// How files of whole revisions end, such that are being written, and such that cannot be read.
const WHOLE: &str = "revision";
const ASIDE: &str = "new";
const BAD: &str = "bad";

/// The file that a process locks while it lives.
const LOCK: &str = "lock";

/// The file of the rollout, in the same folder.
const ROLLOUT: &str = "rollout";

/// The form of the files. Another version of this program that finds another form leaves the file alone.
const FORMAT: u32 = 1;

/// Longest line of JSON: words are bounded where they come in.
const MAX_LINE_BYTES: usize = 16 << 10;

/// The folder that revisions are kept in.
#[derive(Debug)]
pub(super) struct History {
    folder: PathBuf,
    /// Held while this process lives, so that others can tell.
    lock: OnceLock<File>,
}

/// The line of JSON that a file begins with.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    format: u32,
    revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<u64>,
    origin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollback_to: Option<u64>,
    who: String,
    why: String,
    at_unix_ms: u64,
    policy_bytes: usize,
    policy_digest: String,
    topology_digest: String,
    /// What the policy's source said when another one took its place by a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy_over: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topology_over: Option<String>,
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

    /// All that are kept, in any order. A file that cannot be read is set aside, with an error in the log.
    pub(super) fn load(&self) -> Vec<Revision> {
        let Ok(files) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        self.claim();
        let paths = files.filter_map(|file| Some(file.ok()?.path()));
        // A pipe would be waited at for ever.
        let whole =
            paths.filter(|path| path.extension().is_some_and(|it| it == WHOLE) && path.is_file());
        let read = whole.filter_map(|path| {
            let read = read(&path);
            read.inspect_err(|error| set_aside(&path, error)).ok()
        });
        read.collect()
    }

    /// Keeps a revision, in the place of what is kept under its number.
    pub(super) fn save(&self, revision: &Revision) -> io::Result<()> {
        let texts = [&*revision.texts.policy, &*revision.texts.topology];
        self.put(&self.path(revision.number), &Line::of(revision), &texts)
    }

    /// Puts a file in the place of what was there, whole or not at all.
    fn put(&self, path: &Path, line: &impl Serialize, texts: &[&str]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        self.claim();
        let aside = path.with_extension(ASIDE);
        let mut file = File::create(&aside)?;
        serde_json::to_writer(&mut file, line)?;
        file.write_all(b"\n")?;
        for text in texts {
            file.write_all(text.as_bytes())?;
        }
        file.sync_all()?;
        fs::rename(&aside, path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Keeps what there is of a rollout, or that there is none.
    pub(super) fn save_rollout(&self, record: Option<&RolloutRecord>) -> io::Result<()> {
        let path = self.folder.join(ROLLOUT);
        let Some(record) = record else {
            return match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed.and_then(|()| File::open(&self.folder)?.sync_all()),
            };
        };
        self.put(&path, &RolloutLine::of(record), &[&record.document])
    }

    /// The rollout that was kept. One that cannot be read is as good as none: the policy in force serves.
    pub(super) fn load_rollout(&self) -> Option<RolloutRecord> {
        let path = self.folder.join(ROLLOUT);
        let whole = super::store::read_regular(&path).ok()?;
        let record = RolloutLine::parse(&whole);
        if record.is_none() {
            let error = io::Error::new(io::ErrorKind::InvalidData, "is not a rollout");
            set_aside(&path, &error);
        }
        record
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
                .is_some_and(|it| it == WHOLE || it == ASIDE);
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            if is_ours && number.is_some_and(|number: u64| number < oldest) {
                drop(fs::remove_file(path));
            }
        }
    }

    /// The digits are for people who list the folder.
    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:08}.{WHOLE}"))
    }
}

fn set_aside(path: &Path, error: &io::Error) {
    tracing::error!(file = %path.display(), %error, "a revision or rollout is lost, its file is set aside");
    if let Err(error) = fs::rename(path, path.with_extension(BAD)) {
        tracing::warn!(%error, "it cannot be set aside");
    }
}

fn read(path: &Path) -> io::Result<Revision> {
    let most = 2 * MAX_DOCUMENT_BYTES + MAX_LINE_BYTES as u64;
    let mut whole = String::new();
    File::open(path)?.take(most).read_to_string(&mut whole)?;
    parse(&whole).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "is not a revision"))
}

/// Reads a whole file; `None` where it is cut, spoilt or of another form.
fn parse(whole: &str) -> Option<Revision> {
    let (line, rest) = whole.split_once('\n')?;
    let line: Line = serde_json::from_str(line).ok()?;
    let (policy, topology) = rest.split_at_checked(line.policy_bytes)?;
    let is_whole = Digest::of(policy.as_bytes()).to_string() == line.policy_digest
        && Digest::of(topology.as_bytes()).to_string() == line.topology_digest;
    let digest = |text: Option<String>| text.map(|text| text.parse()).transpose();
    (line.format == FORMAT && is_whole).then_some(())?;
    Some(Revision {
        number: line.revision,
        parent: line.parent,
        texts: Texts {
            policy: policy.into(),
            topology: topology.into(),
        },
        origin: origin(&line.origin, line.rollback_to)?,
        who: line.who,
        why: line.why,
        at_unix_ms: line.at_unix_ms,
        over: Over {
            policy: digest(line.policy_over).ok()?,
            topology: digest(line.topology_over).ok()?,
        },
    })
}

fn origin(name: &str, rollback_to: Option<u64>) -> Option<Origin> {
    let all = [
        Origin::Sources,
        Origin::Policy,
        Origin::Topology,
        Origin::Rollout,
    ];
    let known = all.into_iter().find(|origin| origin.name() == name);
    known.or_else(|| {
        let back = Origin::Rollback(rollback_to?);
        (back.name() == name).then_some(back)
    })
}

impl Line {
    fn of(revision: &Revision) -> Self {
        let digest = |text: &Arc<str>| Digest::of(text.as_bytes()).to_string();
        Self {
            format: FORMAT,
            revision: revision.number,
            parent: revision.parent,
            origin: revision.origin.name().to_owned(),
            rollback_to: match revision.origin {
                Origin::Rollback(to) => Some(to),
                Origin::Sources | Origin::Policy | Origin::Topology | Origin::Rollout => None,
            },
            who: revision.who.clone(),
            why: revision.why.clone(),
            at_unix_ms: revision.at_unix_ms,
            policy_bytes: revision.texts.policy.len(),
            policy_digest: digest(&revision.texts.policy),
            topology_digest: digest(&revision.texts.topology),
            policy_over: revision.over.policy.map(|it| it.to_string()),
            topology_over: revision.over.topology.map(|it| it.to_string()),
        }
    }
}

/// The line of JSON that the file of a rollout begins with; the candidate's text follows.
#[derive(Debug, Serialize, Deserialize)]
struct RolloutLine {
    format: u32,
    base: String,
    candidate_digest: String,
    /// Of 10,000 buckets, how many each stage has, and how long it lasts.
    stages: Vec<(u16, u64)>,
    cohort: String,
    is_shadow: bool,
    stage: usize,
    /// Before this time it does not begin, ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waits_until_unix_ms: Option<u64>,
    /// Why it is paused, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<String>,
    stage_since_unix_ms: u64,
    started_unix_ms: u64,
    who: String,
    why: String,
}

impl RolloutLine {
    fn of(record: &RolloutRecord) -> Self {
        let stages = record.stages.iter();
        let (waits_until_unix_ms, paused) = match &record.phase {
            Phase::Running => (None, None),
            Phase::Waiting { until_unix_ms } => (Some(*until_unix_ms), None),
            Phase::Paused { why } => (None, Some(why.clone())),
        };
        Self {
            format: FORMAT,
            base: record.base.to_string(),
            candidate_digest: Digest::of(record.document.as_bytes()).to_string(),
            stages: stages.map(|it| (it.buckets, it.hold_ms)).collect(),
            cohort: record.cohort.name().to_owned(),
            is_shadow: record.is_shadow,
            stage: record.stage,
            waits_until_unix_ms,
            paused,
            stage_since_unix_ms: record.stage_since_unix_ms,
            started_unix_ms: record.started_unix_ms,
            who: record.who.clone(),
            why: record.why.clone(),
        }
    }

    /// Reads a whole file; `None` where it is cut, spoilt or of another form.
    fn parse(whole: &str) -> Option<RolloutRecord> {
        let (line, document) = whole.split_once('\n')?;
        let line: Self = serde_json::from_str(line).ok()?;
        let digest = Digest::of(document.as_bytes()).to_string();
        let cohorts = [Cohort::Key, Cohort::ClientGroup];
        (line.format == FORMAT && digest == line.candidate_digest).then_some(())?;
        let stages = line.stages.into_iter();
        let stages = stages.map(|(buckets, hold_ms)| Stage { buckets, hold_ms });
        let stages: Vec<Stage> = stages.collect();
        (line.stage < stages.len()).then_some(())?;
        Some(RolloutRecord {
            document: document.into(),
            base: line.base.parse().ok()?,
            stages,
            cohort: cohorts.into_iter().find(|it| it.name() == line.cohort)?,
            is_shadow: line.is_shadow,
            stage: line.stage,
            phase: match (line.waits_until_unix_ms, line.paused) {
                (_, Some(why)) => Phase::Paused { why },
                (Some(until_unix_ms), None) => Phase::Waiting { until_unix_ms },
                (None, None) => Phase::Running,
            },
            stage_since_unix_ms: line.stage_since_unix_ms,
            started_unix_ms: line.started_unix_ms,
            who: line.who,
            why: line.why,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_comes_back_and_is_forgotten_when_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path());
        assert!(history.save_rollout(None).is_ok() && history.load_rollout().is_none());
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
            history.save_rollout(Some(&record)).unwrap();
            assert_eq!(history.load_rollout(), Some(record));
        }
        let path = history.folder().join(ROLLOUT);
        let whole = fs::read_to_string(&path).unwrap();
        let cut: String = whole.chars().skip(1).collect();
        fs::write(&path, cut).unwrap();
        assert_eq!(history.load_rollout(), None);
        assert!(!path.exists(), "it is set aside");
        history.save_rollout(None).unwrap();
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
        assert!(history.load().is_empty());
        let origins = [
            Origin::Sources,
            Origin::Policy,
            Origin::Topology,
            Origin::Rollout,
            Origin::Rollback(1),
        ];
        let all: Vec<Revision> = (1..).zip(origins).map(|(n, it)| revision(n, it)).collect();
        for revision in &all {
            history.save(revision).unwrap();
        }
        let sorted = || {
            let mut kept = history.load();
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

    #[test]
    fn a_spoilt_file_is_set_aside_and_the_others_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path());
        let good = revision(1, Origin::Sources);
        history.save(&good).unwrap();
        let whole = fs::read_to_string(history.path(1)).unwrap();
        let newer = whole.replace("\"format\":1", "\"format\":2");
        let cut = whole.strip_suffix("topology").unwrap();
        let broken = ["", "{}\n", "7", cut, &newer].map(str::to_owned);
        for (number, broken) in (2..).zip(broken) {
            fs::write(history.path(number), &broken).unwrap();
            assert_eq!(history.load(), std::slice::from_ref(&good), "{broken:?}");
            assert!(history.path(number).with_extension(BAD).exists());
        }
    }
}
