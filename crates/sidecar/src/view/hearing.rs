//! Who tells what, how much of it is not believed and why, and who says otherwise than the others: for the debug door, as
//! metrics, and in the log.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use serde::Serialize;

use crate::identity::reporter::Identity;
use tradewind_engine::control::Control;
use tradewind_engine::control::event::Event;
use tradewind_engine::control::heard::{Disagreement, ReporterNotes, Topic, Unbelieved, Where};
use tradewind_engine::number::from_u64;
use tradewind_engine::signal::observation::Reporter;
use tradewind_engine::time::Moment;
use tradewind_engine::topology::Topology;

/// Words about the load of nodes that were not believed: so many are shown.
const MAX_HEARSAY: usize = 100;

/// Those who have no seat of their own.
const OTHERS: &str = "others";

/// Who tells what; see the module.
#[derive(Debug, Clone, Serialize)]
pub struct Hearing {
    /// Everybody who told something since the start, as far as they are told apart.
    pub reporters: Vec<ReporterView>,
    /// What was taken and not believed since the start, by reason; every reason is there.
    pub unbelieved: BTreeMap<&'static str, u64>,
    /// Last words about the load of nodes from those who may not speak of it.
    pub hearsay: Vec<HearsayView>,
}

/// A reporter.
#[derive(Debug, Clone, Serialize)]
pub struct ReporterView {
    /// Who: an address or network, `uid:N`, and a name where it is trusted.
    pub reporter: String,
    /// Whether the operator trusts it to be several by name.
    pub is_trusted: bool,
    /// When it last told anything, ms ago.
    pub heard_ms: u64,
    /// Outcomes of it that were believed.
    pub outcomes: u64,
    /// Those of the last minute.
    pub outcomes_lately: u64,
    /// The share of them that failed; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_ratio: Option<f64>,
    /// Load reports and histograms of it that counted.
    pub told_of_nodes: u64,
    /// What of it was not believed, by reason.
    pub unbelieved: BTreeMap<&'static str, u64>,
    /// What it lastingly says otherwise than the others.
    pub disagrees: Vec<DisagreementView>,
}

/// What a reporter says otherwise than the others.
#[derive(Debug, Clone, Serialize)]
pub struct DisagreementView {
    /// `failures`, `hits` or `times`.
    pub about: &'static str,
    /// The site, or node, where it is farthest from them.
    pub place: String,
    /// What it says: a ratio of 0 to 1, or milliseconds.
    pub said: f64,
    /// What was agreed on.
    pub agreed: f64,
    /// How many answers it has told of there.
    pub answers: u64,
    /// For how long, in ms.
    pub for_ms: u64,
}

/// A word about a node's load that changes nothing.
#[derive(Debug, Clone, Serialize)]
pub struct HearsayView {
    /// The node.
    pub node: String,
    /// Who said it.
    pub reporter: String,
    /// How long ago, in ms.
    pub age_ms: u64,
    /// What was said of its utilisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilisation: Option<f32>,
}

/// Nothing was heard yet.
impl Default for Hearing {
    fn default() -> Self {
        let reasons = Unbelieved::ALL.iter();
        Self {
            reporters: Vec::new(),
            unbelieved: reasons.map(|why| (why.name(), 0)).collect(),
            hearsay: Vec::new(),
        }
    }
}

impl Hearing {
    /// What `control` has heard from those of these numbers.
    pub fn new(
        now: Moment,
        (control, seated): (&Control, &[Identity]),
        topology: &Topology,
    ) -> Self {
        let heard = control.heard();
        let reporters = heard.reporters().map(|(reporter, notes)| {
            let who = seat(seated, reporter);
            ReporterView::new(now, (reporter, who), notes, topology)
        });
        let hearsay = control.hearsay().map(|(node, word)| HearsayView {
            node: topology.node(node).id.to_string(),
            reporter: name(seated, word.reporter),
            age_ms: now.since(word.at),
            utilisation: word.report.utilisation,
        });
        Self {
            reporters: reporters.collect(),
            unbelieved: heard.unbelieved().map(|(why, n)| (why.name(), n)).collect(),
            hearsay: hearsay.take(MAX_HEARSAY).collect(),
        }
    }

