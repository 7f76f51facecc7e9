//! What the control loop did, as log lines: each with the numbers it rests on, and the end of a bad time as well as its
//! beginning.
//!
//! A fleet that fails as a whole must not fill the disk: lines come out of a bucket, and what finds it empty is counted by
//! kind and told in one line.

use std::collections::BTreeMap;

use tradewind_engine::control::event::{Event, Seen};
use tradewind_engine::control::meter::Disruption;
use tradewind_engine::control::spell::Spell;
use tradewind_engine::control::trials::{Blame, TrialStep};
use tradewind_engine::hash::KeyHash;
use tradewind_engine::health::breaker::{Cause, State};
use tradewind_engine::model::{NodeIndex, SiteIndex};
use tradewind_engine::number::from_u64;
use tradewind_engine::policy::{ClassNumber, SetNumber};
use tradewind_engine::score::Terms;
use tradewind_engine::signal::Readmission;
use tradewind_engine::snapshot::Snapshot;
use tradewind_engine::time::Moment;

use crate::view::events::set_name;

/// Lines that may come at once: a screen of them, so that the first nodes of an outage have names.
const BURST: f64 = 40.0;

/// Lines a second from then on: some 100 MB a day at most.
const PER_SECOND: f64 = 4.0;

/// How often it is told what was left out, in ms.
const REST_EVERY_MS: u64 = 10_000;

/// A term counts as changed from here on, in ms.
const CHANGED_MS: f32 = 0.05;

/// The log of the control loop.
#[derive(Debug)]
pub(super) struct Log {
    left: f64,
    filled_at: Moment,
    left_out: BTreeMap<&'static str, u64>,
    rest_told_at: Moment,
    isolated_since: Option<Moment>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            left: BURST,
            filled_at: Moment::default(),
            left_out: BTreeMap::new(),
            rest_told_at: Moment::default(),
            isolated_since: None,
        }
    }
}

impl Log {
    /// Writes a line about an event, if there is room for one.
    pub(super) fn tell(&mut self, now: Moment, event: &Event, snapshot: &Snapshot) {
        if let Event::Isolated(is) = event {
            // There is one of these a minute at most, and nothing explains more of what follows.
            return self.isolated(now, *is);
        }
        if self.take(now) {
            write(event, snapshot);
        } else {
            *self.left_out.entry(kind(event)).or_default() += 1;
        }
    }

    /// Writes what was left out, now and then.
    pub(super) fn tell_of_the_rest(&mut self, now: Moment) {
        if self.left_out.is_empty() || now.since(self.rest_told_at) < REST_EVERY_MS {
            return;
        }
        self.rest_told_at = now;
        let left_out = std::mem::take(&mut self.left_out);
        let kinds: Vec<String> = left_out
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        let more: u64 = left_out.values().sum();
        let kinds = kinds.join(", ");
        tracing::warn!(more, kinds, "more changes were not logged one by one");
    }

    fn take(&mut self, now: Moment) -> bool {
        let seconds = from_u64(now.since(self.filled_at)) / 1_000.0;
        self.left = (self.left + seconds * PER_SECOND).min(BURST);
        self.filled_at = now;
        let has_room = self.left >= 1.0;
        if has_room {
            self.left -= 1.0;
        }
        has_room
    }

    fn isolated(&mut self, now: Moment, is: bool) {
        if is {
            self.isolated_since = Some(now);
            tracing::error!(
                "most nodes of several sites failed at once and none answers: this sidecar may be cut off, verdicts are frozen"
            );
        } else {
            let since = self.isolated_since.take();
            let lasted_ms = since.map(|since| now.since(since));
            tracing::warn!(lasted_ms, "verdicts are believed again");
        }
    }
}

/// What an event is about, in a word.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::Breaker { .. } => "breakers",
        Event::EjectionDenied { .. } => "ejections_denied",
        Event::Probe { .. } => "probes",
        Event::Overloaded { .. } => "overloads",
        Event::Shedding { .. } => "shedding",
        Event::Condition { .. } => "conditions",
        Event::Readmission { .. } => "readmissions",
        Event::SiteTerms { .. } => "site_terms",
        Event::SiteTrial { .. } => "trials",
        Event::KeysMoved(_) => "moves",
        Event::Object { .. } => "objects",
        Event::Isolated(_) => "isolation",
        Event::Disagreement { .. } => "reporters",
    }
}

