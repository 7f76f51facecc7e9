//! The way from a file's name to its content: every directory that is passed, and what is looked up in it.
//!
//! What a name leads to changes only when one of these entries does: a link is turned, a directory is replaced, a file
//! is renamed over another. So whoever watches exactly these entries misses nothing, whatever the links are like.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Component, Path, PathBuf};

/// Most links on one way, as Linux allows them.
const MAX_LINKS: usize = 40;

/// The directories on the ways of some files, by their physical paths; a directory comes before those in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ways(BTreeMap<PathBuf, Stop>);

/// A directory on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stop {
    /// What is looked up in it.
    names: BTreeSet<OsString>,
    /// Whether a way ends here, at a file or at a link in its place: then anything may matter, such as a digest beside
    /// the file.
    is_end: bool,
    /// Device and inode, which tell a directory from the one that takes its place; `None` if there is none.
    identity: Option<(u64, u64)>,
}

impl Ways {
    /// The ways of these files as they are now.
    pub(super) fn of(files: &[PathBuf]) -> Self {
        let mut ways = Self::default();
        for file in files {
            ways.follow(file);
        }
        ways
    }

    /// The directories, each before those in it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Path, &Stop)> {
        self.0.iter().map(|(dir, stop)| (dir.as_path(), stop))
    }

    pub(super) fn get(&self, dir: &Path) -> Option<&Stop> {
        self.0.get(dir)
    }

    /// Whether a change of `path` can change what a file's name leads to, or what is there.
    pub(super) fn concern(&self, path: &Path) -> bool {
        let entry = path.parent().zip(path.file_name());
        let on_way = entry.is_some_and(|(dir, name)| {
            let stop = self.0.get(dir);
            stop.is_some_and(|stop| stop.is_end || stop.names.contains(name))
        });
        on_way || self.0.contains_key(path)
    }

    fn follow(&mut self, file: &Path) {
        // Fails for an empty path and where there is no current directory; nothing can be read there either.
        let Ok(file) = path::absolute(file) else {
            return;
        };
        let mut at = PathBuf::from("/");
        let mut ahead: VecDeque<OsString> = parts(&file);
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            if part == ".." {
                // `at` is physical, so its parent is where the system goes too.
                at.pop();
                continue;
            }
            self.pass(&at, &part, ahead.is_empty());
            let next = at.join(&part);
            let Ok(target) = fs::read_link(&next) else {
                // A directory, the file, or nothing; behind nothing there is nothing to look up.
                if !next.is_dir() {
                    return;
                }
                at = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return;
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            let mut beyond = parts(&target);
            beyond.append(&mut ahead);
            ahead = beyond;
        }
    }

    fn pass(&mut self, dir: &Path, name: &OsStr, is_last: bool) {
        let stop = self.0.entry(dir.to_owned()).or_insert_with(|| Stop {
            identity: fs::metadata(dir)
                .ok()
                .map(|found| (found.dev(), found.ino())),
            ..Stop::default()
        });
        stop.names.insert(name.to_owned());
        stop.is_end |= is_last;
    }
}

impl Stop {
    /// Whether a way ends here.
    pub(super) fn is_end(&self) -> bool {
        self.is_end
    }

    /// Whether this is the same directory as the one that was at its path before.
    pub(super) fn is_same(&self, before: &Self) -> bool {
        self.identity == before.identity
    }
}

