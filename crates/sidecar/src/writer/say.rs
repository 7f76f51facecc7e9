//! What the steward says, as log lines and counters.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::state::ReloadCounters;
use tradewind_engine::edition::Which;
use tradewind_engine::lifecycle::notice::{
    GivenFate, GivenNotice, Notice, RolloutFate, RolloutNotice, SourceNotice,
};
use tradewind_engine::lifecycle::{Entry, Fate, StateChange, Target};

/// Writes a notice to the log, and counts it.
pub(super) fn say(notice: &Notice, reloads: &ReloadCounters) {
    match notice {
        Notice::Source(source) => {
            count_source(source, reloads);
            of_source(source);
        }
        Notice::Given(given) => {
            count_given(given, reloads);
            of_given(given);
        }
        Notice::Rollout(rollout) => {
            reloads.rollouts.count(rollout.fate);
            of_rollout(rollout);
        }
        Notice::StateSet(change) => state_set(change),
        Notice::StateEnded {
            target,
            entry,
            lasted_ms,
        } => state_ended(target, entry, *lasted_ms),
    }
}

/// What became of a candidate. What takes one back by itself is to wake somebody.
fn of_rollout(notice: &RolloutNotice) {
    let (digest, fate, what) = (notice.digest.short(), notice.fate.name(), &notice.what);
    let (who, why) = (&notice.who, &notice.why);
    if notice.fate == RolloutFate::RolledBack {
        tracing::error!(digest, fate, what, who, why, "a rollout was taken back");
    } else {
        tracing::info!(digest, fate, what, who, why, "a rollout");
    }
}

fn count_source(notice: &SourceNotice, reloads: &ReloadCounters) {
    match notice.outcome.fate {
        Fate::Unchanged | Fate::Waiting => {}
        Fate::Applied => count(applied(reloads, notice.which)),
        Fate::LastGood | Fate::Held | Fate::Missing => count(refused(reloads, notice.which)),
    }
}

fn count_given(notice: &GivenNotice, reloads: &ReloadCounters) {
    match notice.fate {
        GivenFate::Applied { .. } => count(applied(reloads, notice.which)),
        GivenFate::Refused { .. } => count(refused(reloads, notice.which)),
        GivenFate::Held { .. } => {}
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn applied(reloads: &ReloadCounters, which: Which) -> &AtomicU64 {
    match which {
        Which::Policy => &reloads.policy_applied,
        Which::Topology => &reloads.topology_applied,
    }
}

fn refused(reloads: &ReloadCounters, which: Which) -> &AtomicU64 {
    match which {
        Which::Policy => &reloads.policy_refused,
        Which::Topology => &reloads.topology_refused,
    }
}

/// What became of a source: with the end of a refusal as well as its beginning.
fn of_source(notice: &SourceNotice) {
    let kind = notice.which.name();
    let (file, digest) = (&*notice.source, notice.serving_digest.as_str());
    let (revision, refused_for_ms) = (notice.revision, notice.refused_for_ms);
    let outcome = &notice.outcome;
    match outcome.fate {
        // It was not refused, but what is to be said of it has changed with the other document.
        Fate::Unchanged if refused_for_ms.is_none() => {}
        Fate::Unchanged => {
            tracing::info!(
                kind,
                file,
                digest,
                revision,
                refused_for_ms,
                first_fault = notice.first_fault,
                "a file is again what is served"
            );
            return;
        }
        Fate::Applied => tracing::info!(
            kind,
            file,
            digest,
            revision,
            refused_for_ms,
            "a new text took effect"
        ),
        Fate::Waiting => tracing::info!(kind, file, "a good text waits for the other document"),
        Fate::Held => {
            let because = outcome.held.as_ref().map(|held| held.because.as_str());
            let held = outcome.held.as_ref().map(|held| held.digest.short());
            tracing::warn!(
                kind,
                file,
                because,
                held,
                digest,
                revision,
                "a text is held until it is confirmed"
            );
        }
        Fate::LastGood | Fate::Missing => tracing::error!(
            kind,
            file,
            serving = if outcome.fate == Fate::LastGood {
                "the last good one"
            } else {
                "nothing"
            },
            digest,
            revision,
            faults = outcome.faults.counts().0,
            warnings = outcome.warnings.counts().1,
            refused_for_ms,
            "a text is refused"
        ),
    }
    let (faults, warnings) = (outcome.faults.to_lines(), outcome.warnings.to_lines());
    for line in faults.iter().chain(&warnings) {
        tracing::warn!(kind, "{line}");
    }
}

fn of_given(notice: &GivenNotice) {
    let digest = notice.digest.short();
    let (who, why) = (&notice.who, &notice.why);
    match (&notice.fate, notice.which) {
        (GivenFate::Applied { revision }, Which::Policy) => tracing::info!(
            kind = "policy",
            digest,
            revision,
            "a policy given by call takes effect"
        ),
        (GivenFate::Applied { revision }, Which::Topology) => tracing::info!(
            digest,
            revision,
            who,
            why,
            "a topology given by call takes effect"
        ),
        // No policy waits to be confirmed.
        (GivenFate::Held { because }, _) => tracing::warn!(
            digest,
            because,
            who,
            why,
            "a topology given by call is held until it is confirmed"
        ),
        (GivenFate::Refused { faults }, Which::Policy) => tracing::warn!(
            kind = "policy",
            digest,
            faults,
            who,
            why,
            "a policy given by call is refused"
        ),
        (GivenFate::Refused { faults }, Which::Topology) => tracing::warn!(
            digest,
            faults,
            who,
            why,
            "a topology given by call is refused"
        ),
    }
}

fn state_set(change: &StateChange) {
    let StateChange {
        target,
        state,
        lasts_ms,
        who,
        why,
    } = change;
    tracing::info!(%target, state = state.name(), lasts_ms, who, why, "an operator sets a state");
}

fn state_ended(target: &Target, entry: &Entry, lasted_ms: u64) {
    let (state, who, why) = (entry.state.name(), &entry.who, &entry.why);
    tracing::info!(%target, state, lasted_ms, who, why, "a state that an operator set ends");
}
