//! The file of a rollout: a line of JSON, and the candidate's text behind it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use tradewind_engine::lifecycle::RolloutRecord;
use tradewind_engine::model::Digest;
use tradewind_engine::rollout::{Phase, Stage};
use tradewind_engine::snapshot::Cohort;

/// The form of the line.
const FORMAT: u32 = 1;

/// The line of JSON that the file of a rollout begins with; the candidate's text follows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    format: u32,
    base: String,
    candidate_digest: String,
    /// Of 10,000 buckets, how many each stage has, and how long it lasts.
    stages: Vec<(u16, u64)>,
    cohort: String,
    is_shadow: bool,
    stage: usize,
    /// Before this time it does not begin, ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waits_until_unix_ms: Option<u64>,
    /// Why it is paused, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<String>,
    stage_since_unix_ms: u64,
    started_unix_ms: u64,
    who: String,
    why: String,
    /// The signature of the text, where keys are pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<Arc<str>>,
}

impl Line {
    pub(super) fn of(record: &RolloutRecord, signature: Option<Arc<str>>) -> Self {
        let stages = record.stages.iter();
        let (waits_until_unix_ms, paused) = match &record.phase {
            Phase::Running => (None, None),
            Phase::Waiting { until_unix_ms } => (Some(*until_unix_ms), None),
            Phase::Paused { why } => (None, Some(why.clone())),
        };
        Self {
            format: FORMAT,
            base: record.base.to_string(),
            candidate_digest: Digest::of(record.document.as_bytes()).to_string(),
            stages: stages.map(|it| (it.buckets, it.hold_ms)).collect(),
            cohort: record.cohort.name().to_owned(),
            is_shadow: record.is_shadow,
            stage: record.stage,
            waits_until_unix_ms,
            paused,
            stage_since_unix_ms: record.stage_since_unix_ms,
            started_unix_ms: record.started_unix_ms,
            who: record.who.clone(),
            why: record.why.clone(),
            signature,
        }
    }
}

/// A rollout, and the signature of its text.
type Signed = (RolloutRecord, Option<Arc<str>>);

/// Reads a whole file, and the signature of its text; `None` where it is cut, spoilt or of another form.
pub(super) fn parse(whole: &str) -> Option<Signed> {
    let (line, document) = whole.split_once('\n')?;
    let line: Line = serde_json::from_str(line).ok()?;
    let digest = Digest::of(document.as_bytes()).to_string();
    let cohorts = [Cohort::Key, Cohort::ClientGroup];
    (line.format == FORMAT && digest == line.candidate_digest).then_some(())?;
    let stages = line.stages.into_iter();
    let stages = stages.map(|(buckets, hold_ms)| Stage { buckets, hold_ms });
    let stages: Vec<Stage> = stages.collect();
    (line.stage < stages.len()).then_some(())?;
    let signature = line.signature;
    let record = RolloutRecord {
        document: document.into(),
        base: line.base.parse().ok()?,
        stages,
        cohort: cohorts.into_iter().find(|it| it.name() == line.cohort)?,
        is_shadow: line.is_shadow,
        stage: line.stage,
        phase: match (line.waits_until_unix_ms, line.paused) {
            (_, Some(why)) => Phase::Paused { why },
            (Some(until_unix_ms), None) => Phase::Waiting { until_unix_ms },
            (None, None) => Phase::Running,
        },
        stage_since_unix_ms: line.stage_since_unix_ms,
        started_unix_ms: line.started_unix_ms,
        who: line.who,
        why: line.why,
    };
    Some((record, signature))
}
