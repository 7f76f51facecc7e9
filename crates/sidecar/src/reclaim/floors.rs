//! What each node has done, on disk: `purge-floors` in the state directory, a line for each node.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::freshness::records::MAX_NODES;
use crate::regular;

/// Most bytes of the file that are read.
const MAX_BYTES: u64 = 8 << 20;

/// Up to which purge each node has done all, by its id; also of nodes that are not there now and may come back.
#[derive(Debug, Default)]
pub(super) struct Floors {
    path: Option<PathBuf>,
    known: BTreeMap<Box<str>, u64>,
    is_changed: bool,
    /// Whether it was told already that they cannot be kept.
    is_told: bool,
}

impl Floors {
    /// Those of an earlier run. What cannot be read is not known: then those nodes are told of nothing that was purged before.
    pub(super) fn read(state_dir: Option<&Path>) -> Self {
        let path = state_dir.map(|dir| dir.join("purge-floors"));
        let text = path.as_ref().map_or(Ok(String::new()), |path| {
            regular::read_text(path, MAX_BYTES)
        });
        let text = text.unwrap_or_else(|error| {
            tracing::error!(%error, "what caches have dropped cannot be read: what was purged before this start they are not told of again");
            String::new()
        });
        let rows = text.lines().filter_map(|line| {
            let (sequence, node) = line.split_once(' ')?;
            Some((node.into(), sequence.parse().ok()?))
        });
        Self {
            path,
            known: rows.take(MAX_NODES).collect(),
            ..Self::default()
        }
    }

    /// That of a node; of one that is not known `head`: it begins with nothing of what was purged before.
    pub(super) fn of(&mut self, node: &str, head: u64) -> u64 {
        if let Some(floor) = self.known.get(node) {
            return *floor;
        }
        self.raise(node, head);
        head
    }

    /// A node has done all purges up to this one.
    pub(super) fn raise(&mut self, node: &str, floor: u64) {
        if let Some(known) = self.known.get_mut(node) {
            self.is_changed |= *known < floor;
            *known = floor.max(*known);
        } else if self.known.len() < MAX_NODES {
            self.known.insert(node.into(), floor);
            self.is_changed = true;
        }
    }

    /// Writes them down, if anything is new.
    pub(super) fn keep(&mut self) {
        if !std::mem::take(&mut self.is_changed) {
            return;
        }
        let Some(path) = &self.path else { return };
        let mut text = String::new();
        for (node, floor) in &self.known {
            // A string takes any text.
            let _written = writeln!(text, "{floor} {node}");
        }
        match regular::replace(path, &text) {
            Ok(()) => self.is_told = false,
            Err(error) if !self.is_told => {
                tracing::error!(path = %path.display(), %error, "what caches have dropped cannot be kept: after a restart they are told again");
                self.is_told = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_are_found_again_and_only_rise() {
        let dir = tempfile::tempdir().unwrap();
        let mut floors = Floors::read(Some(dir.path()));
        assert_eq!(floors.of("fra-1", 7), 7);
        floors.raise("fra-1", 9);
        floors.raise("fra-1", 8);
        assert_eq!(floors.of("ams-1", 9), 9);
        floors.keep();
        let mut again = Floors::read(Some(dir.path()));
        assert_eq!((again.of("fra-1", 20), again.of("ams-1", 20)), (9, 9));
        assert_eq!(again.of("new", 20), 20);
    }

    #[test]
    fn a_spoilt_file_says_nothing_of_the_lines_it_spoils() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("purge-floors"), "x\n12 fra-1\nnine ams-1\n").unwrap();
        let mut floors = Floors::read(Some(dir.path()));
        assert_eq!((floors.of("fra-1", 20), floors.of("ams-1", 20)), (12, 20));
    }
}
