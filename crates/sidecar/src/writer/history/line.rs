//! The file of a revision: a line of JSON, and the two texts behind it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::writer::seals::Pair;
use tradewind_engine::edition::Texts;
use tradewind_engine::lifecycle::{Origin, Over, Revision};
use tradewind_engine::model::Digest;

/// The form of the line. Another version of this program that finds another form leaves the file alone.
const FORMAT: u32 = 1;

/// The line of JSON that a file begins with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    format: u32,
    revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<u64>,
    origin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollback_to: Option<u64>,
    who: String,
    why: String,
    at_unix_ms: u64,
    policy_bytes: usize,
    policy_digest: String,
    topology_digest: String,
    /// What the policy's source said when another one took its place by a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy_over: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topology_over: Option<String>,
    /// The signatures of the texts, where keys are pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy_signature: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topology_signature: Option<Arc<str>>,
}

/// Reads a whole file, and the signatures of its texts; `None` where it is cut, spoilt or of another form.
pub(super) fn parse(whole: &str) -> Option<(Revision, Pair)> {
    let (line, rest) = whole.split_once('\n')?;
    let line: Line = serde_json::from_str(line).ok()?;
    let (policy, topology) = rest.split_at_checked(line.policy_bytes)?;
    let is_whole = Digest::of(policy.as_bytes()).to_string() == line.policy_digest
        && Digest::of(topology.as_bytes()).to_string() == line.topology_digest;
    let digest = |text: Option<String>| text.map(|text| text.parse()).transpose();
    (line.format == FORMAT && is_whole).then_some(())?;
    let signatures = Pair {
        policy: line.policy_signature,
        topology: line.topology_signature,
    };
    let revision = Revision {
        number: line.revision,
        parent: line.parent,
        texts: Texts {
            policy: policy.into(),
            topology: topology.into(),
        },
        origin: origin(&line.origin, line.rollback_to)?,
        who: line.who,
        why: line.why,
        at_unix_ms: line.at_unix_ms,
        over: Over {
            policy: digest(line.policy_over).ok()?,
            topology: digest(line.topology_over).ok()?,
        },
    };
    Some((revision, signatures))
}

fn origin(name: &str, rollback_to: Option<u64>) -> Option<Origin> {
    let all = [
        Origin::Sources,
        Origin::Policy,
        Origin::Topology,
        Origin::Rollout,
    ];
    let known = all.into_iter().find(|origin| origin.name() == name);
    known.or_else(|| {
        let back = Origin::Rollback(rollback_to?);
        (back.name() == name).then_some(back)
    })
}

impl Line {
    pub(super) fn of(revision: &Revision, signatures: Pair) -> Self {
        let digest = |text: &Arc<str>| Digest::of(text.as_bytes()).to_string();
        Self {
            format: FORMAT,
            revision: revision.number,
            parent: revision.parent,
            origin: revision.origin.name().to_owned(),
            rollback_to: match revision.origin {
                Origin::Rollback(to) => Some(to),
                Origin::Sources | Origin::Policy | Origin::Topology | Origin::Rollout => None,
            },
            who: revision.who.clone(),
            why: revision.why.clone(),
            at_unix_ms: revision.at_unix_ms,
            policy_bytes: revision.texts.policy.len(),
            policy_digest: digest(&revision.texts.policy),
            topology_digest: digest(&revision.texts.topology),
            policy_over: revision.over.policy.map(|it| it.to_string()),
            topology_over: revision.over.topology.map(|it| it.to_string()),
            policy_signature: signatures.policy,
            topology_signature: signatures.topology,
        }
    }
}
