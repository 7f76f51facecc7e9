//! What the program stands on is what `deny.toml` lets in: licences, sources, versions, and nothing that is there twice without a
//! reason.

use std::path::Path;
use std::process::Command;

use crate::programs;

/// Advisories are looked up over the network, and come whenever they come: by hand (docs/testing.md).
#[test]
fn nothing_is_below_us_that_was_not_let_in() {
    let Some(program) = programs::path("deny", "nothing_is_below_us_that_was_not_let_in") else {
        return;
    };
    let mut deny = Command::new(program);
    deny.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    deny.args(["--locked", "check", "licenses", "bans", "sources"]);
    let output = deny.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // A line that lets in what is not there any more is a warning.
    assert!(
        output.status.success() && !said.contains("warning"),
        "{said}"
    );
}
