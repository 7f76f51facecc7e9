//! Policies and revisions on the wire: what operators ask, read with every fault at once, and what they are told.

use std::sync::Arc;

use super::messages::{self, Faults};
use super::policy_plan::{self, Planned};
use crate::clock;
use crate::state::Sources;
use crate::wire::proto;
use crate::writer::{Policies, PolicySet};
use tradewind_engine::date::Date;
use tradewind_engine::difference::{self, Reading};
use tradewind_engine::edition::{Edition, Which};
use tradewind_engine::lifecycle::{
    ApplyError, DocumentStatus, Origin, PolicyDocument, PolicyUpdate, Revision, Revisions, Rolling,
};
use tradewind_engine::model::Digest;
use tradewind_engine::plan::Breach;
use tradewind_engine::rollout::percent;

/// Reads a policy to put in force.
pub(super) fn update(request: proto::ApplyPolicyRequest) -> Result<PolicyUpdate, Faults> {
    let mut faults = Faults::new();
    messages::check_words(&mut faults, &request.who, &request.why);
    messages::check_size(&mut faults, &request.document);
    messages::check_within(&mut faults, request.everywhere, request.within_ms);
    if request.document.is_empty() {
        faults.push("document is empty".to_owned());
    }
    let update = PolicyUpdate {
        document: PolicyDocument::Text(request.document.into()),
        if_revision: request.if_revision,
        may_end_rollout: request.force,
        who: request.who,
        why: request.why,
    };
    faults.is_empty().then_some(update).ok_or(faults)
}

/// Reads which revision to go back to.
pub(super) fn rollback(request: proto::RollbackPolicyRequest) -> Result<PolicyUpdate, Faults> {
    let mut faults = Faults::new();
    messages::check_words(&mut faults, &request.who, &request.why);
    messages::check_within(&mut faults, request.everywhere, request.within_ms);
    let update = PolicyUpdate {
        document: PolicyDocument::Earlier(Some(request.to_revision).filter(|to| *to > 0)),
        if_revision: request.if_revision,
        may_end_rollout: request.force,
        who: request.who,
        why: request.why,
    };
    faults.is_empty().then_some(update).ok_or(faults)
}

/// What became of a policy.
pub(super) fn applied(set: &PolicySet) -> proto::ApplyPolicyResponse {
    let applied = &set.applied;
    let (faults, warned) = applied.faults.clone().split();
    let mut warnings = applied.warnings.clone();
    warnings.append(warned);
    proto::ApplyPolicyResponse {
        revision: applied.revision,
        digest: applied.in_force.to_string(),
        given_digest: applied.given.to_string(),
        faults: faults.to_lines(),
        warnings: warnings.to_lines(),
        kept: set.is_kept,
        previous_revision: applied.previous,
        changes: changes([&applied.texts[0], &applied.texts[1]]),
        breaches: Vec::new(),
        fleet_revision: None,
    }
}

/// A policy that was not put in force, because its plan does not pass these gates.
pub(super) fn stopped(
    policies: &Policies,
    update: &PolicyUpdate,
    stopped_by: &[Breach],
) -> proto::ApplyPolicyResponse {
    let in_force = policies.edition.policy().digest().to_string();
    let revision = newest(&policies.revisions);
    let given = match &update.document {
        PolicyDocument::Text(text) | PolicyDocument::Unusable(text, _) => digest(text),
        PolicyDocument::Earlier(_) => in_force.clone(),
    };
    proto::ApplyPolicyResponse {
        revision,
        previous_revision: revision,
        digest: in_force,
        given_digest: given,
        breaches: breaches(stopped_by),
        ..proto::ApplyPolicyResponse::default()
    }
}

/// Gates that a change does not pass.
pub(super) fn breaches(breaches: &[Breach]) -> Vec<proto::GateBreach> {
    let told = breaches.iter().map(|breach| proto::GateBreach {
        gate: breach.gate.to_owned(),
        text: breach.text.clone(),
    });
    told.collect()
}

