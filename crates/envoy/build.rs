//! How the library is linked: this one, and the one for C (`crates/c`).

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=../envoy/build.rs");
    // It has threads, whose code must not go away: Envoy closes what was not configured with `do_not_close`, Lua what it loaded.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    unwind_by_its_own()
}

/// Images without a shell may lack `libgcc_s.so.1`, by which the standard library unwinds. So the linker is given another file of
/// that name, which has it take the same code as a part of this library.
fn unwind_by_its_own() -> io::Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is how cargo says what it builds, and where to"
    )]
    let given = |name: &str| env::var(name).unwrap_or_default();
    if given("CARGO_CFG_TARGET_ENV") != "gnu" {
        return Ok(());
    }
    let folder = PathBuf::from(given("OUT_DIR"));
    fs::write(folder.join("libgcc_s.so"), "INPUT(-lgcc_eh)\n")?;
    println!("cargo::rustc-link-search=native={}", folder.display());
    Ok(())
}
