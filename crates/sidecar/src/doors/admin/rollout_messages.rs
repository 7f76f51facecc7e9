//! Rollouts on the wire: what operators ask, read with every fault at once, and what they are told.

use super::messages::{self, Faults};
use crate::state::{Rollouts, State};
use crate::wire::proto;
use tradewind_engine::lifecycle::{Rolling, RolloutOrder, RolloutRequest};
use tradewind_engine::model::printable;
use tradewind_engine::rollout::{Order, Phase, Stage, buckets, percent};
use tradewind_engine::snapshot::Cohort;

/// Most stages, and the longest that one may last, in ms: a week. As in the `rollout` section of a policy.
const MAX_STAGES: usize = 16;
const MAX_HOLD_MS: u64 = 168 * 3_600_000;

/// Reads a candidate to try.
pub(super) fn request(
    request: proto::StartRolloutRequest,
    jitter: f64,
) -> Result<RolloutRequest, Faults> {
    let mut faults = Faults::new();
    messages::check_words(&mut faults, &request.who, &request.why);
    messages::check_size(&mut faults, &request.document);
    if request.document.is_empty() {
        faults.push("document is empty".to_owned());
    }
    let cohort = match request.cohort.as_str() {
        "" | "auto" => None,
        "key" => Some(Cohort::Key),
        "client_group" => Some(Cohort::ClientGroup),
        other => {
            let other = printable(other, 32);
            faults.push(format!(
                "cohort is `{other}`, must be auto, key or client_group"
            ));
            None
        }
    };
    let stages = stages(&mut faults, &request.stages);
    let read = RolloutRequest {
        document: request.document.into(),
        unusable: None,
        if_revision: request.if_revision,
        cohort,
        stages,
        is_shadow: request.shadow,
        jitter,
        who: request.who,
        why: request.why,
    };
    faults.is_empty().then_some(read).ok_or(faults)
}

fn stages(faults: &mut Faults, asked: &[proto::RolloutStage]) -> Vec<Stage> {
    if asked.len() > MAX_STAGES {
        let count = asked.len();
        faults.push(format!("{count} stages, at most {MAX_STAGES} are allowed"));
        return Vec::new();
    }
    let mut before = 0.0;
    let mut stages = Vec::new();
    for (at, stage) in asked.iter().enumerate() {
        let number = at + 1;
        if !(0.01..=100.0).contains(&stage.percent) {
            let percent = stage.percent;
            faults.push(format!(
                "stage {number} has {percent} %, allowed are 0.01 to 100"
            ));
        } else if stage.percent <= before {
            faults.push(format!("stage {number} has no more than the one before"));
        }
        before = stage.percent;
        let hold_ms = stage.hold.map_or(Some(0), messages::milliseconds);
        let hold_ms = hold_ms.filter(|ms| *ms <= MAX_HOLD_MS);
        if hold_ms.is_none() {
            faults.push(format!("stage {number} must be held for 0 to 168 hours"));
        }
        stages.push(Stage {
            buckets: buckets(stage.percent),
            hold_ms: hold_ms.unwrap_or_default(),
        });
    }
    stages
}

/// Reads what to do with the rollout.
pub(super) fn order(request: proto::OrderRolloutRequest) -> Result<RolloutOrder, Faults> {
    use proto::RolloutOrder as Asked;
    let mut faults = Faults::new();
    messages::check_words(&mut faults, &request.who, &request.why);
    let stage = usize::try_from(request.stage).unwrap_or(usize::MAX);
    let order = match request.order() {
        Asked::Pause => Some(Order::Pause),
        Asked::Resume => Some(Order::Resume),
        Asked::Promote => Some(Order::Promote),
        Asked::Reverse => Some(Order::Reverse(stage)),
        Asked::Abort => Some(Order::Abort),
        Asked::Unspecified => {
            let order = request.order;
            faults.push(format!(
                "order is {order}, must be pause, resume, promote, reverse or abort"
            ));
            None
        }
    };
    match order {
        Some(order) if faults.is_empty() => Ok(RolloutOrder {
            order,
            who: request.who,
            why: request.why,
        }),
        _ => Err(faults),
    }
}

