//! The libraries for proxies stand on nothing but the C library, and a release looks whether that is so.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may fail like the test itself"
)]

use std::path::Path;
use std::process::Command;

/// What `release/check-module` says of a file that may have so many bytes; `None` for nothing.
fn faults(file: &Path, most: u64) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ran = Command::new(root.join("release/check-module"))
        .arg(file)
        .arg(most.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.success(), said.is_empty(), "{said}");
    (!said.is_empty()).then_some(said)
}

#[test]
fn the_modules_need_the_c_library_alone() {
    // This program stands on them, so they lie beside it.
    let own = std::env::current_exe().unwrap();
    for name in ["libtradewind_envoy.so", "libtradewind_c.so"] {
        let module = own.with_file_name(name);
        assert_eq!(faults(&module, u64::MAX >> 1), None);
        let large = faults(&module, 1_000).unwrap();
        assert!(large.contains("at most 1000 are allowed"), "{large}");
    }
    // A program of Rust's that was linked as usual unwinds by a library of the system, and may be unloaded.
    let other = faults(&own, u64::MAX >> 1).unwrap();
    for part in ["needs libgcc_s.so.1", "may be unloaded"] {
        assert!(other.contains(part), "{part} in {other}");
    }
}

#[test]
fn a_release_has_the_modules_and_looks_at_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let build = std::fs::read_to_string(root.join("release/build")).unwrap();
    for part in [
        "--profile module --locked --package tradewind-envoy",
        "--profile module --locked --package tradewind-c ",
        "release/check-module \"$into/$module\" ",
        "sha256sum \"${files[@]}\" >SHA256SUMS",
    ] {
        assert!(build.contains(part), "{part}");
    }
}
