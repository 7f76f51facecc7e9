//! What the demo tells while it runs: for people and, as JSON, for programs.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

/// Who is told, as it happens; an error ends the demo.
pub type Tell<'t> = dyn FnMut(&Record) -> io::Result<()> + 't;

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// Everything runs.
    Begin(Begin),
    /// What became of the requests of a second.
    Second(Second),
    /// Something happened.
    Event(Event),
    /// The story is over.
    End(End),
}

/// What runs where.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Begin {
    /// What chooses clients and objects.
    pub seed: u64,
    /// Requests per second, from all clients together.
    pub requests_per_second: u32,
    /// Where the sidecar answers gRPC.
    pub grpc: String,
    /// Where its debug door is.
    pub debug: String,
    /// The nodes of each site.
    pub sites: BTreeMap<String, Vec<String>>,
}

/// What became of the requests of a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Second {
    /// The second's end, from the beginning.
    pub at_s: u64,
    /// Requests that ended in it.
    pub requests: u64,
    /// Those that no node served.
    pub failed: u64,
    /// Those that the first node of their list did not serve, but another one.
    pub retried: u64,
    /// Share of those served that came from a cache, 0 to 1.
    pub hit_ratio: Option<f64>,
    /// Median time in ms.
    pub p50_ms: Option<f64>,
    /// 99th percentile in ms.
    pub p99_ms: Option<f64>,
    /// Requests served, by node.
    pub served: BTreeMap<String, u64>,
}

/// Who says what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Voice {
    /// The demo: what it does to the nodes.
    Demo,
    /// The sidecar, by what its debug door shows.
    Sidecar,
    /// The sidecar, asked to explain a request.
    Explanation,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// When, from the beginning.
    pub at_s: f64,
    /// Who says so.
    pub voice: Voice,
    /// What, in words.
    pub text: String,
}

/// What was expected, and what came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Expectation {
    /// What should be.
    pub expected: String,
    /// What is.
    pub measured: String,
    /// Whether they agree.
    pub held: bool,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct End {
    /// Whether somebody ended it before its time; then there are no expectations.
    pub interrupted: bool,
    /// Everything that was expected.
    pub expectations: Vec<Expectation>,
    /// Whether all of it held, and it was not interrupted.
    pub held: bool,
}
