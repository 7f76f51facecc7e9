//! What this member has of what is published, and up to where: in memory, and as `fleet-config` in the state directory.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::wire::proto::{FleetFollowing, FleetPointer};
use tradewind_engine::edition::Which;
use tradewind_engine::fleet::waves::{Follower, InForce, Pointer, Standing};
use tradewind_engine::time::Moment;

/// Most bytes of the file that are read: it has three lines.
const MAX_BYTES: u64 = 4 << 10;

/// What this member has.
#[derive(Debug, Default)]
pub struct Followed {
    path: Option<PathBuf>,
    policy: Text,
    topology: Text,
    /// Up to where states were heard, and in which store.
    states: (u64, u64),
}

/// One kind of text.
#[derive(Debug, Default)]
struct Text {
    follower: Follower,
    /// What was heard of last.
    pointer: Option<FleetPointer>,
    /// Why that is not in force, where something speaks against it.
    why: String,
}

impl Followed {
    /// What an earlier run had. What cannot be read is not known: then a bus that lost some is believed.
    pub(in crate::fleet) fn read(state_dir: Option<&Path>) -> Self {
        let path = state_dir.map(|dir| dir.join("fleet-config"));
        let text = path.as_ref().map_or(Ok(String::new()), |path| read(path));
        let text = text.unwrap_or_else(|error| {
            tracing::error!(%error, "which revisions of the fleet were in force cannot be read: an older one than before may be followed");
            String::new()
        });
        let mut followed = Self {
            path,
            ..Self::default()
        };
        for line in text.lines() {
            let mut words = line.split(' ');
            let kind = words.next().unwrap_or_default();
            let mut number = || words.next()?.parse().ok();
            let Some((first, second)) = number().zip(number()) else {
                continue;
            };
            let resumed = Follower::resume(InForce {
                revision: first,
                text: second,
            });
            match kind {
                "policy" => followed.policy.follower = resumed,
                "topology" => followed.topology.follower = resumed,
                "states" => followed.states = (first, second),
                _ => {}
            }
        }
        followed
    }

    fn text(&self, which: Which) -> &Text {
        match which {
            Which::Policy => &self.policy,
            Which::Topology => &self.topology,
        }
    }

    fn text_mut(&mut self, which: Which) -> &mut Text {
        match which {
            Which::Policy => &mut self.policy,
            Which::Topology => &mut self.topology,
        }
    }

    /// The revision of a kind that is in force.
    pub(super) fn revision(&self, which: Which) -> u64 {
        self.text(which).follower.in_force().revision
    }

    /// The highest revision of a kind that is known.
    pub(super) fn highest(&self, which: Which) -> u64 {
        self.text(which).follower.highest()
    }

    /// Hears what all are to have.
    pub(super) fn hear(
        &mut self,
        (now, which): (Moment, Which),
        (pointer, message): (Pointer, FleetPointer),
        waits_ms: u64,
    ) {
        let text = self.text_mut(which);
        if text.follower.hear(now, pointer, waits_ms) {
            text.why.clear();
        }
        text.pointer = Some(message);
        if text.follower.standing(0) == Standing::Lost {
            let revision = text.follower.in_force().revision;
            tracing::warn!(
                kind = which.name(),
                on_the_bus = pointer.revision,
                in_force = revision,
                "the bus has an older revision than is in force here, which is not followed"
            );
        }
    }

    /// When the next text is to be taken.
    pub(super) fn when(&self) -> Option<Moment> {
        let all = [Which::Policy, Which::Topology];
        let whens = all.map(|which| self.text(which).follower.when(self.revision(other(which))));
        whens.into_iter().flatten().min()
    }

    /// A text whose time has come.
    pub(super) fn due(&self, now: Moment) -> Option<(Which, Pointer, FleetPointer)> {
        // A new topology first: the policy may have been tried with it.
        let all = [Which::Topology, Which::Policy];
        all.into_iter().find_map(|which| {
            let text = self.text(which);
            let pointer = text.follower.due(now, self.revision(other(which)))?;
            let message = text.pointer.clone()?;
            (message.revision == pointer.revision).then_some((which, pointer, message))
        })
    }

    /// It could not be had yet.
    pub(super) fn put_off(&mut self, which: Which, revision: u64, (until, why): (Moment, String)) {
        let text = self.text_mut(which);
        text.follower.put_off(revision, until);
        text.why = why;
    }

    /// A text is in force.
    pub(super) fn took(&mut self, which: Which, pointer: Pointer) {
        let text = self.text_mut(which);
        text.follower.took(pointer);
        text.why.clear();
        self.keep();
    }

    /// A text was refused.
    pub(super) fn refused(&mut self, which: Which, revision: u64, why: String) {
        let text = self.text_mut(which);
        text.follower.refused(revision);
        text.why = why;
    }

