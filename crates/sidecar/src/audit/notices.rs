//! What is recorded of each thing that happens: words of the steward, and of others, as records.

use std::sync::Arc;

use serde_json::Value;

use super::Stopped;
use super::entry::{BY_FILE, BY_PROCESS, Kind, Record};
use crate::log_filter::{self, Change, Ended, FilterSet};
use crate::state::GeoStatus;
use tradewind_engine::control::meter::Disruption;
use tradewind_engine::document::Diagnostics;
use tradewind_engine::edition::{Edition, Which};
use tradewind_engine::lifecycle::notice::{
    GivenFate, GivenNotice, Notice, RolloutFate, RolloutNotice, SourceNotice,
};
use tradewind_engine::lifecycle::{
    Applied, Document, Event, Fate, PolicyDocument, Reply, StateChange, StateChanged, Unusable,
    Wanted,
};
use tradewind_engine::model::{AdminState, Digest};

/// The digests of what is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InForce {
    policy: Option<Digest>,
    topology: Option<Digest>,
}

impl InForce {
    /// Takes over what is in force now, and gives what was before.
    pub(super) fn renew(&mut self, current: Option<&Edition>) -> Self {
        let now = current.map_or_else(Self::default, |current| Self {
            policy: Some(current.policy().digest()),
            topology: Some(current.topology().digest()),
        });
        std::mem::replace(self, now)
    }

    fn of(&self, which: Which) -> Option<Digest> {
        match which {
            Which::Policy => self.policy,
            Which::Topology => self.topology,
        }
    }
}

/// Who asks, and why.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    who: String,
    why: String,
}

impl Wish {
    fn of(who: &str, why: &str) -> Self {
        Self {
            who: who.to_owned(),
            why: why.to_owned(),
        }
    }
}

/// What the steward is asked, as far as its words do not repeat it: texts that may be refused.
#[derive(Debug, Clone, Default)]
pub enum Asked {
    /// To use what sources say.
    Read(Wanted),
    /// To use the text of this digest; `None` for one that the sidecar has.
    Given(Which, Option<Digest>, Wish),
    /// To try the policy of this digest.
    Try(Digest, Wish),
    /// Something else.
    #[default]
    Other,
}

impl Asked {
    pub(super) fn of(event: &Event) -> Self {
        match event {
            Event::Read(wanted) => Self::Read(wanted.clone()),
            Event::ApplyPolicy(update) => Self::Given(
                Which::Policy,
                match &update.document {
                    PolicyDocument::Text(text) | PolicyDocument::Unusable(text, _) => {
                        Some(Digest::of(text.as_bytes()))
                    }
                    PolicyDocument::Earlier(_) => None,
                },
                Wish::of(&update.who, &update.why),
            ),
            Event::StartRollout(request) => Self::Try(
                Digest::of(request.document.as_bytes()),
                Wish::of(&request.who, &request.why),
            ),
            Event::ApplyTopology(update) => Self::Given(
                Which::Topology,
                match &update.document {
                    Document::Text(text) | Document::Unusable(text, _) => {
                        Some(Digest::of(text.as_bytes()))
                    }
                    Document::Held(_) => None,
                },
                Wish::of(&update.who, &update.why),
            ),
            _ => Self::Other,
        }
    }

    /// The digest of what a source says.
    fn digest(&self, which: Which) -> Option<Digest> {
        let Self::Read(wanted) = self else {
            return None;
        };
        let text: &Result<Arc<str>, Unusable> = match which {
            Which::Policy => &wanted.policy,
            Which::Topology => &wanted.topology,
        };
        text.as_ref().ok().map(|text| Digest::of(text.as_bytes()))
    }
}

/// What is to be recorded of a step.
pub(super) fn records(
    asked: &Asked,
    (notices, reply): (&[Notice], Option<&Reply>),
    (before, after): (&InForce, &InForce),
) -> Vec<Record> {
    let of_notice = |notice: &Notice| match notice {
        Notice::Source(source) => of_source(source, asked, (before, after)),
        Notice::Given(given) => Some(of_given(given, reply, (before, after))),
        Notice::Rollout(rollout) => Some(of_rollout(rollout, (before, after))),
        Notice::StateSet(change) => Some(state_set(change, reply)),
        Notice::StateEnded {
            target,
            entry,
            lasted_ms,
        } => Some(
            Record::new(Kind::AdminState, "ended")
                .by(&entry.who, &entry.why)
                .what("target", target.to_string())
                .what("state", entry.state.name())
                .did("lasted_ms", *lasted_ms),
        ),
    };
    let mut records: Vec<Record> = notices.iter().filter_map(of_notice).collect();
    if notices.is_empty() {
        records.extend(refused_in_silence(asked, reply));
    }
    for which in [Which::Policy, Which::Topology] {
        let is_told = notices.iter().any(|notice| is_about(notice, which));
        if !is_told && before.of(which) != after.of(which) {
            let record = Record::new(kind(which), "resumed").by(BY_PROCESS, "");
            records.push(in_force(record, which, (before, after)));
        }
    }
    records
}

