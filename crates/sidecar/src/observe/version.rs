//! What this program is built from. `build.rs` finds it out; what it could not is `unknown`.

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that was checked out, or what `TRADEWIND_COMMIT` said when it was built. Changes on top of it are not told.
pub const COMMIT: &str = env!("TRADEWIND_BUILT_COMMIT");

/// The triple of the machine it is built for.
pub const TARGET: &str = env!("TRADEWIND_BUILT_TARGET");

/// The version of the compiler.
pub const RUSTC: &str = env!("TRADEWIND_BUILT_RUSTC");

/// All of it in a line, for `--version`.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("TRADEWIND_BUILT_COMMIT"),
    ", ",
    env!("TRADEWIND_BUILT_TARGET"),
    ", rustc ",
    env!("TRADEWIND_BUILT_RUSTC"),
    ")"
);
