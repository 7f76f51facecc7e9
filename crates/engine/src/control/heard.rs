//! Who tells what, how much of it is not believed and why, and who says otherwise than the others.
//!
//! Where three or more tell of the same site or node, one whose failures, hits or times are far from what was agreed on
//! disagrees: it has lost its own way there, counts something else than the others do, or lies. That changes no decision,
//! for one voice of three never does; but an operator wants to know.

use std::collections::BTreeMap;

use super::Control;
use super::event::Event;
use crate::model::{NodeIndex, SiteIndex};
use crate::number::from_u64;
use crate::signal::agreed::AgreedCounts;
use crate::signal::load::Hearsay;
use crate::signal::observation::Reporter;
use crate::signal::ratio::Counts;
use crate::time::Moment;

pub use super::disagreement::{Apart, Disagreement, Topic, Where};
pub use super::unbelieved::Unbelieved;

/// Reporters with notes: as many as the shell tells apart, and those it does not.
const MAX_REPORTERS: usize = 65;

/// How often it is looked who disagrees.
const LOOK_EVERY_MS: u64 = 10_000;

/// A disagreement that lasts so long is told, and is over when it has not been seen for as long.
const LASTING_MS: u64 = 30_000;

/// Over how long a reporter's failures are shown.
const SHOWN_MS: u64 = 60_000;

/// After so long a silence its number may be somebody else's.
const SILENCE_MS: u64 = 600_000;

/// Answers from which on a reporter may disagree, and by how much at least: five points of a ratio beyond what chance
/// explains (four standard deviations), or twice or half the time, which must be a millisecond off at least.
const ANSWERS: u64 = 50;
const FAR_RATIO: f64 = 0.05;
const DEVIATIONS: f64 = 4.0;
const FAR_FACTOR: f64 = 2.0;
const FAR_US: f64 = 1_000.0;

/// The notes on one reporter.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReporterNotes {
    /// Outcomes believed since its first.
    pub outcomes: u64,
    /// Of the last minute: successes and failures.
    lately: Counts,
    /// When it last told anything.
    pub last: Option<Moment>,
    /// What was not believed since its first word, by [`Unbelieved`].
    pub unbelieved: [u64; Unbelieved::ALL.len()],
    /// Load reports and histograms that counted.
    pub told_of_nodes: u64,
    /// What it disagrees about, by [`Topic`].
    pub disagrees: [Option<Disagreement>; Topic::ALL.len()],
}

impl ReporterNotes {
    /// Successes and failures it told of within the last minute.
    pub fn lately(&self, now: Moment) -> (u64, u64) {
        self.lately.sums(now, SHOWN_MS)
    }

    /// What lastingly sets it apart.
    pub fn lasting(&self) -> impl Iterator<Item = (Topic, Disagreement)> {
        let seen = Topic::ALL.iter().zip(self.disagrees);
        let lasting = seen.filter_map(|(topic, seen)| Some((*topic, seen?)));
        lasting.filter(|(_, seen)| seen.is_lasting)
    }
}

/// The notes on all reporters, by their number.
#[derive(Debug, Default)]
pub struct Heard {
    reporters: BTreeMap<Reporter, ReporterNotes>,
    /// All that was not believed since the start, by [`Unbelieved`].
    unbelieved: [u64; Unbelieved::ALL.len()],
    looked: Moment,
}

impl Heard {
    /// The notes on everybody who ever told anything.
    pub fn reporters(&self) -> impl Iterator<Item = (Reporter, &ReporterNotes)> {
        self.reporters.iter().map(|(who, notes)| (*who, notes))
    }

    /// What was not believed since the start, by reason.
    pub fn unbelieved(&self) -> impl Iterator<Item = (Unbelieved, u64)> {
        Unbelieved::ALL.iter().copied().zip(self.unbelieved)
    }

    pub(super) fn outcome(&mut self, now: Moment, reporter: Reporter, success: bool) {
        let notes = self.notes(now, reporter);
        notes.outcomes += 1;
        let (good, bad) = (u32::from(success), u32::from(!success));
        notes.lately.add(now, SHOWN_MS, good, bad);
    }

    pub(super) fn told_of_node(&mut self, now: Moment, reporter: Reporter) {
        self.notes(now, reporter).told_of_nodes += 1;
    }

    pub(super) fn disbelieved(&mut self, now: Moment, reporter: Reporter, why: Unbelieved) {
        let count = |counts: &mut [u64; Unbelieved::ALL.len()]| {
            if let Some(count) = counts.get_mut(why as usize) {
                *count += 1;
            }
        };
        count(&mut self.unbelieved);
        count(&mut self.notes(now, reporter).unbelieved);
    }

    fn notes(&mut self, now: Moment, reporter: Reporter) -> &mut ReporterNotes {
        let is_full = self.reporters.len() >= MAX_REPORTERS;
        let is_new = is_full && !self.reporters.contains_key(&reporter);
        // The shell tells no more of them apart.
        let reporter = if is_new {
            Reporter::default()
        } else {
            reporter
        };
        let notes = self.reporters.entry(reporter).or_default();
        if notes.last.is_some_and(|last| now.since(last) > SILENCE_MS) {
            *notes = ReporterNotes::default();
        }
        notes.last = Some(now);
        notes
    }