/// Whether a notice says what became of a document.
fn is_about(notice: &Notice, which: Which) -> bool {
    match notice {
        Notice::Source(source) => source.which == which,
        Notice::Given(given) => given.which == which,
        Notice::Rollout(rollout) => {
            rollout.fate == RolloutFate::Completed && which == Which::Policy
        }
        Notice::StateSet(_) | Notice::StateEnded { .. } => false,
    }
}

/// A text that a call gives and the steward refuses without a word to others than the caller.
fn refused_in_silence(asked: &Asked, reply: Option<&Reply>) -> Option<Record> {
    let (kind, digest, wish) = match asked {
        Asked::Given(which, digest, wish) => (kind(*which), *digest, wish),
        Asked::Try(digest, wish) => (Kind::Rollout, Some(*digest), wish),
        Asked::Read(_) | Asked::Other => return None,
    };
    let record = Record::new(kind, "refused")
        .by(&wish.who, &wish.why)
        .what("given", digest_value(digest));
    match reply? {
        Reply::Policy(Err(error)) | Reply::Topology(Err(error)) => {
            Some(record.what("because", error.to_string()))
        }
        Reply::Rollout(Err(error)) => Some(record.what("because", error.to_string())),
        Reply::Rollout(Ok(answer)) if answer.faults.has_errors() => {
            Some(faults(record, &answer.faults))
        }
        Reply::Policy(Ok(_)) | Reply::Topology(Ok(_)) | Reply::Rollout(Ok(_)) | Reply::State(_) => {
            None
        }
    }
}

fn kind(which: Which) -> Kind {
    match which {
        Which::Policy => Kind::Policy,
        Which::Topology => Kind::Topology,
    }
}

fn digest_value(digest: Option<Digest>) -> Value {
    digest.map_or(Value::Null, |digest| digest.to_string().into())
}

/// What was in force before, and what is now.
fn in_force(record: Record, which: Which, (before, after): (&InForce, &InForce)) -> Record {
    record
        .what("before", digest_value(before.of(which)))
        .what("after", digest_value(after.of(which)))
}

fn faults(record: Record, findings: &Diagnostics) -> Record {
    let (errors, warnings) = findings.counts();
    record
        .what("faults", errors)
        .what("warnings", warnings)
        .what("lines", findings.to_lines())
}

/// What became of a file; nothing where it was in force before and nobody doubted it.
fn of_source(
    notice: &SourceNotice,
    asked: &Asked,
    in_force_: (&InForce, &InForce),
) -> Option<Record> {
    let outcome = &notice.outcome;
    let event = match outcome.fate {
        Fate::Unchanged if notice.refused_for_ms.is_none() => return None,
        Fate::Unchanged => "good_again",
        Fate::Applied => "applied",
        Fate::LastGood => "refused",
        Fate::Missing => "refused_and_none_in_force",
        Fate::Held => "held",
        Fate::Waiting => "waiting",
    };
    let record = Record::new(kind(notice.which), event)
        .by(BY_FILE, "")
        .what("source", &*notice.source)
        .what("given", digest_value(asked.digest(notice.which)))
        .what("revision", notice.revision);
    let record = in_force(record, notice.which, in_force_);
    let record = match &outcome.held {
        Some(held) => record
            .what("because", held.because.as_str())
            .did("would_remove_ratio", held.removal.ratio()),
        None => record,
    };
    let record = record.did("refused_for_ms", notice.refused_for_ms);
    let mut findings = outcome.faults.clone();
    findings.append(outcome.warnings.clone());
    Some(faults(record, &findings))
}

/// What became of a text given by a call.
fn of_given(
    notice: &GivenNotice,
    reply: Option<&Reply>,
    in_force_: (&InForce, &InForce),
) -> Record {
    let event = match notice.fate {
        GivenFate::Applied { .. } => "applied",
        GivenFate::Held { .. } => "held",
        GivenFate::Refused { .. } => "refused",
    };
    let record = Record::new(kind(notice.which), event)
        .by(&notice.who, &notice.why)
        .what("given", notice.digest.to_string());
    let record = in_force(record, notice.which, in_force_);
    let record = match &notice.fate {
        GivenFate::Applied { revision } => record.what("revision", *revision),
        GivenFate::Held { because } => record.what("because", because.as_str()),
        GivenFate::Refused { faults } => record.what("faults", *faults),
    };
    match reply {
        Some(Reply::Topology(Ok(applied))) => of_applied(record, applied),
        Some(Reply::Policy(Ok(applied))) if applied.faults.has_errors() => {
            faults(record, &applied.faults)
        }
        _ => record,
    }
}

