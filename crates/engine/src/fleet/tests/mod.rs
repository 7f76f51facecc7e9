//! What must hold of a fleet, whatever its bus does: each property by name.

mod absence;
mod evidence;
mod guard;
mod hearings;
mod lease;
mod purges;
mod states;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::evidence::{Evidence, INTERVAL_MS, NodeEvidence};
use super::judge::Judge;
use super::{Echo, Epoch, MemberId, Stamp};
use crate::hash::NodeSeed;
use crate::policy::{self, Operation, Policy};
use crate::time::Moment;
use crate::topology::{self, Topology};

/// Two sites of five nodes of unlike capacity, in a pool each and in one together; two nodes take no traffic.
fn edition() -> (Topology, Policy) {
    let mut text = String::from(
        "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  tiers: [edge]\n  sites:\n  - {id: fra, lat: 50.1, lon: 8.7}\n  \
         - {id: par, lat: 48.9, lon: 2.4}\n  nodes:\n",
    );
    for (site, capacity) in [("fra", 100), ("par", 40)] {
        for at in 1..=5 {
            let state = if at == 5 { ", state: drain" } else { "" };
            let capacity = capacity * at;
            writeln!(
                text,
                "  - {{id: {site}-{at}, site: {site}, address: \"192.0.2.{at}:{capacity}\", capacity: {capacity}{state}}}"
            )
            .expect("written");
        }
    }
    let compiled = topology::compile("topology", &text);
    let topology = compiled.topology;
    let topology = topology.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics.to_lines()));
    let text = "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools:\n  - {name: all, select: {tier: edge}}\n  \
                - {name: fra, select: {sites: [fra]}}\n  - {name: par, select: {sites: [par]}}\n  \
                rules: [{name: all, owner: a, rollback: x, pools: [all, fra, par]}]\n";
    let compiled = policy::compile("policy", text, &topology);
    let policy = compiled.policy;
    let policy = policy.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics.to_lines()));
    (topology, policy)
}

/// How the engine reacts where the policy says nothing of it.
fn operation() -> Operation {
    edition().1.operation().clone()
}

/// A chair that has just begun, in the first epoch.
fn judge(operation: &Operation) -> Judge {
    Judge::new(
        Moment(0),
        (Epoch(1), 7),
        super::facts::Facts::default(),
        operation,
    )
}

/// A message of a member, the first of its first start, about these nodes.
fn evidence(member: u64, sequence: u64, rows: Vec<NodeEvidence>) -> Evidence {
    Evidence {
        member: MemberId(member),
        incarnation: 1,
        sequence,
        interval_ms: INTERVAL_MS,
        age_ms: 0,
        acted_on: Stamp::default(),
        heard: Echo {
            epoch: Epoch(1),
            at_ms: u64::MAX,
        },
        missed: false,
        rows,
    }
}

/// A node that fails for a member whose own breaker opened for that.
fn accusation(node: u64) -> NodeEvidence {
    NodeEvidence {
        sent: 5,
        failed: 5,
        trailing: 5,
        streak_age_ms: Some(200),
        accuses: true,
        ..NodeEvidence::new(NodeSeed(node))
    }
}

/// A node that answers.
fn praise(node: u64) -> NodeEvidence {
    NodeEvidence {
        sent: 5,
        ok: 5,
        ok_age_ms: Some(10),
        hits: BTreeMap::from([(1, (4, 1))]),
        ..NodeEvidence::new(NodeSeed(node))
    }
}
