//! What is written in several places says the same in each: modules and their layers, words and their page, examples,
//! Envoy's protos, the two ways to write an answer.

mod answers;
mod envoy_protos;
mod examples;
mod figures;
mod hardening;
mod header;
mod kubernetes;
mod layering;
mod module;
#[path = "../support/programs.rs"]
mod programs;
mod sbom;
mod supply;
#[expect(
    clippy::expect_used,
    reason = "a source that cannot be read is a failure"
)]
mod tree;
mod words;