/// What became of a candidate.
fn of_rollout(notice: &RolloutNotice, in_force_: (&InForce, &InForce)) -> Record {
    let is_by_itself = match notice.fate {
        RolloutFate::RolledBack | RolloutFate::Ended => true,
        RolloutFate::Changed | RolloutFate::Completed => notice.why.is_empty(),
        RolloutFate::Started | RolloutFate::Aborted => false,
    };
    let who = if is_by_itself && notice.who.is_empty() {
        BY_PROCESS
    } else {
        &notice.who
    };
    let record = Record::new(Kind::Rollout, notice.fate.name())
        .by(who, &notice.why)
        .what("candidate", notice.digest.to_string())
        .what("words", notice.what.as_str());
    if notice.fate == RolloutFate::Completed {
        return in_force(record, Which::Policy, in_force_);
    }
    record
}

fn of_applied(record: Record, applied: &Applied) -> Record {
    let name = if applied.held.is_some() {
        "would_remove_ratio"
    } else {
        "removed_ratio"
    };
    let record = record.did(name, applied.removal.ratio());
    if applied.faults.is_empty() {
        return record;
    }
    faults(record, &applied.faults)
}

fn state_set(change: &StateChange, reply: Option<&Reply>) -> Record {
    let event = if change.state == AdminState::Ready {
        "taken_away"
    } else {
        "set"
    };
    let record = Record::new(Kind::AdminState, event)
        .by(&change.who, &change.why)
        .what("target", change.target.to_string())
        .what("state", change.state.name())
        .what("lasts_ms", change.lasts_ms);
    let Some(Reply::State(Ok(changed))) = reply else {
        return record;
    };
    let StateChanged {
        previous,
        effective,
        nodes_changed,
    } = changed;
    record
        .did("previous", previous.name())
        .did("effective", effective.name())
        .did("nodes_changed", *nodes_changed)
}

/// Other geo tables, or files that are refused.
pub(super) fn geo(is_applied: bool, status: &GeoStatus) -> Record {
    let event = if is_applied { "applied" } else { "refused" };
    let file = |file: &crate::state::GeoFileStatus| {
        serde_json::json!({
            "path": file.path,
            "digest": file.digest,
            "built_epoch_s": file.build_epoch_s,
            "networks": file.networks,
        })
    };
    let files: Vec<Value> = status.files.iter().map(file).collect();
    Record::new(Kind::Geo, event)
        .by(BY_FILE, "")
        .what("state", status.state)
        .what("files", files)
        .what("faults", status.faults.clone())
        .did("cells", status.cells)
        .did("classes", status.classes)
}

pub(super) fn credentials(source: &str, fault: Option<&str>) -> Record {
    let event = if fault.is_none() {
        "applied"
    } else {
        "refused"
    };
    let record = Record::new(Kind::Credentials, event).by(BY_FILE, "");
    let record = record.what("source", source);
    match fault {
        Some(fault) => record.did("fault", fault),
        None => record,
    }
}

/// The same record, of something that moved keys.
pub(super) fn moving(record: Record, moved: &Disruption) -> Record {
    record
        .did("moved_ratio", moved.moved)
        .did("moved_minimum_ratio", moved.minimum)
}

/// A policy that gates kept from coming into force.
pub(super) fn stopped(stopped: &Stopped) -> Record {
    Record::new(Kind::Policy, "stopped")
        .by(&stopped.who, &stopped.why)
        .what("given", stopped.given.as_str())
        .what("gates", stopped.gates.clone())
}

/// Other lines are written to the log for a while, or those that are configured again.
pub(super) fn log_filter_set(wish: &log_filter::Wish, set: &FilterSet) -> Record {
    let is_back = wish.filter.is_none();
    let event = if is_back { "taken_away" } else { "set" };
    Record::new(Kind::LogFilter, event)
        .by(&wish.who, &wish.why)
        .what("before", set.previous.as_str())
        .what("after", set.now.filter.as_str())
        .what("lasts_ms", (!is_back).then_some(wish.lasts_ms))
}

/// The log goes back by itself.
pub(super) fn log_filter_ended(ended: &Ended, now: &str) -> Record {
    let Change {
        since_unix_ms,
        until_unix_ms,
        who,
        why,
    } = &ended.change;
    Record::new(Kind::LogFilter, "ended")
        .by(who, why)
        .what("before", ended.filter.as_str())
        .what("after", now)
        .did("lasted_ms", until_unix_ms.saturating_sub(*since_unix_ms))
}

/// This process starts.
pub(super) fn start() -> Record {
    Record::new(Kind::Start, "started")
        .by(BY_PROCESS, "")
        .what("version", env!("CARGO_PKG_VERSION"))
        .what("commit", env!("TRADEWIND_BUILT_COMMIT"))
        .what("pid", std::process::id())
}

/// What an earlier run kept in a file cannot be used.
pub(super) fn lost(file: &str, why: &str) -> Record {
    Record::new(Kind::Start, "lost")
        .by(BY_PROCESS, "")
        .what("file", file)
        .what("because", why)
}

/// This process ends as it should.
pub(super) fn stop() -> Record {
    Record::new(Kind::Stop, "stopped")
        .by(BY_PROCESS, "")
        .what("pid", std::process::id())
}
