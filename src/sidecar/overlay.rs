//! Admin states set at run time: an overlay over what the topology says, kept on disk so that a restart keeps a drain.
//!
//! An entry is of a node or of a whole site, and may end by itself. Ends are wall-clock times, because they must hold over
//! a restart. What is not in the fleet is kept: a node that is drained stays drained when it comes back.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::store;
use crate::engine::model::{AdminState, MAX_ID_BYTES};
use crate::engine::topology::Topology;

/// Most entries at once.
pub const MAX_ENTRIES: usize = 10_000;

/// Longest word on who asked or why, in characters.
pub const MAX_WORDS: usize = 256;

/// The file in the state directory.
const FILE: &str = "admin-states";

/// What a state is set for. Sites come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// All nodes of a site, by its id.
    Site(Box<str>),
    /// A node, by its id.
    Node(Box<str>),
}

impl Target {
    /// Whether the fleet has it.
    pub fn is_in(&self, fleet: &Topology) -> bool {
        match self {
            Self::Site(id) => fleet.find_site(id).is_some(),
            Self::Node(id) => fleet.find_node(id).is_some(),
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Site(id) | Self::Node(id) => id,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(id) => write!(f, "site `{id}`"),
            Self::Node(id) => write!(f, "node `{id}`"),
        }
    }
}

/// A state that was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The state; never ready.
    pub state: AdminState,
    /// When it ends by itself, ms since 1970; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_unix_ms: Option<u64>,
    /// Who set it; may be empty. At most [`MAX_WORDS`] characters.
    pub who: String,
    /// Why. At most [`MAX_WORDS`] characters.
    pub why: String,
    /// When it was set, ms since 1970.
    pub since_unix_ms: u64,
}

/// All entries, by what they are for.
pub type Entries = BTreeMap<Target, Entry>;

/// An entry as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    target: Target,
    #[serde(flatten)]
    entry: Entry,
}

/// There are [`MAX_ENTRIES`] already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_ENTRIES} admin states are set already, take some away first")]
pub struct Full;

/// The overlay, with the directory it is kept in.
#[derive(Debug, Default)]
pub struct Overlay {
    dir: Option<PathBuf>,
    entries: Arc<Entries>,
}