fn write(event: &Event, snapshot: &Snapshot) {
    let name = |node: NodeIndex| &*snapshot.topology().node(node).id;
    match *event {
        Event::Breaker {
            node,
            to,
            cause,
            flapping,
            at,
            ref seen,
            ref spell,
        } => {
            let spell = spell.as_ref();
            breaker((name(node), to, cause, flapping), at, seen, spell);
        }
        Event::EjectionDenied { node } => tracing::warn!(
            node = name(node),
            "a failing node stays in use, its pool has lost too much weight already"
        ),
        Event::Probe {
            node,
            healthy,
            lasted_ms,
        } => probe(name(node), healthy, lasted_ms),
        Event::Overloaded {
            node,
            is,
            utilisation,
            lasted_ms,
        } => overloaded(name(node), is, utilisation, lasted_ms),
        Event::Shedding { node, .. } => shedding(name(node), event),
        Event::Condition {
            node,
            level,
            from,
            ref seen,
            lasted_ms,
        } => condition(name(node), (from, level), (seen, lasted_ms), snapshot),
        Event::Readmission {
            set,
            to,
            from,
            well_ratio,
            lasted_ms,
        } => readmission((set, from, to), well_ratio, lasted_ms, snapshot),
        Event::SiteTerms {
            site,
            class,
            ref from,
            ref to,
        } => site_terms((site, class), from, to, snapshot),
        Event::SiteTrial { site, blame, to } => {
            site_trial(&snapshot.topology().site(site).id, blame, to);
        }
        Event::KeysMoved(ref disruption) => tracing::info!(
            ratio = disruption.moved,
            minimum_ratio = disruption.minimum,
            causes = causes(disruption),
            "a publication moved keys"
        ),
        Event::Object {
            key,
            nodes,
            failures,
            status,
            is_late,
            lasted_ms,
        } => object((key, is_late), (nodes, failures, status), lasted_ms),
        Event::Isolated(_) | Event::Disagreement { .. } => {}
    }
}

fn site_trial(site: &str, blame: Blame, to: TrialStep) {
    tracing::warn!(
        site,
        blame = blame.name(),
        to = to.name(),
        "a site is tried, or not any more"
    );
}

fn object(
    (key, is_late): (KeyHash, bool),
    (nodes, failures, status): (usize, u32, u16),
    lasted_ms: Option<u64>,
) {
    let key = format_args!("{:016x}", key.0);
    if let Some(lasted_ms) = lasted_ms {
        tracing::info!(
            %key,
            failures,
            lasted_ms,
            "an object fails no more, or is not asked for"
        );
    } else {
        tracing::warn!(
            %key,
            nodes,
            failures,
            status,
            is_late,
            "an object fails wherever it is asked for, and no node is blamed for it"
        );
    }
}

fn probe(node: &str, is_healthy: bool, lasted_ms: Option<u64>) {
    if is_healthy {
        tracing::info!(
            node,
            unhealthy_for_ms = lasted_ms,
            "probes find a node healthy again"
        );
    } else {
        tracing::warn!(
            node,
            healthy_for_ms = lasted_ms,
            "probes find a node unhealthy"
        );
    }
}

fn overloaded(node: &str, is: bool, utilisation: Option<f64>, lasted_ms: u64) {
    if is {
        tracing::warn!(
            node,
            utilisation,
            for_ms = lasted_ms,
            "a node's load stays too high with half of its keys spilling, it is left out"
        );
    } else {
        tracing::info!(
            node,
            utilisation,
            lasted_ms,
            "a node's load is not too high any more"
        );
    }
}

fn shedding(node: &str, event: &Event) {
    let Event::Shedding {
        is,
        ratio,
        utilisation,
        lasted_ms,
        ..
    } = *event
    else {
        return;
    };
    if is {
        tracing::warn!(
            node,
            ratio,
            utilisation,
            "a node is asked for more than it can do, the least important requests are shed"
        );
    } else {
        tracing::info!(
            node,
            utilisation,
            lasted_ms,
            "a node can do all that it is asked for, nothing is shed any more"
        );
    }
}

fn readmission(
    (set, from, to): (SetNumber, Readmission, Readmission),
    well_ratio: f64,
    lasted_ms: u64,
    snapshot: &Snapshot,
) {
    let of_set = set_name(set, snapshot);
    let pool = of_set.map_or("", |name| name.pool);
    let rule = of_set.and_then(|name| name.rule);
    let from = from.name();
    if to == Readmission::None {
        tracing::info!(
            pool,
            rule,
            from,
            well_ratio,
            lasted_ms,
            "enough of a pool is well again"
        );
    } else {
        tracing::warn!(
            pool,
            rule,
            from,
            to = to.name(),
            well_ratio,
            lasted_ms,
            "too little of a pool is well"
        );
    }
}