    /// A reporter is seen to disagree; of several places the one where it is farthest from the others is noted.
    fn note(&mut self, now: Moment, (reporter, topic): (Reporter, Topic), apart: Apart) {
        let notes = self.reporters.get_mut(&reporter);
        let Some(known) = notes.and_then(|notes| notes.disagrees.get_mut(topic as usize)) else {
            return;
        };
        let since = known.map_or(now, |known| known.since);
        let is_lasting = known.is_some_and(|known| known.is_lasting);
        if known
            .is_some_and(|known| known.seen == now && known.apart.distance() >= apart.distance())
        {
            return;
        }
        *known = Some(Disagreement {
            apart,
            since,
            seen: now,
            is_lasting,
        });
    }

    /// Tells of disagreements that have begun to last, and of those that are over.
    fn settle(&mut self, now: Moment, events: &mut Vec<Event>) {
        for (reporter, notes) in &mut self.reporters {
            for (seen, topic) in notes.disagrees.iter_mut().zip(Topic::ALL) {
                let Some(known) = seen else { continue };
                let is_over = now.since(known.seen) >= LASTING_MS;
                let begins = !known.is_lasting && known.seen.since(known.since) >= LASTING_MS;
                known.is_lasting |= begins;
                if begins || (is_over && known.is_lasting) {
                    events.push(Event::Disagreement {
                        reporter: *reporter,
                        topic: *topic,
                        seen: *known,
                        is_over,
                    });
                }
                if is_over {
                    *seen = None;
                }
            }
        }
    }
}

impl Control {
    /// The notes on reporters.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Last words about the load of nodes from those who may not speak of it.
    pub fn hearsay(&self) -> impl Iterator<Item = (NodeIndex, &Hearsay)> {
        let nodes = (0_u32..).map(NodeIndex).zip(&self.nodes);
        nodes.filter_map(|(node, notes)| Some((node, notes.load_words.hearsay()?)))
    }

    /// Looks who disagrees with the others, now and then.
    pub(super) fn compare_reporters(&mut self, now: Moment) {
        if now.since(self.heard.looked) < LOOK_EVERY_MS {
            return;
        }
        self.heard.looked = now;
        // What was told long ago is held against nobody: others have seen more since.
        let is_fresh = |last: Moment| now.since(last) < LASTING_MS;
        let since = Moment((now.0 + 1).saturating_sub(LASTING_MS));
        for (notes, at) in self.sites.iter().zip(0_u16..) {
            let place = Where::Site(SiteIndex(at));
            for hits in notes.hits.iter().filter(|hits| is_fresh(hits.last())) {
                ratios((hits, since), place, |reporter, apart| {
                    self.heard.note(now, (reporter, Topic::Hits), apart);
                });
            }
        }
        let nodes = self.nodes.iter().zip(0_u32..);
        for (notes, at) in nodes.clone() {
            if is_fresh(notes.attempts.last()) {
                let place = Where::Node(NodeIndex(at));
                ratios((&notes.attempts, since), place, |reporter, apart| {
                    // Counted are successes, told are failures.
                    let apart = Apart {
                        said: 1.0 - apart.said,
                        agreed: 1.0 - apart.agreed,
                        ..apart
                    };
                    self.heard.note(now, (reporter, Topic::Failures), apart);
                });
            }
        }
        for (notes, at) in nodes.filter(|(notes, _)| is_fresh(notes.service.last())) {
            let Some(agreed) = notes.service.quantile_us(0.5) else {
                continue;
            };
            for (reporter, (said, answers)) in notes.service.words() {
                let factor = (said / agreed.max(1.0)).max(agreed / said.max(1.0));
                let is_far = factor > FAR_FACTOR && (said - agreed).abs() > FAR_US;
                if is_far && answers >= ANSWERS {
                    let apart = Apart {
                        place: Where::Node(NodeIndex(at)),
                        said,
                        agreed,
                        answers,
                    };
                    self.heard.note(now, (reporter, Topic::Times), apart);
                }
            }
        }
        self.heard.settle(now, &mut self.events);
    }
}

/// Tells of the ratios of those heard `since` then that are far from the one agreed on.
fn ratios(
    (counts, since): (&AgreedCounts, Moment),
    place: Where,
    mut tell: impl FnMut(Reporter, Apart),
) {
    let (good, bad) = counts.known();
    let agreed = from_u64(good) / from_u64((good + bad).max(1));
    for (reporter, (good, bad)) in counts.words(since) {
        let answers = good + bad;
        let said = from_u64(good) / from_u64(answers.max(1));
        let spread = (agreed * (1.0 - agreed) / from_u64(answers.max(1))).sqrt();
        let is_far = (said - agreed).abs() > FAR_RATIO + DEVIATIONS * spread;
        if is_far && answers >= ANSWERS {
            let apart = Apart {
                place,
                said,
                agreed,
                answers,
            };
            tell(reporter, apart);
        }
    }
}
