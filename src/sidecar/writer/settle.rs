//! Which policy and which topology to use, when some of what is wanted may be bad.
//!
//! Each document is taken if it can be; where it can not, the last good one stands in for it alone. So a broken policy
//! does not keep a node from being drained, and a broken topology does not keep a policy from being changed. A topology that
//! takes away too much of the running one is held: that one stays until the other is confirmed.

use std::sync::Arc;

use super::{Fate, Outcome};
use crate::engine::date::Date;
use crate::engine::document::{Code, Diagnostics, Source};
use crate::engine::policy::{self, Policy};
use crate::engine::topology::removal::{Removal, percent};
use crate::engine::topology::{self, Topology};
use crate::sidecar::clock;
use crate::sidecar::state::Held;
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
    pub(super) texts: Arc<Texts>,
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
        texts: Arc::new(Texts {
            policy: policy_text,
            topology: topology_text,
        }),
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
        texts: Arc::new(texts),
        policy: Arc::new(policy),
        ..running.clone()
    })
}

/// The pair with another topology text, and what may be said of it.
pub(super) struct Candidate {
    pub(super) current: Current,
    pub(super) warnings: Diagnostics,
    pub(super) removal: Removal,
    /// Why it must be confirmed, if it must.
    pub(super) because: Option<String>,
}

/// The running policy with another topology text.
pub(super) fn with_topology(running: &Current, text: String) -> Result<Candidate, Diagnostics> {
    let compiled = topology::compile("topology", &text);
    let topology = Arc::new(compiled.topology.ok_or(compiled.diagnostics.clone())?);
    let policy = policy::compile("policy", &running.texts.policy, &topology);
    let policy = policy.policy.ok_or(policy.diagnostics)?;
    let removal = Removal::between(&running.topology, &topology);
    Ok(Candidate {
        warnings: compiled.diagnostics,
        removal,
        because: too_much(running, removal),
        current: Current {
            nodes: Arc::new(EncodedNodes::new(&topology)),
            topology,
            policy: Arc::new(policy),
            texts: Arc::new(Texts {
                topology: text,
                policy: running.texts.policy.clone(),
            }),
        },
    })
}

/// Why a removal must be confirmed; `None` if it need not be.
fn too_much(running: &Current, removal: Removal) -> Option<String> {
    let most = running.policy.operation().max_removed_ratio;
    removal.exceeds(most).then(|| {
        format!(
            "{removal}, at most {} % are taken unconfirmed",
            percent(most)
        )
    })
}

fn compile_pair(texts: &Texts) -> Option<Current> {
    let topology = Arc::new(topology::compile("last good topology", &texts.topology).topology?);
    let policy = policy::compile("last good policy", &texts.policy, &topology).policy?;
    let nodes = Arc::new(EncodedNodes::new(&topology));
    Some(Current {
        texts: Arc::new(texts.clone()),
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
                if let Some(running) = running
                    && let Some(held) = held(running, &topology, (&wanted.topology_name, text))
                {
                    outcome.fate = Fate::Held;
                    outcome.held = Some(held);
                    let in_force = Arc::clone(&running.topology);
                    return Some((running.texts.topology.clone(), in_force));
                }
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

/// A topology of a source as one that is held, if it takes away too much of the running one.
fn held(running: &Current, topology: &Topology, (source, text): (&str, &str)) -> Option<Held> {
    let removal = Removal::between(&running.topology, topology);
    Some(Held {
        text: text.to_owned(),
        digest: topology.digest(),
        removal,
        because: too_much(running, removal)?,
        source: source.to_owned(),
        since_unix_ms: clock::unix_ms(),
    })
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
                let today = Date::from_unix_ms(clock::unix_ms());
                if policy.has_expired_rules(today) {
                    let late = policy::expired(&wanted.policy_name, text, today);
                    settled.policy.warnings.append(late);
                }
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
        format!("the file cannot be read: {error}"),
        "check the path and who may read it",
    );
    faults.push(source.fault(Code::D012, &crate::engine::document::Path::Root, said));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn wanted(policy: Result<String, String>) -> Wanted {
        Wanted {
            policy,
            topology: Ok(example::TOPOLOGY.to_owned()),
            policy_name: "policy.yaml".to_owned(),
            topology_name: "topology.yaml".to_owned(),
        }
    }

    #[test]
    fn every_lint_of_check_runs_at_load_too() {
        let late = "expires: 2020-01-31\n      rollback: delete this rule";
        let narrower = "    - { name: late, owner: web, rollback: x, pools: [edge], match: { paths: [{ value: /api/v1 }] } }\n\n    - name: account-eu";
        let text = example::POLICY
            .replacen("rollback: delete this rule", late, 1)
            .replace("    - name: account-eu", narrower);
        let settled = settle(&wanted(Ok(text)), None, None);
        assert_eq!(settled.policy.fate, Fate::Applied);
        let warnings = settled.policy.warnings.to_lines().join("\n");
        for part in [
            "warning[C001]: spec.rules[0].expires: the rule `video` expired on 2020-01-31",
            "warning[P020]: spec.rules[2]: the rule `late` is never reached; `api` before it",
        ] {
            assert!(warnings.contains(part), "{part} in {warnings}");
        }
    }

    #[test]
    fn a_missing_file_is_a_finding() {
        let settled = settle(&wanted(Err("no such file".to_owned())), None, None);
        assert!(settled.current.is_none());
        assert_eq!(
            settled.policy.faults.to_lines(),
            [
                "policy.yaml:1:1: error[D012]: the file cannot be read: no such file; check the path and who may read it"
            ]
        );
    }
}
