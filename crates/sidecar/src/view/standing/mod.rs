//! How a node or a site is, in a mark, two or three words and a sentence: since when, why, and what brings it back.
//!
//! What speaks most against it is said; the worst first: operators' word, breaker, probes, load, weight, spill.

use std::iter::Sum;

use serde::Serialize;

use super::journal::{Mark, blame_words, cause_words, state_words};
use super::{NodeView, SiteView, words};
use tradewind_engine::health::breaker::Cause;
use tradewind_engine::lifecycle::Entry;
use tradewind_engine::model::AdminState;
use tradewind_engine::signal::Admission;

/// A site that nothing has been sent to for so long gets no requests, in ms.
pub const UNASKED_MS: u64 = 60_000;

/// Twice its usual median is slow.
pub const SLOW_RATIO: f32 = 2.0;

/// How something is.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Standing {
    /// Its mark.
    pub mark: Mark,
    /// The same in two or three words: `in use`, `breaker open`, `weight cut to 25 %`.
    pub words: String,
    /// Why, as a sentence; absent where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Since when, ms ago; absent where all is well or it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// What brings it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back: Option<String>,
    /// What of a site is said, for those who say it in other words.
    #[serde(skip)]
    pub site: Option<SiteTrouble>,
    /// Whether a node is back for all of its keys and its weight still grows: a tried one that is in use.
    #[serde(skip)]
    pub grows: bool,
}

/// What keeps requests from a site as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteTrouble {
    /// None of its nodes can be used.
    Out,
    /// Clients were led elsewhere, and it is tried.
    Left,
    /// Part of its clients use the next site, for its load.
    Sheds,
    /// Nothing is sent there, though it has nodes in use.
    Unasked,
}

impl Standing {
    fn new(mark: Mark, words: impl Into<String>) -> Self {
        Self {
            mark,
            words: words.into(),
            ..Self::default()
        }
    }

    fn because(self, why: impl Into<String>) -> Self {
        Self {
            why: Some(why.into()),
            ..self
        }
    }

    fn that_grows(self) -> Self {
        Self {
            grows: true,
            ..self
        }
    }

    fn of_trouble(self, trouble: SiteTrouble) -> Self {
        Self {
            site: Some(trouble),
            ..self
        }
    }

    fn since(self, since_ms: impl Into<Option<u64>>) -> Self {
        Self {
            since_ms: since_ms.into(),
            ..self
        }
    }

    fn until(self, back: impl Into<String>) -> Self {
        Self {
            back: Some(back.into()),
            ..self
        }
    }
}

/// How a node is. `set` is what an operator set for it or its site; `view` is `None` while nothing is known of it.
pub fn of_node(
    state: AdminState,
    (set, now_unix_ms): (Option<&Entry>, u64),
    view: Option<&NodeView>,
) -> Standing {
    if state != AdminState::Ready {
        return set_by_operators(state, set, now_unix_ms);
    }
    let Some(view) = view else {
        return Standing::new(Mark::Unknown, "nothing known yet");
    };
    let out = by_admission(view);
    out.or_else(|| by_weight(view)).unwrap_or_else(|| {
        if view.shed_ratio > 0.0 {
            let share = words::share(view.shed_ratio);
            return Standing::new(Mark::Bad, format!("turns away {share}"))
                .because(format!(
                    "{} Nobody has room for {share} of the requests for it.",
                    busy(view.utilisation.map(f64::from))
                ))
                .until("when it is asked for what it can do, or others have room");
        }
        if view.spill_ratio > 0.0 {
            let share = words::share(view.spill_ratio);
            return Standing::new(Mark::Warn, format!("sheds {share}"))
                .because(format!(
                    "{} {share} of its keys go to the next in their order.",
                    busy(view.utilisation.map(f64::from))
                ))
                .until("when its load is below its target, a 64th a second");
        }
        Standing::new(Mark::Well, "in use")
    })
}

