//! The project's sources, for tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

/// The crates of the workspace, by the folder of what they ship.
pub(crate) const CRATES: &[&str] = &[
    "crates/engine/src",
    "crates/simulator/src",
    "crates/wire/src",
    "crates/client/src",
    "crates/envoy/src",
    "crates/sidecar/src",
    "crates/demo/src",
    "src",
];

/// The sources below a folder of the project, as paths relative to it, with their text.
pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut open: Vec<PathBuf> = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("the folder is readable") {
            let path = entry.expect("the entry is readable").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("it lies below the root");
                let name = name.to_string_lossy().replace('\\', "/");
                found.push((name, fs::read_to_string(&path).expect("it is text")));
            }
        }
    }
    found
}
