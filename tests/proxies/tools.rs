//! The proxies' programs: found, installed, or the test is skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program of others that tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Nginx,
    Haproxy,
    /// Envoy 1.40. It ends when the process that started it ends, so it must be a child of the test.
    Envoy,
}

impl Tool {
    /// The word that `prepare` takes.
    const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// Where it is, after an attempt to install it; or why it can not be had.
    fn find(self) -> Result<PathBuf, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let prepared = Command::new(root.join("tests/proxies/prepare"))
            .arg(self.name())
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

    /// Where it is, or `None` after the line that says why the test called `test` is skipped.
    ///
    /// # Panics
    ///
    /// Instead of skipping, where `TRADEWIND_NO_SKIP` is set to 1.
    #[track_caller]
    pub(crate) fn path(self, test: &str) -> Option<PathBuf> {
        let why = match self.find() {
            Ok(path) => return Some(path),
            Err(why) => why,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a switch of these tests, not a setting"
        )]
        let no_skip = std::env::var("TRADEWIND_NO_SKIP").is_ok_and(|value| value == "1");
        assert!(!no_skip, "{test} can not run: {why}");
        note(&format!("skipped: {test} because {why}"));
        None
    }
}

/// Says something to whoever runs the tests: not by `eprintln!`, which the harness keeps to itself while tests pass.
pub(crate) fn note(line: &str) {
    let line = format!("{line}\n");
    drop(std::io::Write::write_all(
        &mut std::io::stderr(),
        line.as_bytes(),
    ));
}

#[test]
fn programs_are_those_that_were_asked_for() {
    for (tool, option, says) in [
        (Tool::Nginx, "-v", "nginx/"),
        (Tool::Haproxy, "-v", "HAProxy version "),
        (Tool::Envoy, "--version", "/1.40.0/"),
    ] {
        let Some(path) = tool.path(&format!("the version of {}", tool.name())) else {
            continue;
        };
        let ran = Command::new(path).arg(option).output().unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(ran.status.success() && said.contains(says), "{said}");
    }
}
