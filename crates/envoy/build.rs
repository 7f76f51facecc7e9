//! How the library is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // It has threads, whose code must not go away: Envoy closes what was not configured with `do_not_close`.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