fn set_by_operators(state: AdminState, set: Option<&Entry>, now_unix_ms: u64) -> Standing {
    let standing = Standing::new(Mark::Drained, state_words(state));
    let Some(set) = set else {
        return standing
            .because("The topology says so.")
            .until("when the topology says so");
    };
    let by = match set.who.as_str() {
        "" => "An operator set it.".to_owned(),
        who => format!("By {who}."),
    };
    let why = match set.why.as_str() {
        "" => by,
        why => format!("{}. {by}", why.trim_end_matches('.')),
    };
    let back = set.until_unix_ms.map_or_else(
        || "when an operator takes it back".to_owned(),
        |until| {
            format!(
                "by itself in {}",
                words::lasting(until.saturating_sub(now_unix_ms))
            )
        },
    );
    standing
        .because(why)
        .since(now_unix_ms.saturating_sub(set.since_unix_ms))
        .until(back)
}

/// Why a node is not used for all of its keys, if it is not.
fn by_admission(view: &NodeView) -> Option<Standing> {
    let breaker = &view.breaker;
    if view.ejection_denied {
        let standing = Standing::new(Mark::Warn, "fails, kept in use");
        let why = "It fails, but its pool has lost too much already.";
        return Some(
            standing
                .because(why)
                .since(view.since_ms)
                .until("when it answers well"),
        );
    }
    let standing = match view.admission {
        Admission::BreakerOpen => {
            let back = breaker.open_for_ms.map_or_else(
                || "when its time is up".to_owned(),
                |ms| {
                    format!(
                        "tried again in {} with a slice of its keys",
                        words::lasting(ms)
                    )
                },
            );
            Standing::new(Mark::Bad, "breaker open")
                .because(opened_for(view))
                .since(breaker.since_ms)
                .until(back)
        }
        Admission::Probing { .. } => {
            let slice = breaker.tried_with_ratio.unwrap_or_default();
            Standing::new(Mark::Tried, "being tried")
                .because(format!(
                    "{} It is tried with {} of its keys.",
                    opened_for(view),
                    words::share(slice)
                ))
                .since(breaker.since_ms)
                .until("when enough answers are good")
        }
        Admission::Unhealthy => Standing::new(Mark::Bad, "fails probes")
            .because("Probes find it unhealthy.")
            .since(view.since_ms)
            .until("when probes find it healthy"),
        Admission::Unknown => Standing::new(Mark::Unknown, "probes are old")
            .because("Probes found it unhealthy, and their word is old.")
            .since(view.since_ms)
            .until("when it is probed, or answers"),
        Admission::Overloaded => Standing::new(Mark::Bad, "overloaded")
            .because(format!(
                "Its load stays too high with half of its keys elsewhere. {}",
                busy(view.utilisation.map(f64::from))
            ))
            .since(view.since_ms)
            .until("when its load is below its target"),
        Admission::Admitted => return None,
    };
    Some(standing)
}

fn busy(utilisation: Option<f64>) -> String {
    utilisation.map_or_else(
        || "What it says of its load is not known.".to_owned(),
        |ratio| format!("It says it is {} busy.", words::share(ratio)),
    )
}

/// Why a breaker opened first, and how often again.
fn opened_for(view: &NodeView) -> String {
    let breaker = &view.breaker;
    let first = breaker.first_cause.unwrap_or(breaker.cause);
    let cause = Cause::ALL.into_iter().find(|cause| cause.name() == first);
    let first = cause_words(cause.unwrap_or_default());
    match breaker.reopenings.unwrap_or_default() {
        0 => first.to_owned(),
        1 => format!("{first} It failed again when it was tried."),
        again => format!("{first} It failed again each of {again} times it was tried."),
    }
}

