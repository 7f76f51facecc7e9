//! The commands, driven as a shell drives them: arguments in, text and exit status out.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on is a failure"
)]

mod binary;
mod check;
mod diff;
mod examples;
mod fleet_of_the_world;
mod fmt;
#[path = "../../examples/fixtures/mmdb.rs"]
#[expect(
    dead_code,
    reason = "the writer knows more kinds of values than are needed here"
)]
mod mmdb;
mod operator;
mod plan;
mod policy;
mod print;
mod replay;
mod rollout;
mod route;
mod see;
mod sign;
mod support;
mod tell;
mod topology;
