//! The last good copy on disk: what a process decides from that starts while no sidecar is there.
//!
//! One file, `last-good-copy`, put in place as a whole. Its first line has the digest of the rest: the parts of a copy as they were
//! told, each with its length before it. How old it is is when it was changed last, and as long as the sidecar is heard that is set
//! anew each minute, so that a fleet in which nothing happens is not forgotten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use prost::Message as _;

use super::purges::MAX_KEPT_BYTES;
use tradewind_engine::document::MAX_DOCUMENT_BYTES;
use tradewind_engine::edition::Texts;
use tradewind_engine::model::Digest;
use tradewind_wire::clock;
use tradewind_wire::follow::MAX_STATE_BYTES;
use tradewind_wire::proto::followed::Part;
use tradewind_wire::proto::{Followed, FollowedPurges, FollowedState};

const NAME: &str = "last-good-copy";

/// What the first line begins with; the number is that of the form.
const HEAD: &str = "tradewind-last-good-copy 1 ";

/// An older one is not used.
const MAX_AGE: Duration = Duration::from_hours(1);

/// How the fleet behaved longer ago than this says nothing of how it does now.
const SIGNALS_HOLD: Duration = Duration::from_mins(1);

/// Largest file: two texts, a state, what was purged, and what stands between them.
const MAX_BYTES: u64 =
    2 * MAX_DOCUMENT_BYTES + (MAX_STATE_BYTES + 2 * MAX_KEPT_BYTES) as u64 + 1_024;

/// A copy as it lay there.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) policy: String,
    pub(super) topology: String,
    pub(super) state: FollowedState,
    /// What was purged; a file of an earlier release has nothing of it.
    pub(super) purges: Option<FollowedPurges>,
    pub(super) age: Duration,
}

/// Why a copy on disk is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeptFault {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("is not whole: {0}")]
    Spoilt(&'static str),
    /// It is too old.
    #[error("is {} minutes old, which must be less than {}", .0.as_secs() / 60, MAX_AGE.as_secs() / 60)]
    Old(Duration),
}

/// Writes a copy into a folder, in the place of the one before.
pub(super) fn write(
    folder: &Path,
    texts: &Texts,
    (state, purges): (&FollowedState, FollowedPurges),
) -> io::Result<()> {
    let mut rest = Vec::new();
    for part in [
        Part::Policy(texts.policy.as_bytes().to_vec()),
        Part::Topology(texts.topology.as_bytes().to_vec()),
        Part::State(Box::new(state.clone())),
        Part::Purges(purges),
    ] {
        let part = Followed { part: Some(part) };
        part.encode_length_delimited(&mut rest)
            .map_err(io::Error::other)?;
    }
    // One for each process, so that two who were told the same folder do not write into one file.
    let aside = folder.join(format!("{NAME}.{}", std::process::id()));
    let written = write_aside(&aside, &rest).and_then(|()| fs::rename(&aside, folder.join(NAME)));
    written.inspect_err(|_| drop(fs::remove_file(&aside)))
}

fn write_aside(aside: &Path, rest: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // Policies are not everybody's business.
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(aside)?;
    writeln!(file, "{HEAD}{}", Digest::of(rest))?;
    file.write_all(rest)?;
    file.sync_all()
}

/// Says that the copy in a folder still is what the sidecar decides from.
pub(super) fn renew(folder: &Path) -> io::Result<()> {
    let now = UNIX_EPOCH + Duration::from_millis(clock::unix_ms());
    let file = OpenOptions::new().write(true).open(folder.join(NAME))?;
    file.set_modified(now)
}

