//! The sidecar from outside: the real binary, its files, its doors and its end.
//!
//! Each test starts a process of its own on ports the system chooses, with its files in a directory of its own, and
//! waits for what it expects with a deadline instead of sleeping. Tests whose name begins with a number show the fault
//! of that number in the catalogue in `docs/hardening.md`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test's helpers may fail like the test itself"
)]

mod accounts;
mod admin;
mod admission;
mod alerting;
mod audit;
mod authority;
mod blame;
mod bus;
mod candidates;
mod client;
mod cluster;
mod crash;
mod dashboard;
mod debug_door;
mod deciding;
mod decision_log;
mod ending;
mod entrances;
mod envoy_asking;
mod envoy_endpoints;
mod envoy_incremental;
mod envoy_telling;
mod expressions;
mod families;
mod feedback;
mod fleet;
mod fleet_changes;
mod fleet_trials;
mod floods;
mod frozen;
mod geo;
mod geo_loads;
mod halves;
mod handover;
#[path = "../support/http.rs"]
mod http;
mod http_door;
mod http_limits;
mod http_outcomes;
mod keyed_client;
mod kills;
mod lapses;
mod large_geo;
mod log_filter;
mod loopback;
mod manager;
mod members;
mod metrics;
mod metrics_page;
mod misuse;
#[path = "../../examples/fixtures/mmdb.rs"]
#[expect(
    dead_code,
    reason = "the writer knows more kinds of values than are needed here"
)]
mod mmdb;
mod openapi;
mod openapi_debug;
mod openmetrics;
mod page;
#[path = "../listen/peer.rs"]
mod peer;
mod places;
mod policies;
#[path = "../support/ports.rs"]
mod ports;
mod prediction;
#[path = "../support/programs.rs"]
mod programs;
mod prometheus;
mod published;
mod purges;
mod reclaim;
mod reloads;
mod reporters;
mod rollouts;
mod scraper;
mod server;
mod shared_purges;
mod signing;
mod standard_services;
mod starting;
#[path = "../support/stopped.rs"]
mod stopped;
mod swaps;
mod traces;
mod truth;
mod wrong_doors;
