//! Tells the compiler what the program is built from, for `--version` and `tradewind_build_info`.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Commit, target and compiler, as variables of the environment in which the crate is compiled. What is not known is
/// `unknown`.
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=TRADEWIND_COMMIT");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets it")?);
    // The builder's word, then what `cargo package` wrote down, then the repository. Somebody else's repository, in which
    // the sources lie by chance, says nothing of them.
    let variable = |name: &str| env::var_os(name)?.into_string().ok();
    let commit = variable("TRADEWIND_COMMIT")
        .filter(|given| !given.is_empty())
        .or_else(|| commit_of_package(&root))
        .or_else(|| commit_of_repository(&root.join("../..")));
    let target = variable("TARGET");
    let rustc = env::var_os("RUSTC").and_then(|rustc| said(Command::new(rustc).arg("--version")));
    // `rustc 1.95.0 (…)`: the number is enough.
    let rustc = rustc.and_then(|words| words.split(' ').nth(1).map(str::to_owned));
    for (name, value) in [("COMMIT", commit), ("TARGET", target), ("RUSTC", rustc)] {
        // It stands in one line of the output, and in labels of metrics.
        let value = value.unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        let value: String = value.chars().filter(|c| plain(*c)).take(64).collect();
        let value = if value.is_empty() { "unknown" } else { &value };
        println!("cargo:rustc-env=TRADEWIND_BUILT_{name}={value}");
    }
    Ok(())
}

/// What `cargo package` noted of the commit: `{"git": {"sha1": "…"}, …}`.
fn commit_of_package(root: &Path) -> Option<String> {
    let note = root.join(".cargo_vcs_info.json");
    let text = fs::read_to_string(&note).ok()?;
    println!("cargo:rerun-if-changed={}", note.display());
    let after = text.split("\"sha1\"").nth(1)?;
    after.split('"').nth(1).map(str::to_owned)
}

/// The commit that is checked out, if `root` is the top of a repository or worktree.
fn commit_of_repository(root: &Path) -> Option<String> {
    let git = |args: &[&str]| said(Command::new("git").arg("-C").arg(root).args(args));
    let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // Looked at again when another branch is checked out (HEAD) or the branch moves (its ref); in a worktree these lie
    // in different folders, which git knows. A ref that is packed has no file yet, and a file that is not there would
    // count as changed each time: then its folder is watched.
    let place = |name: &str| git(&["rev-parse", "--git-path", name]).map(|path| root.join(path));
    let watched = [
        place("HEAD"),
        git(&["symbolic-ref", "--quiet", "HEAD"]).and_then(|name| place(&name)),
    ];
    for path in watched.iter().flatten() {
        if let Some(there) = path.ancestors().find(|path| path.exists()) {
            println!("cargo:rerun-if-changed={}", there.display());
        }
    }
    git(&["rev-parse", "--verify", "HEAD"])
}

/// The first line that a program prints, if it ends well.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
