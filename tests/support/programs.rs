//! Programs of others that tests run: found, installed, or the test is skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a program is, after an attempt to install it; or why it cannot be had. `name` is one that
/// `tests/proxies/prepare` knows.
fn find(name: &str) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let prepared = Command::new(root.join("tests/proxies/prepare"))
        .arg(name)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("tests/proxies/prepare does not run: {error}"))?;
    let said = String::from_utf8_lossy(&prepared.stderr);
    if prepared.status.success() {
        let path = String::from_utf8_lossy(&prepared.stdout);
        return Ok(PathBuf::from(path.trim()));
    }
    Err(said.lines().last().unwrap_or("nothing said").to_owned())
}

/// Where a program is, or `None` after the line that says why the test called `test` is skipped.
///
/// # Panics
///
/// Instead of skipping, where `TRADEWIND_NO_SKIP` is set to 1.
#[track_caller]
pub(crate) fn path(name: &str, test: &str) -> Option<PathBuf> {
    let why = match find(name) {
        Ok(path) => return Some(path),
        Err(why) => why,
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of these tests, not a setting"
    )]
    let no_skip = std::env::var("TRADEWIND_NO_SKIP").is_ok_and(|value| value == "1");
    assert!(!no_skip, "{test} cannot run: {why}");
    note(&format!("skipped: {test} because {why}"));
    None
}

/// Says something to whoever runs the tests: not by `eprintln!`, which the harness keeps to itself while tests pass.
pub(crate) fn note(line: &str) {
    let line = format!("{line}\n");
    drop(std::io::Write::write_all(
        &mut std::io::stderr(),
        line.as_bytes(),
    ));
}