    /// Up to where states of this store were heard.
    pub(super) fn states_of(&self, store: u64) -> u64 {
        let (known, at) = self.states;
        if known == store { at } else { 0 }
    }

    /// The place up to which states were heard.
    pub(crate) fn state_place(&self) -> u64 {
        self.states.1
    }

    /// States of this store were heard up to a place.
    pub(super) fn heard_states(&mut self, store: u64, at: u64) {
        let before = self.states;
        self.states = (store, at.max(self.states_of(store)));
        if self.states != before {
            self.keep();
        }
    }

    /// How it stands to the texts of a kind: the revision that is in force, and what there is to say of the last.
    pub(crate) fn standing(&self, which: Which) -> (u64, Standing) {
        let standing = self
            .text(which)
            .follower
            .standing(self.revision(other(which)));
        (self.revision(which), standing)
    }

    /// The same in words, for others.
    pub(crate) fn following(&self, which: Which) -> FleetFollowing {
        let text = self.text(which);
        let (revision, standing) = self.standing(which);
        let why = match standing {
            Standing::InForce => String::new(),
            Standing::Waits if text.why.is_empty() => "its wave has not come".to_owned(),
            Standing::Waits | Standing::Refused => text.why.clone(),
            Standing::Needs(needs) => {
                let other = other(which);
                format!(
                    "it was tried with {other} {needs} of the fleet, which is not in force here"
                )
            }
            Standing::Lost => {
                format!("the bus lost it: publish another one, which is above {revision} then")
            }
        };
        FleetFollowing {
            revision,
            heard: text.pointer.as_ref().map_or(0, |it| it.revision),
            why,
        }
    }

    /// What all are to have, of both kinds.
    pub(crate) fn pointers(&self) -> Vec<FleetPointer> {
        let all = [&self.policy, &self.topology];
        all.iter().filter_map(|it| it.pointer.clone()).collect()
    }

    /// Writes down what must not be forgotten.
    fn keep(&self) {
        let Some(path) = &self.path else { return };
        let mut lines = String::new();
        let mut line = |kind: &str, first: u64, second: u64| {
            // A string takes any text.
            let _written = writeln!(lines, "{kind} {first} {second}");
        };
        for which in [Which::Policy, Which::Topology] {
            let InForce { revision, text } = self.text(which).follower.in_force();
            line(which.name(), revision, text);
        }
        line("states", self.states.0, self.states.1);
        if let Err(error) = write(path, &lines) {
            tracing::error!(path = %path.display(), %error, "which revisions of the fleet are in force cannot be kept: after a restart an older one may be followed");
        }
    }
}

fn other(which: Which) -> Which {
    match which {
        Which::Policy => Which::Topology,
        Which::Topology => Which::Policy,
    }
}

fn read(path: &Path) -> io::Result<String> {
    match fs::metadata(path) {
        Ok(found) if found.len() > MAX_BYTES => Err(io::Error::other("the file is too large")),
        Ok(_) => fs::read_to_string(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Puts the file in the place of what was there, whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = File::create(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(revision: u64, needs: u64) -> (Pointer, FleetPointer) {
        let message = FleetPointer {
            revision,
            needs,
            ..FleetPointer::default()
        };
        let text = revision * 10;
        let pointer = Pointer {
            revision,
            text,
            needs,
        };
        (pointer, message)
    }

    #[test]
    fn what_was_in_force_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut followed = Followed::read(Some(dir.path()));
        followed.hear((Moment(0), Which::Policy), pointer(3, 0), 0);
        followed.took(Which::Policy, pointer(3, 0).0);
        followed.heard_states(7, 12);
        followed.heard_states(7, 9);
        let mut again = Followed::read(Some(dir.path()));
        assert_eq!(again.revision(Which::Policy), 3);
        assert_eq!(again.revision(Which::Topology), 0);
        assert_eq!((again.states_of(7), again.states_of(8)), (12, 0));
        again.hear((Moment(0), Which::Policy), pointer(2, 0), 0);
        assert_eq!(
            again.due(Moment(9)),
            None,
            "a bus that lost some is not followed"
        );
        let why = again.following(Which::Policy).why;
        assert!(why.starts_with("the bus lost it"), "{why}");
    }

    #[test]
    fn a_policy_waits_for_the_topology_that_it_was_tried_with() {
        let mut followed = Followed::default();
        followed.hear((Moment(0), Which::Policy), pointer(1, 1), 0);
        followed.hear((Moment(0), Which::Topology), pointer(1, 0), 50);
        assert_eq!(followed.due(Moment(9)), None);
        assert_eq!(followed.when(), Some(Moment(50)));
        let why = followed.following(Which::Policy).why;
        assert!(why.contains("tried with topology 1"), "{why}");
        followed.took(Which::Topology, pointer(1, 0).0);
        let due = followed.due(Moment(50)).map(|(which, ..)| which);
        assert_eq!(due, Some(Which::Policy));
    }
}