/// What a policy would do.
pub(super) fn planned(planned: &Planned) -> proto::PlanPolicyResponse {
    let report_json = serde_json::to_string(&planned.report);
    proto::PlanPolicyResponse {
        breaches: breaches(&planned.breaches),
        lines: policy_plan::words(planned),
        report_json: report_json.unwrap_or_default(),
        ..proto::PlanPolicyResponse::default()
    }
}

/// The revision with a number, or the one in force, with its text.
pub(super) fn found(
    revisions: &Revisions,
    number: u64,
) -> Result<proto::GetPolicyResponse, ApplyError> {
    let found = match number {
        0 => revisions.newest().ok_or(ApplyError::NothingInForce)?,
        number => revisions.get(number)?,
    };
    Ok(proto::GetPolicyResponse {
        revision: Some(revision(found, revisions)),
        document: found.texts.policy.to_string(),
    })
}

/// All revisions that are remembered.
pub(super) fn all(revisions: &Revisions) -> proto::ListRevisionsResponse {
    let newest_first = revisions.newest_first();
    proto::ListRevisionsResponse {
        revisions: newest_first.map(|it| revision(it, revisions)).collect(),
    }
}

/// The number of the newest; 0 where there is none.
pub(super) fn newest(revisions: &Revisions) -> u64 {
    revisions.newest().map_or(0, |it| it.number)
}

/// How the sources fare.
pub(super) fn status(sources: &Sources, rolling: Option<&Rolling>) -> proto::PolicyStatus {
    let newest = sources.revisions.newest();
    proto::PolicyStatus {
        revision: newest.map(|it| revision(it, &sources.revisions)),
        policy: Some(source(&sources.statuses.policy)),
        topology: Some(source(&sources.statuses.topology)),
        rollout: rolling.map_or_else(String::new, |it| {
            let (digest, share) = (it.digest().short(), percent(it.buckets()));
            format!("policy {digest} is tried on {share} % of requests")
        }),
    }
}

/// What changes from one policy to another, a line each; nothing where one cannot be read.
pub(crate) fn changes(texts: [&str; 2]) -> Vec<String> {
    let read = |text| Reading::read(Which::Policy, Which::Policy.name(), text).ok();
    let [Some(before), Some(after)] = texts.map(read) else {
        return Vec::new();
    };
    let differences = difference::between(&before, &after).unwrap_or_default();
    differences.iter().map(ToString::to_string).collect()
}

/// The SHA-256 of a text.
pub(super) fn digest(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()
}

/// What somebody should look at in a policy today.
pub(super) fn warnings(edition: &Edition) -> Vec<String> {
    let today = Date::from_unix_ms(clock::unix_ms());
    edition.policy_warnings(today).to_lines()
}

fn revision(revision: &Arc<Revision>, all: &Revisions) -> proto::PolicyRevision {
    let parent = revision.parent.and_then(|number| all.find(number));
    let changed = |which: Which| {
        let text = |it: &Revision| match which {
            Which::Policy => Arc::clone(&it.texts.policy),
            Which::Topology => Arc::clone(&it.texts.topology),
        };
        parent.map(|parent| text(parent) != text(revision))
    };
    let rollback_to = match revision.origin {
        Origin::Rollback(to) => to,
        Origin::Sources | Origin::Policy | Origin::Topology | Origin::Rollout => 0,
    };
    proto::PolicyRevision {
        revision: revision.number,
        parent: revision.parent.unwrap_or_default(),
        origin: revision.origin.name().to_owned(),
        rollback_to,
        who: revision.who.clone(),
        why: revision.why.clone(),
        at_unix_ms: revision.at_unix_ms,
        policy_digest: digest(&revision.texts.policy),
        topology_digest: digest(&revision.texts.topology),
        policy_changed: changed(Which::Policy),
        topology_changed: changed(Which::Topology),
        in_force: newest(all) == revision.number,
    }
}

fn source(status: &DocumentStatus) -> proto::SourceStatus {
    let degraded = status.degraded.as_ref();
    proto::SourceStatus {
        source: status.source.clone(),
        state: status.state.name().to_owned(),
        faults: status.faults.clone(),
        warnings: status.warnings.clone(),
        given_by_revision: status.given.as_ref().map_or(0, |given| given.revision),
        degraded_since_unix_ms: degraded.map_or(0, |it| it.since_unix_ms),
    }
}
