//! The engine as a C library inside nginx, HAProxy and a program of C, with the library as cargo built it for the tests.

mod library;

use std::path::PathBuf;

use crate::envoy::module::folder;

/// The library: beside this program, which stands on it.
fn library() -> PathBuf {
    folder().join("libtradewind_c.so")
}