fn site_terms(
    (site, class): (SiteIndex, ClassNumber),
    from: &Terms,
    to: &Terms,
    snapshot: &Snapshot,
) {
    tracing::info!(
        site = &*snapshot.topology().site(site).id,
        class = snapshot.numbers().class_name(class),
        changed = terms(from, to),
        from_ms = from.standing_ms(),
        to_ms = to.standing_ms(),
        "a site's terms changed"
    );
}

fn breaker(
    (node, to, cause, flapping): (&str, State, Cause, bool),
    at: Moment,
    seen: &Seen,
    spell: Option<&Spell>,
) {
    let out_for_ms = spell.map(|spell| spell.lasted_ms(at));
    let first_cause = spell.map(|spell| spell.first_cause.name());
    let cause = cause.name();
    match to {
        State::Open { until } => tracing::warn!(
            node,
            cause,
            gets_nothing_for_ms = until.since(at),
            good_answers = seen.good,
            bad_answers = seen.bad,
            p50_ms = seen.median_ms,
            usual_p50_ms = seen.usual_median_ms,
            p99_ms = seen.p99_ms,
            usual_p99_ms = seen.usual_p99_ms,
            out_for_ms,
            first_cause,
            reopenings = spell.map(|spell| spell.reopenings + 1),
            flapping,
            "a breaker opened"
        ),
        State::HalfOpen { .. } => tracing::info!(
            node,
            cause,
            out_for_ms,
            first_cause,
            flapping,
            "a breaker is half open, a slice of the node's keys tries it"
        ),
        State::Closed => tracing::info!(
            node,
            cause,
            out_for_ms,
            first_cause,
            reopenings = spell.map(|spell| spell.reopenings),
            "a breaker closed, the node begins with an eighth of its weight"
        ),
    }
}

fn condition(
    node: &str,
    (from, level): (u8, u8),
    (seen, lasted_ms): (&Seen, u64),
    snapshot: &Snapshot,
) {
    let weights = &snapshot.policy().operation().weights;
    let weight_ratio = tradewind_engine::control::condition::factor(level, weights);
    let (p50_ms, usual_p50_ms) = (seen.median_ms, seen.usual_median_ms);
    let (good_answers, bad_answers) = (seen.good, seen.bad);
    if level > from {
        tracing::warn!(
            node,
            level,
            from,
            weight_ratio,
            p50_ms,
            usual_p50_ms,
            good_answers,
            bad_answers,
            "a node's weight is cut"
        );
    } else if level > 0 {
        tracing::info!(
            node,
            level,
            from,
            weight_ratio,
            p50_ms,
            usual_p50_ms,
            lasted_ms,
            "a node's weight is raised"
        );
    } else {
        tracing::info!(
            node,
            from,
            p50_ms,
            usual_p50_ms,
            lasted_ms,
            "a node has its whole weight again"
        );
    }
}

/// The terms that changed, as in `miss 12.0 -> 40.3, error 0.2 -> 9.1`.
fn terms(from: &Terms, to: &Terms) -> String {
    let pairs = from.named().into_iter().zip(to.named());
    let changed = pairs.filter(|((_, from), (_, to))| (to - from).abs() >= CHANGED_MS);
    let changed = changed.map(|((name, from), (_, to))| format!("{name} {from:.1} -> {to:.1}"));
    changed.collect::<Vec<_>>().join(", ")
}

/// The causes that moved keys, as in `admission 0.111, site_terms 0.020`.
fn causes(disruption: &Disruption) -> String {
    let causes = disruption.causes().filter(|(_, ratio)| *ratio > 0.0);
    let causes = causes.map(|(cause, ratio)| format!("{} {ratio:.3}", cause.name()));
    let excess = (disruption.excess > 0.0).then(|| format!("none {:.3}", disruption.excess));
    causes.chain(excess).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_run_out_in_an_outage_and_what_is_left_out_is_counted() {
        let mut log = Log::default();
        let told = (0..1_000).filter(|_| log.take(Moment(1_000))).count();
        assert_eq!(told, 40, "a screen at once");
        let told = (0..60_u64).filter(|tick| log.take(Moment(1_000 + tick * 100)));
        assert_eq!(told.count(), 23, "four a second from then on");
    }

    #[test]
    fn only_terms_that_changed_are_named() {
        let from = Terms {
            miss: 12.0,
            error: 0.2,
            ..Terms::default()
        };
        let to = Terms {
            miss: 40.34,
            ..from
        };
        assert_eq!(terms(&from, &to), "miss 12.0 -> 40.3");
        let mut moved = Disruption::default();
        moved.by_cause[3] = 0.111;
        assert_eq!(causes(&moved), "admission 0.111");
    }
}
