//! A policy is refused with at least one fault, or answers a query; every fault can be shown.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tradewind::engine::evaluate::evaluate;
use tradewind::engine::geo::ranges::Ranges;
use tradewind::engine::policy;
use tradewind::engine::query::Query;
use tradewind::engine::snapshot::{GeoState, Parts, Snapshot};
use tradewind::engine::topology::{self, Topology};
use tradewind::example;

static TOPOLOGY: LazyLock<Arc<Topology>> =
    LazyLock::new(|| Arc::new(topology::compile("topology", example::TOPOLOGY).topology.expect("the example is good")));

fuzz_target!(|text: &str| {
    let compiled = policy::compile("policy", text, &TOPOLOGY);
    let shown = compiled.diagnostics.render(false);
    let Some(policy) = compiled.policy else {
        assert!(compiled.diagnostics.has_errors() && !shown.is_empty());
        return;
    };
    assert!(!compiled.diagnostics.has_errors());
    let parts = Parts {
        topology: Arc::clone(&TOPOLOGY),
        policy: Arc::new(policy),
        candidate: None,
        geo: Arc::new(Ranges::default()),
        geo_state: GeoState::NotConfigured,
        here: None,
        signals: Arc::default(),
    };
    let snapshot = Snapshot::build(1, parts, None);
    let query = Query { host: "www.example.com", path: "/video/a.mp4", ..Query::default() };
    let evaluation = evaluate(&snapshot, &query);
    assert!(evaluation.picks.len() <= 8);
});
