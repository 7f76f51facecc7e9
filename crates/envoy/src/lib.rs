//! Tradewind's engine inside Envoy: decides every request where it is, and tells the sidecar how the attempts went.
//!
//! A dynamic module (`docs/envoy-module.md`): one file, loaded by a stock Envoy. Its HTTP filter asks nobody. It decides from the
//! copy that its follower keeps of what the sidecar decides from, and sets the header that `override_host` walks. Its access
//! logger, in `upstream_log`, tells of each attempt.
//!
//! Only `abi` and `hooks` know of pointers. Nothing that goes wrong here leaves a hook: a panic is contained, counted, and
//! the request is as if there were no copy.

mod abi;
mod config;
#[cfg(test)]
mod fake;
mod filter;
mod hooks;
mod logger;
mod told;
