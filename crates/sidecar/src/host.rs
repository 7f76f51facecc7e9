//! The machine, or the container, that this process runs on.

use std::fs;

/// What it is called; empty where the system does not say.
pub fn name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    name.unwrap_or_default().trim().to_owned()
}
