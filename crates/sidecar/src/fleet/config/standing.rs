//! What this member has of what is published, and up to where: in memory, and its revision as `fleet-config` in the state
//! directory.

use std::path::{Path, PathBuf};

use crate::regular;
use crate::wire::fleet as wire;
use crate::wire::proto::{FleetFollowing, FleetPointer};
use tradewind_engine::fleet::waves::{Follower, Pointer, Standing};
use tradewind_engine::time::Moment;

/// Most bytes of the file that are read: it has one number.
const MAX_BYTES: u64 = 4 << 10;

/// How soon what could not be had is tried again, in ms, and how late at most: its texts may be of 32 MiB, and all members try.
const AGAIN_MS: u64 = 1_000;
const AGAIN_AT_MOST_MS: u64 = 60_000;

/// What this member has.
#[derive(Debug, Default)]
pub struct Followed {
    path: Option<PathBuf>,
    follower: Follower,
    /// What the bus has.
    heard: Option<FleetPointer>,
    /// Why that is not in force, where something speaks against it.
    why: String,
    /// How often it could not be had.
    tries: u32,
}

impl Followed {
    /// What an earlier run had. What cannot be read is not known: then a bus that lost some is believed.
    pub(in crate::fleet) fn read(state_dir: Option<&Path>) -> Self {
        let path = state_dir.map(|dir| dir.join("fleet-config"));
        let text = path.as_ref().map_or(Ok(String::new()), |path| {
            regular::read_text(path, MAX_BYTES)
        });
        let revision = text.map(|text| text.trim().parse().unwrap_or(0));
        let revision = revision.unwrap_or_else(|error| {
            tracing::error!(%error, "which edition of the fleet was in force cannot be read: an older one than before may be followed");
            0
        });
        Self {
            path,
            follower: Follower::resume(revision),
            ..Self::default()
        }
    }

    /// The highest revision that was ever heard of here.
    pub(super) fn highest(&self) -> u64 {
        self.follower.highest()
    }

    /// Whether a revision can be one.
    pub(super) fn is_believable(&self, revision: u64) -> bool {
        self.follower.is_believable(revision)
    }

    /// Hears what the bus has.
    pub(super) fn hear(
        &mut self,
        now: Moment,
        (pointer, message): (Pointer, FleetPointer),
        waits_ms: u64,
    ) {
        let before = self.follower.standing();
        if self.follower.hear(now, pointer, waits_ms) {
            self.why.clear();
            self.tries = 0;
        }
        self.heard = Some(message);
        if self.follower.standing() == Standing::Lost && before != Standing::Lost {
            tracing::warn!(
                on_the_bus = pointer.revision,
                in_force = self.follower.revision(),
                "the bus has an older edition than is in force here, which is not followed"
            );
        }
    }

    /// When an edition is to be taken.
    pub(super) fn when(&self) -> Option<Moment> {
        self.follower.when()
    }

    /// An edition whose time has come.
    pub(super) fn due(&self, now: Moment) -> Option<(Pointer, FleetPointer)> {
        let pointer = self.follower.due(now)?;
        // What is waited for is what the bus has.
        let message = self.heard.clone()?;
        Some((pointer, message))
    }

    /// It could not be had yet; each time it is waited longer.
    pub(super) fn put_off(&mut self, now: Moment, revision: u64, why: String) {
        let waits_ms = AGAIN_MS << self.tries.min(6);
        self.tries += 1;
        let until = now.plus(waits_ms.min(AGAIN_AT_MOST_MS));
        self.follower.put_off(revision, until);
        self.why = why;
    }

    /// An edition is in force.
    pub(super) fn took(&mut self, pointer: Pointer) -> Keep {
        self.follower.took(pointer);
        self.why.clear();
        Keep {
            path: self.path.clone(),
            revision: self.follower.revision(),
        }
    }

    /// An edition was refused.
    pub(super) fn refused(&mut self, revision: u64, why: String) {
        self.follower.refused(revision);
        self.why = why;
    }

    /// Something else may be in force: what the bus has is taken once more.
    pub(super) fn again(&mut self, now: Moment) {
        self.follower.again(now);
    }

    /// How it stands to what is published: the revision that is in force, and what there is to say of the last.
    pub(crate) fn standing(&self) -> (u64, Standing) {
        (self.follower.revision(), self.follower.standing())
    }

    /// The same in words, for others.
    pub(crate) fn following(&self) -> FleetFollowing {
        let (revision, standing) = self.standing();
        let why = match standing {
            Standing::InForce => String::new(),
            Standing::Waits if self.why.is_empty() => "its wave has not come".to_owned(),
            Standing::Waits | Standing::Refused => wire::words(&self.why),
            Standing::Lost => "the bus lost it: the next that is published is above it".to_owned(),
        };
        FleetFollowing {
            revision,
            heard: self.heard.as_ref().map_or(0, |it| it.revision),
            why,
        }
    }

    /// What all are to have.
    pub(crate) fn pointer(&self) -> Option<&FleetPointer> {
        self.heard.as_ref()
    }
}

/// The revision that is in force, to be written down by whoever may wait for a disk.
#[derive(Debug)]
#[must_use = "it is not on disk yet"]
pub(super) struct Keep {
    path: Option<PathBuf>,
    revision: u64,
}

impl Keep {
    /// Writes it down, on a thread that may wait.
    pub(super) async fn write(self) {
        let Some(path) = self.path else { return };
        let writing = tokio::task::spawn_blocking(move || {
            let written = regular::replace(&path, &format!("{}\n", self.revision));
            if let Err(error) = written {
                tracing::error!(path = %path.display(), %error, "which edition of the fleet is in force cannot be kept: after a restart an older one may be followed");
            }
        });
        // It ends early only with the process.
        let _ended = writing.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(revision: u64) -> (Pointer, FleetPointer) {
        let message = FleetPointer {
            revision,
            ..FleetPointer::default()
        };
        let texts = revision * 10;
        (Pointer { revision, texts }, message)
    }

    #[tokio::test]
    async fn what_was_in_force_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut followed = Followed::read(Some(dir.path()));
        followed.hear(Moment(0), pointer(3), 0);
        followed.took(pointer(3).0).write().await;
        let mut again = Followed::read(Some(dir.path()));
        again.hear(Moment(0), pointer(2), 0);
        assert_eq!(
            again.due(Moment(9)),
            None,
            "a bus that lost some is not followed"
        );
        let following = again.following();
        assert!(
            following.why.starts_with("the bus lost it"),
            "{following:?}"
        );
        assert_eq!((following.revision, following.heard), (3, 2));
    }

    #[test]
    fn what_cannot_be_had_is_tried_ever_more_seldom() {
        let mut followed = Followed::default();
        followed.hear(Moment(0), pointer(1), 0);
        let mut now = Moment(0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            followed.put_off(now, 1, "away".to_owned());
            let next = followed.when().unwrap();
            waits.push(next.since(now) / 1_000);
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        followed.hear(now, pointer(2), 0);
        assert_eq!(followed.due(now).map(|(it, _)| it.revision), Some(2));
    }
}
