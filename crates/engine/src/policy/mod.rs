//! Routing policy: from the document people write to the tables a decision reads.
//!
//! A [`Policy`] that exists is valid, and it is compiled against one [`Topology`](super::topology::Topology): pools are resolved to sets of nodes,
//! sites to positions. A new topology means a new policy value from the same text.

mod compile;
mod conditions;
pub mod document;
mod example;
mod expectation;
mod expiry;
mod freshness;
mod gates;
mod key;
mod limits;
mod matcher;
mod node_set;
mod numbers;
mod operation;
mod origin;
mod overlap;
mod overrides;
mod plan;
mod rate_limit;
mod reclaim;
mod rollout;
mod routing;
mod scoring;
mod set_name;
mod specimen;
mod unmet;
#[cfg(feature = "cel")]
mod when;
#[cfg(not(feature = "cel"))]
#[path = "when_without_cel.rs"]
mod when;

use std::sync::Arc;

pub use compile::{Compiled, check_alone, compile};
pub use document::{
    Action, Affinity, CohortDocument, GuardDocument, MetricDocument, PanicMode, PolicyDocument,
    Priority, RolloutDocument, StageDocument, WhenInconclusiveDocument,
};
pub use example::{Example, List, Request, Then};
pub use expectation::{Area, Claim, Expectation, MAX_EXPECTATIONS, MAX_RULE_EXPECTATIONS, Whose};
pub use expiry::expired;
pub use freshness::{Freshness, Lifetime};
pub use gates::Gates;
pub use key::KeyRecipe;
pub use limits::{MAX_CLASSES, MAX_POOLS, MAX_RULES};
pub use matcher::WhenFailures;
pub use node_set::{Demands, NodeSet, SetIndex, SetSite};
pub use numbers::{ClassNumber, Numbered, Numbers, SetNumber};
pub use operation::{LOAD_REPORT_PERIOD_MS, Operation, Retries};
pub use plan::{Class, Plan, PlanTier, Pool, Rule};
pub use rate_limit::RateLimit;
pub use reclaim::{Reclaim, ReclaimHeader};
pub use rollout::MAX_WINDOW_MS;
pub use routing::{Known, Matched, Routing};
pub use set_name::SetName;
pub use specimen::Specimen;

use super::model::Digest;

/// A valid policy, compiled against one topology: how requests are routed, and how the engine reacts to what happens.
///
/// The two are apart because there may be two routings at once, of which each request gets one; but breakers, probes and
/// budgets are the nodes', whoever is sent to them: one operation for each process.
#[derive(Debug)]
pub struct Policy {
    name: String,
    routing: Arc<Routing>,
    operation: Operation,
    examples: Vec<Example>,
    expectations: Vec<Expectation>,
    gates: Gates,
    rollout: RolloutDocument,
    sample_ratio: f64,
}

impl Policy {
    /// The digest of the text it came from: the name of the revision.
    pub fn digest(&self) -> Digest {
        self.routing.digest()
    }

    /// The policy's name; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How requests are routed.
    pub fn routing(&self) -> &Arc<Routing> {
        &self.routing
    }

    /// How the engine reacts to what happens.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The examples of all rules, in the document's order.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The expectations of all rules, in the document's order.
    pub fn expectations(&self) -> &[Expectation] {
        &self.expectations
    }

    /// How much a change of this policy may do.
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// How a policy that is rolled out takes the place of this one.
    pub fn rollout(&self) -> &RolloutDocument {
        &self.rollout
    }

    /// Share of decisions kept for people to look at, 0 to 1.
    pub fn sample_ratio(&self) -> f64 {
        self.sample_ratio
    }
}