/// Why a node races with less than its whole weight, if it does.
fn by_weight(view: &NodeView) -> Option<Standing> {
    let times = view.service_p50_ms.zip(view.usual_p50_ms);
    let times = times.map(|(now, usual)| {
        let (now, usual) = (words::ms(f64::from(now)), words::ms(f64::from(usual)));
        format!("Hits take {now}, {usual} is usual.")
    });
    if view.condition_ratio < 1.0 {
        let weight = words::share(view.condition_ratio);
        let why = times.unwrap_or_else(|| "Too many of its answers are bad or slow.".to_owned());
        return Some(
            Standing::new(Mark::Warn, format!("weight cut to {weight}"))
                .because(why)
                .since(view.condition_since_ms)
                .until("a step at a time once it is well"),
        );
    }
    if view.ramp_ratio < 1.0 {
        let eighths = format!("{:.0}/8", view.ramp_ratio * 8.0);
        return Some(
            Standing::new(Mark::Tried, format!("takes {eighths} of its weight"))
                .that_grows()
                .because("It has just come back, and its weight grows by eighths.")
                .since(view.since_ms)
                .until("by itself"),
        );
    }
    // It takes all of its keys, and is slow all the same.
    times.filter(|_| is_slow(view)).map(|why| {
        Standing::new(Mark::Warn, "slow")
            .because(why)
            .until("when it answers as usual")
    })
}

/// Whether a node that is asked takes more than twice its usual time.
pub fn is_slow(view: &NodeView) -> bool {
    let times = view.service_p50_ms.zip(view.usual_p50_ms);
    let is_asked = view.requests_per_second > 0.05;
    is_asked && times.is_some_and(|(now, usual)| now > usual * SLOW_RATIO)
}

/// How the nodes of a site are, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// All.
    pub nodes: usize,
    /// Those that are used for all of their keys.
    pub in_use: usize,
    /// Those that are out.
    pub out: usize,
    /// Those that are used, and not well.
    pub not_well: usize,
    /// Those that are tried with a slice of their keys.
    pub tried: usize,
    /// Those that are back for all of their keys, and whose weight still grows.
    pub growing: usize,
    /// Those that operators let take nothing.
    pub drained: usize,
}

impl Counts {
    /// Counts some standings.
    pub fn of<'s>(standings: impl Iterator<Item = &'s Standing>) -> Self {
        let mut counts = Self::default();
        for standing in standings {
            counts.nodes += 1;
            let place = match standing.mark {
                Mark::Well | Mark::Flag => &mut counts.in_use,
                Mark::Bad => &mut counts.out,
                Mark::Warn | Mark::Unknown => &mut counts.not_well,
                Mark::Tried if standing.grows => &mut counts.growing,
                Mark::Tried => &mut counts.tried,
                Mark::Drained => &mut counts.drained,
            };
            *place += 1;
        }
        counts
    }

    /// The same of the nodes of one site: while none of them has come back, those that are tried are as much out as the
    /// others. A site would seem to be in and out again with every trial otherwise.
    pub fn of_one_site<'s>(standings: impl Iterator<Item = &'s Standing>) -> Self {
        let mut counts = Self::of(standings);
        if counts.used() == 0 && counts.tried > 0 {
            counts.out += std::mem::take(&mut counts.tried);
        }
        counts
    }

    /// Those that decisions use for all of their keys.
    pub fn used(&self) -> usize {
        self.in_use + self.not_well + self.growing
    }

    /// Those that are tried, or grow.
    pub fn coming_back(&self) -> usize {
        self.tried + self.growing
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            nodes: sum.nodes + one.nodes,
            in_use: sum.in_use + one.in_use,
            out: sum.out + one.out,
            not_well: sum.not_well + one.not_well,
            tried: sum.tried + one.tried,
            growing: sum.growing + one.growing,
            drained: sum.drained + one.drained,
        })
    }
}