/// Reads the copy in a folder; `None` if there is none. How the fleet behaved is left out where that was too long ago.
pub(super) fn read(folder: &Path) -> Result<Option<Kept>, KeptFault> {
    let path = folder.join(NAME);
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(KeptFault::Spoilt("it is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let file = File::open(&path)?;
    let modified = file.metadata()?.modified()?;
    let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    // What is of the future is of a clock that was set: as good as new.
    let age = Duration::from_millis(clock::unix_ms()).saturating_sub(modified);
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(KeptFault::Spoilt("it is larger than any copy"));
    }
    let mut kept = parse(&bytes)?;
    if age >= MAX_AGE {
        return Err(KeptFault::Old(age));
    }
    if age > SIGNALS_HOLD {
        kept.state = without_signals(kept.state);
    }
    Ok(Some(Kept { age, ..kept }))
}

fn parse(bytes: &[u8]) -> Result<Kept, KeptFault> {
    let head = bytes.strip_prefix(HEAD.as_bytes());
    let head = head.ok_or(KeptFault::Spoilt("its first line is not of this form"))?;
    let (digest, rest) = head
        .iter()
        .position(|byte| *byte == b'\n')
        .and_then(|end| head.split_at_checked(end))
        .ok_or(KeptFault::Spoilt("its first line does not end"))?;
    let mut rest = rest.get(1..).unwrap_or_default();
    if digest != Digest::of(rest).to_string().as_bytes() {
        return Err(KeptFault::Spoilt("its digest is another"));
    }
    let odd = KeptFault::Spoilt("it has other parts than a copy");
    let mut next = || Followed::decode_length_delimited(&mut rest).ok()?.part;
    let (Some(Part::Policy(policy)), Some(Part::Topology(topology)), Some(Part::State(state))) =
        (next(), next(), next())
    else {
        return Err(odd);
    };
    let purges = match next() {
        Some(Part::Purges(purges)) => Some(purges),
        Some(_) => return Err(odd),
        None => None,
    };
    let text = |bytes| String::from_utf8(bytes).map_err(|_| KeptFault::Spoilt("it is no text"));
    Ok(Kept {
        policy: text(policy)?,
        topology: text(topology)?,
        state: *state,
        purges,
        age: Duration::ZERO,
    })
}

/// What of a state stays true: which texts it belongs to, and where the sidecar is.
fn without_signals(state: FollowedState) -> FollowedState {
    FollowedState {
        revision: state.revision,
        generation: state.generation,
        policy_digest: state.policy_digest,
        topology_digest: state.topology_digest,
        geo_state: state.geo_state,
        here: state.here,
        ..FollowedState::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Texts {
        Texts {
            policy: "policy".into(),
            topology: "topology".into(),
        }
    }

    fn state() -> FollowedState {
        FollowedState {
            revision: 7,
            geo_state: "good".to_owned(),
            weight_factors: vec![0.5],
            node_states: vec![2],
            ..FollowedState::default()
        }
    }

    fn purges() -> FollowedPurges {
        FollowedPurges {
            head: 9,
            floor: 4,
            ..FollowedPurges::default()
        }
    }

    fn set_age(folder: &Path, age: Duration) {
        let at = UNIX_EPOCH + Duration::from_millis(clock::unix_ms()).saturating_sub(age);
        let file = OpenOptions::new().write(true).open(folder.join(NAME));
        file.unwrap().set_modified(at).unwrap();
    }

    #[test]
    fn what_was_written_is_read_and_how_the_fleet_behaved_only_while_it_is_new() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap().is_none());
        write(folder.path(), &texts(), (&state(), purges())).unwrap();
        let kept = read(folder.path()).unwrap().unwrap();
        assert_eq!((&*kept.policy, &*kept.topology), ("policy", "topology"));
        assert_eq!((&kept.state, kept.purges), (&state(), Some(purges())));
        set_age(folder.path(), Duration::from_secs(90));
        let kept = read(folder.path()).unwrap().unwrap();
        assert_eq!(kept.state, without_signals(state()));
        assert_eq!(
            (kept.state.revision, kept.state.weight_factors.len()),
            (7, 0)
        );
        renew(folder.path()).unwrap();
        assert_eq!(read(folder.path()).unwrap().unwrap().state, state());
        set_age(folder.path(), MAX_AGE + Duration::from_secs(61));
        let refused = read(folder.path()).unwrap_err().to_string();
        assert_eq!(refused, "is 61 minutes old, which must be less than 60");
    }

    #[test]
    fn what_was_spoilt_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &texts(), (&state(), purges())).unwrap();
        let path = folder.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let refused = read(folder.path());
            assert!(matches!(refused, Err(KeptFault::Spoilt(_))), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            let refused = read(folder.path());
            assert!(matches!(refused, Err(KeptFault::Spoilt(_))), "cut at {at}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(read(folder.path()), Err(KeptFault::Spoilt(_))));
        let refused = write(folder.path(), &texts(), (&state(), purges()));
        assert!(refused.is_err());
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left aside"
        );
    }
}
