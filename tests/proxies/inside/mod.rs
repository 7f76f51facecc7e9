//! The engine as a C library inside nginx, HAProxy and a program of C, with the library as cargo built it for the tests.

mod library;
mod nginx;

use std::path::{Path, PathBuf};

use crate::envoy::module::folder;

/// The library: beside this program, which stands on it.
fn library() -> PathBuf {
    folder().join("libtradewind_c.so")
}

/// Puts the library into a folder, as who follows an example would.
fn put_library(folder: &Path) {
    let place = folder.join("libtradewind_c.so");
    std::os::unix::fs::symlink(library(), place).unwrap();
}