/// How a site is, by its nodes and by what is known of it. `spill_to` are the sites that its clients use instead.
pub fn of_site(counts: &Counts, view: Option<&SiteView>) -> Standing {
    let Counts {
        nodes,
        out,
        drained,
        ..
    } = *counts;
    if nodes == 0 {
        return Standing::new(Mark::Unknown, "no nodes");
    }
    if drained == nodes {
        return Standing::new(Mark::Drained, "drained")
            .because("Operators let none of its nodes take traffic.");
    }
    if out + drained == nodes {
        let mut standing = Standing::new(Mark::Bad, "out")
            .of_trouble(SiteTrouble::Out)
            .because("None of its nodes can be used.")
            .until("when one of its nodes is back");
        standing.since_ms = view.and_then(|view| view.not_ready_since_ms);
        return standing;
    }
    if let Some(left) = view.and_then(by_traffic) {
        return left;
    }
    let of = |count: usize, what: &str| {
        format!(
            "{count} of {} {what}",
            words::counted(nodes, "node", "nodes")
        )
    };
    match counts {
        _ if out > 0 => Standing::new(Mark::Bad, of(out, "out")),
        _ if counts.not_well > 0 => Standing::new(Mark::Warn, of(counts.not_well, "not well")),
        _ if counts.coming_back() > 0 => {
            Standing::new(Mark::Tried, of(counts.coming_back(), "coming back"))
        }
        _ if drained > 0 => Standing::new(Mark::Drained, of(drained, "drained")),
        _ => Standing::new(Mark::Well, "all in use"),
    }
}

/// What of its requests speaks against a site.
fn by_traffic(view: &SiteView) -> Option<Standing> {
    if let Some(trial) = &view.trial {
        let because = blame_words(trial.blame);
        return Some(
            Standing::new(Mark::Warn, "left, being tried")
                .of_trouble(SiteTrouble::Left)
                .because(format!(
                    "Clients were led elsewhere because {because}: {} of {} answers, {} bad.",
                    trial.answers, trial.needed, trial.failures
                ))
                .since(trial.since_ms)
                .until("when a round of answers is good"),
        );
    }
    if view.spill_ratio > 0.0 {
        let share = words::share(view.spill_ratio);
        return Some(
            Standing::new(
                Mark::Warn,
                format!("{share} of its clients use the next site"),
            )
            .of_trouble(SiteTrouble::Sheds)
            .because(format!(
                "Its nodes are busy: {}.",
                view.utilisation.map_or_else(
                    || "how much is not told".to_owned(),
                    |ratio| format!("{} on average", words::share(ratio)),
                )
            ))
            .until("when its load is below its target, a 64th a second"),
        );
    }
    let unasked = view.unasked_ms.filter(|ms| *ms >= UNASKED_MS)?;
    Some(
        Standing::new(
            Mark::Warn,
            format!("no requests for {}", words::lasting(unasked)),
        )
        .of_trouble(SiteTrouble::Unasked)
        .because(format!(
            "Nothing has been sent there for {}; {}",
            words::lasting(unasked),
            worst_term(view)
        ))
        .since(unasked)
        .until("when it is the best for somebody; while nothing is sent, nothing is measured"),
    )
}

/// The term that costs a site most beside the way.
fn worst_term(view: &SiteView) -> String {
    let class = view.classes.first();
    let terms = class.into_iter().flat_map(|class| &class.terms_ms);
    let worst = terms.max_by(|(_, a), (_, b)| a.total_cmp(b));
    worst.map_or_else(
        || "what it costs is not known.".to_owned(),
        |(name, ms)| {
            let evidence = class.and_then(|class| class.evidence.get(name));
            let age = evidence.map_or_else(String::new, |evidence| {
                format!(
                    ", last seen {} ago",
                    words::lasting(u64::from(evidence.age_ms))
                )
            });
            format!(
                "its {name} term is taken for {}{age}.",
                words::ms(f64::from(*ms))
            )
        },
    )
}

#[cfg(test)]
mod tests;