    /// Writes all families.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "Outcomes, load reports and histograms that were taken and not believed, by reason";
        let mut family =
            encoder.encode_descriptor("reports_unbelieved", help, None, MetricType::Counter)?;
        for why in Unbelieved::ALL {
            let count = self.unbelieved.get(why.name()).copied().unwrap_or(0);
            ConstCounter::new(count).encode(family.encode_family(&[("reason", why.name())])?)?;
        }
        let help = "Outcomes that were believed, by who told them";
        let mut family =
            encoder.encode_descriptor("reporter_outcomes", help, None, MetricType::Counter)?;
        for known in &self.reporters {
            let labels = [("reporter", known.reporter.as_str())];
            ConstCounter::new(known.outcomes).encode(family.encode_family(&labels)?)?;
        }
        let help = "Share of a reporter's outcomes of the last minute that failed";
        let mut family =
            encoder.encode_descriptor("reporter_failed_ratio", help, None, MetricType::Gauge)?;
        for known in &self.reporters {
            if let Some(ratio) = known.failed_ratio {
                let labels = [("reporter", known.reporter.as_str())];
                ConstGauge::new(ratio).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "1 while a reporter lastingly says otherwise than the others, by what about";
        let mut family =
            encoder.encode_descriptor("reporter_disagrees", help, None, MetricType::Gauge)?;
        for known in &self.reporters {
            for topic in Topic::ALL {
                let about = known.disagrees.iter().map(|seen| seen.about);
                let disagrees = i64::from(about.clone().any(|about| about == topic.name()));
                let labels = [
                    ("reporter", known.reporter.as_str()),
                    ("about", topic.name()),
                ];
                ConstGauge::new(disagrees).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl ReporterView {
    fn new(
        now: Moment,
        (reporter, who): (Reporter, Option<&Identity>),
        notes: &ReporterNotes,
        topology: &Topology,
    ) -> Self {
        let (good, bad) = notes.lately(now);
        let lately = good + bad;
        let reasons = Unbelieved::ALL.iter().zip(notes.unbelieved);
        let view = |(topic, seen): (Topic, Disagreement)| DisagreementView {
            about: topic.name(),
            place: place(seen.apart.place, topology),
            said: shown(topic, seen.apart.said),
            agreed: shown(topic, seen.apart.agreed),
            answers: seen.apart.answers,
            for_ms: now.since(seen.since),
        };
        Self {
            reporter: who.map_or_else(|| numbered(reporter), ToString::to_string),
            is_trusted: who.is_some_and(|who| who.is_trusted),
            heard_ms: notes.last.map_or(0, |last| now.since(last)),
            outcomes: notes.outcomes,
            outcomes_lately: lately,
            failed_ratio: (lately > 0).then(|| from_u64(bad) / from_u64(lately)),
            told_of_nodes: notes.told_of_nodes,
            unbelieved: reasons
                .filter(|(_, count)| *count > 0)
                .map(|(why, count)| (why.name(), count))
                .collect(),
            disagrees: notes.lasting().map(view).collect(),
        }
    }
}

/// Tells that a reporter disagrees, or does not any more.
pub fn log(now: Moment, event: &Event, (seated, topology): (&[Identity], &Topology)) {
    let Event::Disagreement {
        reporter,
        topic,
        seen,
        is_over,
    } = event
    else {
        return;
    };
    let reporter = name(seated, *reporter);
    let about = topic.name();
    let place = place(seen.apart.place, topology);
    let (said, agreed) = (
        shown(*topic, seen.apart.said),
        shown(*topic, seen.apart.agreed),
    );
    let (answers, for_s) = (seen.apart.answers, now.since(seen.since) / 1_000);
    if *is_over {
        tracing::info!(
            reporter,
            about,
            place,
            for_s,
            "a reporter says what the others say again"
        );
    } else {
        tracing::warn!(
            reporter,
            about,
            place,
            said,
            agreed,
            answers,
            for_s,
            "a reporter says otherwise than the others, which counts for nothing"
        );
    }
}

fn seat(seated: &[Identity], reporter: Reporter) -> Option<&Identity> {
    seated.get(usize::from(reporter.0).checked_sub(1)?)
}

fn name(seated: &[Identity], reporter: Reporter) -> String {
    seat(seated, reporter).map_or_else(|| numbered(reporter), ToString::to_string)
}

/// One without a seat.
fn numbered(reporter: Reporter) -> String {
    if reporter == Reporter::default() {
        return OTHERS.to_owned();
    }
    format!("{}", reporter.0)
}

fn place(place: Where, topology: &Topology) -> String {
    match place {
        Where::Site(site) => topology.site(site).id.to_string(),
        Where::Node(node) => topology.node(node).id.to_string(),
    }
}

/// Ratios as they are, times in milliseconds; with as many digits as mean something.
fn shown(topic: Topic, value: f64) -> f64 {
    let value = match topic {
        Topic::Failures | Topic::Hits => value,
        Topic::Times => value / 1_000.0,
    };
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page that is asked for before the loop has run once names what the next one names.
    #[test]
    fn every_reason_is_there_before_anything_is_heard() {
        let names: Vec<_> = Unbelieved::ALL.iter().map(|why| why.name()).collect();
        let hearing = Hearing::default();
        assert_eq!(hearing.unbelieved.len(), names.len());
        assert!(names.iter().all(|name| hearing.unbelieved[name] == 0));
    }
}