/// The parts of a path that are looked up, and `..`.
fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A directory with these directories, files and links (`name -> target`) in it.
    fn lay(entries: &[&str]) -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for entry in entries {
            if let Some((name, target)) = entry.split_once(" -> ") {
                symlink(
                    target.replace("ROOT", root.to_str().unwrap()),
                    root.join(name),
                )
                .unwrap();
            } else if entry.ends_with('/') {
                fs::create_dir_all(root.join(entry)).unwrap();
            } else {
                fs::write(root.join(entry), "").unwrap();
            }
        }
        (dir, root)
    }

    /// The entries below `root` that are looked up, `!` behind those where a way ends.
    fn below(root: &Path, file: &str) -> Vec<String> {
        let ways = Ways::of(&[root.join(file)]);
        let mut found = Vec::new();
        for (dir, stop) in ways.iter() {
            let Ok(dir) = dir.strip_prefix(root) else {
                assert!(!stop.is_end, "{dir:?}");
                continue;
            };
            for name in &stop.names {
                let end = if stop.is_end { "!" } else { "" };
                found.push(format!("{}{end}", dir.join(name).display()));
            }
        }
        found
    }

    #[test]
    fn a_plain_file_is_looked_up_in_every_directory_above_it() {
        let (_dir, root) = lay(&["conf/", "conf/policy.yaml"]);
        assert_eq!(
            below(&root, "conf/policy.yaml"),
            ["conf", "conf/policy.yaml!"]
        );
        let ways = Ways::of(&[root.join("conf/policy.yaml")]);
        assert!(ways.get(Path::new("/")).is_some());
        assert!(ways.concern(&root.join("conf")) && ways.concern(&root));
        assert!(ways.concern(&root.join("conf/policy.yaml.sha256")));
        assert!(!ways.concern(&root.join("other")));
        assert!(!ways.concern(&root.join("conf/deeper/policy.yaml")));
    }

    #[test]
    fn an_orchestrators_links_are_looked_up_one_by_one() {
        let (_dir, root) = lay(&[
            "etc/..1/",
            "etc/..1/policy.yaml",
            "etc/..data -> ..1",
            "etc/policy.yaml -> ..data/policy.yaml",
        ]);
        let found = below(&root, "etc/policy.yaml");
        for entry in [
            "etc",
            "etc/..data!",
            "etc/policy.yaml!",
            "etc/..1!",
            "etc/..1/policy.yaml!",
        ] {
            assert!(
                found.iter().any(|found| found == entry),
                "{entry} in {found:?}"
            );
        }
    }

    #[test]
    fn a_link_in_the_middle_of_a_chain_is_on_the_way() {
        let (_dir, root) = lay(&[
            "etc/",
            "srv/rel1/",
            "srv/rel1/policy.yaml",
            "srv/live -> rel1",
            "etc/policy.yaml -> ../srv/./live/policy.yaml",
            "current -> ROOT/etc",
        ]);
        assert_eq!(
            below(&root, "current/policy.yaml"),
            [
                "current",
                "etc",
                "srv",
                "etc/policy.yaml!",
                "srv/live",
                "srv/rel1",
                "srv/rel1/policy.yaml!"
            ]
        );
    }

    #[test]
    fn what_does_not_exist_yet_is_waited_for_where_it_would_come() {
        let (_dir, root) = lay(&["conf/"]);
        assert_eq!(
            below(&root, "conf/policy.yaml"),
            ["conf", "conf/policy.yaml!"]
        );
        assert_eq!(below(&root, "soon/policy.yaml"), ["soon"]);
    }

    #[test]
    fn links_in_a_circle_end() {
        let (_dir, root) = lay(&["a -> b", "b -> a", "c -> c/c"]);
        assert_eq!(below(&root, "a"), ["a!", "b!"]);
        assert_eq!(below(&root, "c"), ["c!"]);
    }

    #[test]
    fn a_directory_in_the_place_of_another_is_told_from_it() {
        let (_dir, root) = lay(&["conf/", "next/"]);
        let before = Ways::of(&[root.join("conf/policy.yaml")]);
        fs::rename(root.join("conf"), root.join("old")).unwrap();
        fs::rename(root.join("next"), root.join("conf")).unwrap();
        let after = Ways::of(&[root.join("conf/policy.yaml")]);
        assert_ne!(before, after);
        let conf = root.join("conf");
        assert!(
            !after
                .get(&conf)
                .unwrap()
                .is_same(before.get(&conf).unwrap())
        );
    }
}