impl Overlay {
    /// What `dir` holds. A file that can not be read is set aside, with an error in the log: a drain that is lost in
    /// silence is worse than none.
    pub fn load(dir: Option<PathBuf>) -> Self {
        let mut overlay = Self {
            dir,
            entries: Arc::default(),
        };
        let Some(path) = overlay.path() else {
            return overlay;
        };
        match read(&path) {
            Ok(entries) => overlay.entries = Arc::new(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "admin states are lost, the file is set aside");
                if let Err(error) = fs::rename(&path, path.with_extension("bad")) {
                    tracing::warn!(%error, "it can not be set aside");
                }
            }
        }
        overlay
    }

    /// All entries.
    pub fn entries(&self) -> &Arc<Entries> {
        &self.entries
    }

    /// Sets or replaces an entry.
    pub fn set(&mut self, target: Target, entry: Entry) -> Result<(), Full> {
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&target) {
            return Err(Full);
        }
        Arc::make_mut(&mut self.entries).insert(target, entry);
        Ok(())
    }

    /// Takes an entry away; false if there is none.
    pub fn remove(&mut self, target: &Target) -> bool {
        self.entries.contains_key(target)
            && Arc::make_mut(&mut self.entries).remove(target).is_some()
    }

    /// Takes away the entries whose end has come, and gives them back.
    pub fn end(&mut self, now_unix_ms: u64) -> Vec<Target> {
        let is_over = |entry: &Entry| entry.until_unix_ms.is_some_and(|end| end <= now_unix_ms);
        let over = self.entries.iter().filter(|(_, entry)| is_over(entry));
        let over: Vec<Target> = over.map(|(target, _)| target.clone()).collect();
        for target in &over {
            self.remove(target);
        }
        over
    }

    /// What is set for a node or site by itself; ready if nothing is.
    pub fn state(&self, target: &Target) -> AdminState {
        self.entries
            .get(target)
            .map_or(AdminState::Ready, |entry| entry.state)
    }

    /// The nodes of a fleet whose state the overlay makes stricter, with that state.
    pub fn states(&self, fleet: &Topology) -> BTreeMap<Box<str>, AdminState> {
        let mut states = BTreeMap::new();
        if self.entries.is_empty() {
            return states;
        }
        let sites = fleet.sites().iter();
        let of_sites: Vec<AdminState> = sites
            .map(|site| self.state(&Target::Site(site.id.clone())))
            .collect();
        for node in fleet.nodes() {
            let own = self.state(&Target::Node(node.id.clone()));
            let of_site = of_sites.get(node.site.get()).copied().unwrap_or_default();
            let state = own.max(of_site);
            if state > node.state {
                states.insert(node.id.clone(), state);
            }
        }
        states
    }

    /// Keeps the entries: written aside, synced, renamed. `Ok(false)` when there is nowhere to keep them.
    pub fn save(&self) -> io::Result<bool> {
        let (Some(dir), Some(path)) = (&self.dir, self.path()) else {
            return Ok(false);
        };
        let kept = self.entries.iter().map(|(target, entry)| Kept {
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
fn read(path: &std::path::Path) -> io::Result<Entries> {
    let kept: Vec<Kept> = serde_json::from_str(&store::read_document(path)?)?;
    let is_good = |kept: &Kept| {
        kept.target.id().len() <= MAX_ID_BYTES
            && kept.entry.state != AdminState::Ready
            && [&kept.entry.who, &kept.entry.why]
                .iter()
                .all(|words| words.chars().count() <= MAX_WORDS)
    };
    if kept.len() > MAX_ENTRIES || !kept.iter().all(is_good) {
        let error = "holds entries that can not have been set";
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    let pairs = kept.into_iter().map(|kept| (kept.target, kept.entry));
    Ok(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::topology::compile;
    use crate::example;

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
        let mut overlay = Overlay::load(Some(state.clone()));
        let (node, site) = (Target::Node("a".into()), Target::Site("a".into()));
        overlay
            .set(node.clone(), entry(AdminState::Drain, Some(9)))
            .unwrap();
        overlay
            .set(site, entry(AdminState::Maintenance, None))
            .unwrap();
        assert!(overlay.save().unwrap());
        let again = Overlay::load(Some(state.clone()));
        assert_eq!(again.entries(), overlay.entries());
        fs::write(state.join(FILE), "[{").unwrap();
        assert!(Overlay::load(Some(state.clone())).entries().is_empty());
        assert!(state.join("admin-states.bad").exists());
        assert!(!Overlay::default().save().unwrap(), "nowhere to keep it");
    }

    #[test]
    fn entries_end_at_their_time_and_are_bounded() {
        let mut overlay = Overlay::default();
        let name = |at: usize| Target::Node(format!("n{at}").into());
        for at in 0..MAX_ENTRIES {
            let until = (at == 3).then_some(1_000);
            overlay
                .set(name(at), entry(AdminState::Drain, until))
                .unwrap();
        }
        let more = entry(AdminState::Drain, None);
        assert_eq!(overlay.set(name(MAX_ENTRIES), more.clone()), Err(Full));
        assert_eq!(overlay.set(name(1), more), Ok(()), "replaced");
        assert!(overlay.end(999).is_empty());
        assert_eq!(overlay.end(1_000), [name(3)]);
        assert!(!overlay.remove(&name(3)) && overlay.remove(&name(4)));
    }

    #[test]
    fn the_stricter_of_node_site_and_topology_holds() {
        let fleet = compile("t", example::TOPOLOGY).topology.unwrap();
        let node = &fleet.nodes()[0];
        let site = fleet.site(node.site);
        let in_site = fleet.nodes().iter().filter(|n| n.site == node.site);
        let mut overlay = Overlay::default();
        let drain = entry(AdminState::Drain, None);
        overlay.set(Target::Site(site.id.clone()), drain).unwrap();
        let stricter = entry(AdminState::Maintenance, None);
        overlay
            .set(Target::Node(node.id.clone()), stricter)
            .unwrap();
        let states = overlay.states(&fleet);
        assert_eq!(states[&node.id], AdminState::Maintenance);
        assert_eq!(states.len(), in_site.count());
        let laid_over = fleet.with_states(&states);
        assert!(overlay.states(&laid_over).is_empty(), "nothing is stricter");
    }
}
