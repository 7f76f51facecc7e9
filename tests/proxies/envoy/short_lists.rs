//! A list shorter than the attempts that Envoy makes.

use tradewind_demo::nodes::Behaviour;

use super::traffic;
use super::{Envoy, PATIENT, TELL_THE_LIST};
use crate::rig::Setup;

/// A geofence or a capability may have kept the others out of the list.
#[test]
#[ignore = "fails: the fallback policy of the example's cluster takes any node for attempts beyond the list"]
fn envoy_asks_nobody_whom_a_short_list_leaves_out() {
    let test = "envoy_asks_nobody_whom_a_short_list_leaves_out";
    let setup = Setup {
        policy: vec![
            ("select: { tier: edge }", "select: { sites: [WAW] }"),
            ("      candidates: 3\n", "      candidates: 1\n"),
        ],
        ..Setup::quick()
    };
    let edits = [TELL_THE_LIST, PATIENT];
    let Some(envoy) = Envoy::start_with(test, "envoy.yaml", &edits, setup) else {
        return;
    };
    for node in ["waw-1", "waw-2", "waw-3"] {
        envoy.rig.nodes.behave(node, Behaviour::Error).unwrap();
    }
    traffic::all(&envoy, &traffic::made_up(30), 1);
    let counts = envoy.rig.nodes.counts();
    let left_out = counts
        .iter()
        .filter(|node| node.site != "WAW" && node.requests > 0);
    let left_out: Vec<_> = left_out.map(|node| (&node.id, node.requests)).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}
