//! Metrics of candidates: how far a rollout is, what its guards say, and what a candidate would answer otherwise.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::state::State;
use crate::state::shadow::Compared;
use tradewind_engine::lifecycle::Rolling;
use tradewind_engine::number::from_u64;
use tradewind_engine::rollout::{Phase, Verdict, percent};

/// Writes all of them.
pub(super) fn encode(state: &State, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let rollouts = state.rollouts.borrow().clone();
    let rolling = rollouts.rolling.as_deref();
    encode_info(rolling, encoder)?;
    encode_guards(rolling, encoder)?;
    let help = "Rollouts, by what became of them";
    let mut family = encoder.encode_descriptor("rollouts", help, None, MetricType::Counter)?;
    for (fate, counter) in state.reloads.rollouts.each() {
        let count = counter.load(Ordering::Relaxed);
        ConstCounter::new(count).encode(family.encode_family(&[("fate", fate)])?)?;
    }
    encode_shadow(state, encoder)
}

fn encode_info(rolling: Option<&Rolling>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "The policy that is tried, with its stage and phase";
    let mut family = encoder.encode_descriptor("rollout_info", help, None, MetricType::Gauge)?;
    if let Some(rolling) = rolling {
        let phase = match rolling.progress.phase() {
            _ if rolling.is_shadow => "shadow",
            Phase::Waiting { .. } => "waiting",
            Phase::Running => "running",
            Phase::Paused { .. } => "paused",
        };
        let (digest, stage) = (rolling.digest().short(), rolling.progress.stage() + 1);
        let labels = [
            ("digest", digest),
            ("phase", phase.to_owned()),
            ("stage", stage.to_string()),
        ];
        ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
    }
    let help = "Share of requests that the policy decides that is tried";
    let name = "rollout_share_ratio";
    let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    let share = rolling.map_or(0.0, |it| percent(it.buckets()) / 100.0);
    ConstGauge::new(share).encode(family)?;
    let help = "1 while a rollout is paused and waits for somebody";
    let family = encoder.encode_descriptor("rollout_paused", help, None, MetricType::Gauge)?;
    let is_paused = |it: &Rolling| matches!(it.progress.phase(), Phase::Paused { .. });
    ConstGauge::new(i64::from(rolling.is_some_and(is_paused))).encode(family)
}

fn encode_guards(rolling: Option<&Rolling>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "What a guard of the rollout says: 0 pass, 1 inconclusive, 2 fail";
    let name = "rollout_guard_state";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    let Some(progress) = rolling.map(|it| &it.progress) else {
        return Ok(());
    };
    let judged = progress.settings().guards.iter().zip(progress.judgements());
    for (number, (guard, judgement)) in judged.enumerate() {
        let state = match judgement.verdict {
            Verdict::Pass => 0_i64,
            Verdict::Inconclusive => 1,
            Verdict::Fail => 2,
        };
        // A metric may have several guards.
        let number = (number + 1).to_string();
        let labels = [("guard", number.as_str()), ("metric", guard.metric.name())];
        ConstGauge::new(state).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Of the candidate compared last: its counts begin anew with the next one, as those of a process that starts again do.
fn encode_shadow(state: &State, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let seen = state.shadow.seen();
    let help = "Requests decided by the policy in force and by the one that is tried";
    let family = encoder.encode_descriptor("shadow_compared", help, None, MetricType::Counter)?;
    ConstCounter::new(seen.requests).encode(family)?;
    let help =
        "Of those, requests that were answered otherwise, by rule and by the greatest difference";
    let name = "shadow_disagreements";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (rule, kinds) in &seen.disagreements {
        for (kind, count) in kinds {
            let labels = [("kind", kind.name()), ("rule", rule.as_str())];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "Time that deciding requests once more took, in all";
    let unit = Some(&Unit::Seconds);
    let family = encoder.encode_descriptor("shadow_took", help, unit, MetricType::Counter)?;
    ConstCounter::new(seen.took_ms / 1_000.0).encode(family)?;
    encode_disagreement_ratio(&seen, encoder)?;
    let help =
        "Requests that were to be decided once more and were not, because there were too many";
    let family = encoder.encode_descriptor("shadow_skipped", help, None, MetricType::Counter)?;
    ConstCounter::new(state.shadow.skipped()).encode(family)
}

/// The share by itself as well: the counts begin anew with each candidate, which a rate over both would mix.
fn encode_disagreement_ratio(seen: &Compared, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help =
        "Share of compared requests that the policy that is tried, or was last, answers otherwise";
    let name = "shadow_disagreement_ratio";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    if seen.requests == 0 {
        return Ok(());
    }
    let kinds = seen.disagreements.values().flat_map(|kinds| kinds.values());
    let ratio = from_u64(kinds.sum()) / from_u64(seen.requests);
    let labels = [("policy", seen.digest.as_str())];
    ConstGauge::new(ratio).encode(family.encode_family(&labels)?)
}
