//! Which policy and which topology to use, when some of what is wanted may be bad.
//!
//! Each document is taken if it can be; where it can not, the last good one stands in for it alone. So a broken policy
//! does not keep a node from being drained, and a broken topology does not keep a policy from being changed.

use std::sync::Arc;

use super::{Fate, Outcome};
use crate::engine::document::{Diagnostics, Severity, Source};
use crate::engine::policy::{self, Policy};
use crate::engine::topology::{self, Topology};
use crate::sidecar::store::Texts;
use crate::sidecar::wire::answer::EncodedNodes;

/// What the sources say now; an error is why a source could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) policy: Result<String, String>,
    pub(super) topology: Result<String, String>,
    pub(super) policy_name: String,
    pub(super) topology_name: String,
}

/// A pair in force.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) texts: Texts,
    pub(super) topology: Arc<Topology>,
    pub(super) policy: Arc<Policy>,
    pub(super) nodes: Arc<EncodedNodes>,
}

/// The outcome: a new pair if anything changes, and what became of each document.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) current: Option<Current>,
    pub(super) policy: Outcome,
    pub(super) topology: Outcome,
}

/// Settles on a pair. `base` is the last good pair of texts; `running` the compiled pair in force, if it is the base.
pub(super) fn settle(wanted: &Wanted, base: Option<&Texts>, running: Option<&Current>) -> Settled {
    let mut settled = Settled::default();
    let Some((topology_text, topology)) =
        settle_topology(wanted, base, running, &mut settled.topology)
    else {
        settled.policy.fate = Fate::Missing;
        return settled;
    };
    let pair = settle_policy(wanted, base, (&topology_text, &topology), &mut settled);
    let pair = pair.map(|(policy_text, policy)| Current {
        nodes: running
            .filter(|running| Arc::ptr_eq(&running.topology, &topology))
            .map_or_else(
                || Arc::new(EncodedNodes::new(&topology)),
                |running| Arc::clone(&running.nodes),
            ),
        texts: Texts {
            policy: policy_text,
            topology: topology_text,
        },
        topology,
        policy: Arc::new(policy),
    });
    // A topology that no policy can be used with is refused as a whole: the pair before it stays.
    let pair = pair.or_else(|| match (running, base) {
        (None, Some(base)) => compile_pair(base),
        _ => None,
    });
    settled.current = pair.filter(|pair| running.is_none_or(|running| running.texts != pair.texts));
    if settled.current.is_none() && running.is_none() {
        (settled.policy.fate, settled.topology.fate) = (Fate::Missing, Fate::Missing);
    }
    settled
}

/// The running topology with another policy text.
pub(super) fn with_policy(running: &Current, text: String) -> Result<Current, Diagnostics> {
    let compiled = policy::compile("policy", &text, &running.topology);
    let policy = compiled.policy.ok_or(compiled.diagnostics)?;
    let texts = Texts {
        policy: text,
        topology: running.texts.topology.clone(),
    };
    Ok(Current {
        texts,
        policy: Arc::new(policy),
        ..running.clone()
    })
}

fn compile_pair(texts: &Texts) -> Option<Current> {
    let topology = Arc::new(topology::compile("last good topology", &texts.topology).topology?);
    let policy = policy::compile("last good policy", &texts.policy, &topology).policy?;
    let nodes = Arc::new(EncodedNodes::new(&topology));
    Some(Current {
        texts: texts.clone(),
        topology,
        policy: Arc::new(policy),
        nodes,
    })
}

fn settle_topology(
    wanted: &Wanted,
    base: Option<&Texts>,
    running: Option<&Current>,
    outcome: &mut Outcome,
) -> Option<(String, Arc<Topology>)> {
    let reuse = |text: &str| {
        running
            .filter(|r| r.texts.topology == text)
            .map(|r| Arc::clone(&r.topology))
    };
    match &wanted.topology {
        Ok(text) => {
            if let Some(topology) = reuse(text) {
                return Some((text.clone(), topology));
            }
            let compiled = topology::compile(&wanted.topology_name, text);
            if let Some(topology) = compiled.topology {
                outcome.fate = Fate::Applied;
                outcome.warnings = compiled.diagnostics;
                return Some((text.clone(), Arc::new(topology)));
            }
            outcome.faults = compiled.diagnostics;
        }
        Err(error) => outcome.faults = unreadable(&wanted.topology_name, error),
    }
    let standing_in = base.and_then(|base| {
        let compiled = || {
            topology::compile("last good topology", &base.topology)
                .topology
                .map(Arc::new)
        };
        Some((
            base.topology.clone(),
            reuse(&base.topology).or_else(compiled)?,
        ))
    });
    outcome.fate = if standing_in.is_some() {
        Fate::LastGood
    } else {
        Fate::Missing
    };
    standing_in
}

fn settle_policy(
    wanted: &Wanted,
    base: Option<&Texts>,
    (topology_text, topology): (&str, &Topology),
    settled: &mut Settled,
) -> Option<(String, Policy)> {
    let is_base = |text: &str| base.is_some_and(|base| base.policy == text);
    let topology_is_new =
        settled.topology.fate == Fate::Applied && base.is_some_and(|b| b.topology != topology_text);
    match &wanted.policy {
        Ok(text) => {
            let compiled = policy::compile(&wanted.policy_name, text, topology);
            if let Some(policy) = compiled.policy {
                settled.policy.fate = if is_base(text) {
                    Fate::Unchanged
                } else {
                    Fate::Applied
                };
                settled.policy.warnings = compiled.diagnostics;
                return Some((text.clone(), policy));
            }
            if is_base(text) && topology_is_new {
                // The policy was good until the topology changed: it is the topology that is refused.
                settled.topology.faults = compiled.diagnostics;
                settled.topology.fate = Fate::LastGood;
                return None;
            }
            settled.policy.faults = compiled.diagnostics;
        }
        Err(error) => settled.policy.faults = unreadable(&wanted.policy_name, error),
    }
    let standing_in = base.and_then(|base| {
        let compiled = policy::compile("last good policy", &base.policy, topology);
        Some((base.policy.clone(), compiled.policy?))
    });
    settled.policy.fate = if base.is_some() {
        Fate::LastGood
    } else {
        Fate::Missing
    };
    if standing_in.is_none() && topology_is_new {
        settled.topology.fate = Fate::LastGood;
    }
    standing_in
}

/// A source that can not be read, as a fault of the document.
fn unreadable(name: &str, error: &str) -> Diagnostics {
    let (source, _) = Source::read(name, "", &crate::engine::document::Limits::default());
    let mut faults = Diagnostics::default();
    let said = (
        format!("the file can not be read: {error}"),
        "check the path and who may read it",
    );
    faults.push(source.fault(
        Severity::Error,
        "D012",
        &crate::engine::document::Path::Root,
        said,
    ));
    faults
}