/// How things are.
pub(crate) fn status(rollouts: &Rollouts, state: &State) -> proto::RolloutStatus {
    let rolling = rollouts.rolling.as_deref();
    proto::RolloutStatus {
        revision: rollouts.revision,
        rollout: rolling.map(|rolling| proto::Rollout {
            shadow: shadow(rolling, state),
            expectations: expectations(rolling, state),
            ..rollout(rolling)
        }),
        last: rollouts.last.as_ref().map(|last| proto::EndedRollout {
            digest: last.digest.to_string(),
            fate: last.fate.name().to_owned(),
            why: last.why.clone(),
            at_unix_ms: last.at_unix_ms,
        }),
    }
}

fn rollout(rolling: &Rolling) -> proto::Rollout {
    let progress = &rolling.progress;
    let settings = progress.settings();
    let (phase, paused_because) = match progress.phase() {
        _ if rolling.is_shadow => ("shadow", ""),
        Phase::Waiting { .. } => ("waiting", ""),
        Phase::Running => ("running", ""),
        Phase::Paused { why } => ("paused", why.as_str()),
    };
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let hold = settings.stages.get(progress.stage());
    let judged = settings.guards.iter().zip(progress.judgements());
    let guards = judged.map(|(guard, judgement)| proto::RolloutGuard {
        metric: guard.metric.name().to_owned(),
        verdict: judgement.verdict.name().to_owned(),
        candidate: judgement.candidate,
        control: judgement.control,
        samples: judgement.samples,
        control_samples: judgement.control_samples,
        words: guard.in_words(judgement),
        limit: guard.limit,
        worse_by: guard.worse_by,
        worst: guard.bound(judgement.control),
        window_ms: guard.window_ms,
        min_samples: guard.min_samples,
    });
    let stages = settings.stages.iter();
    proto::Rollout {
        digest: rolling.digest().to_string(),
        base_digest: rolling.base.to_string(),
        phase: phase.to_owned(),
        paused_because: paused_because.to_owned(),
        stage: number(progress.stage() + 1),
        stages: number(settings.stages.len()),
        percent: percent(rolling.buckets()),
        cohort: rolling.cohort.name().to_owned(),
        started_unix_ms: rolling.started_unix_ms,
        stage_since_unix_ms: progress.stage_since_unix_ms(),
        hold_ms: hold.map_or(0, |stage| stage.hold_ms),
        guards: guards.collect(),
        changes: rolling.changes.clone(),
        who: rolling.who.clone(),
        why: rolling.why.clone(),
        shadow: None,
        expectations: Vec::new(),
        stage_percents: stages.map(|stage| percent(stage.buckets)).collect(),
    }
}

fn expectations(rolling: &Rolling, state: &State) -> Vec<String> {
    let checked = state.shadow.expectations(rolling.candidate.policy());
    let checked = checked.into_iter();
    let lines = checked.map(|it| {
        let upshot = it.upshot.name().replace('_', " ");
        let (rule, claim, came_out) = (it.rule, it.claim, it.came_out);
        format!("{upshot}: rule {rule} expects {claim}; it comes out at {came_out}")
    });
    lines.collect()
}

/// What was compared, if it was of this candidate.
fn shadow(rolling: &Rolling, state: &State) -> Option<proto::ShadowReport> {
    let seen = state.shadow.seen();
    (seen.digest == rolling.digest().short()).then_some(())?;
    let by_rule = seen.disagreements.iter();
    let all = by_rule.flat_map(|(rule, kinds)| {
        kinds
            .iter()
            .map(move |(kind, requests)| proto::ShadowDisagreement {
                rule: rule.clone(),
                kind: kind.name().to_owned(),
                requests: *requests,
            })
    });
    Some(proto::ShadowReport {
        requests: seen.requests,
        disagreements: all.collect(),
        took_ms: seen.took_ms,
    })
}
