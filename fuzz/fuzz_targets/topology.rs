//! A topology is refused with at least one fault, or has a node; every fault can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tradewind::engine::topology;

fuzz_target!(|text: &str| {
    let compiled = topology::compile("topology", text);
    let shown = compiled.diagnostics.render(false);
    match compiled.topology {
        Some(topology) => assert!(!topology.nodes().is_empty() && !compiled.diagnostics.has_errors()),
        None => assert!(compiled.diagnostics.has_errors() && !shown.is_empty()),
    }
});
