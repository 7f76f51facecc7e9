//! What came out of a replay, for people and for programs.

use std::io::Write;

use serde::Serialize;

use crate::command::CommandError;
use crate::command::output::{self, Format, Text, table, trimmed};
use crate::command::trace::Told;

/// What came out of a replay.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The server's address, or `this process`.
    pub(super) decided_by: String,
    #[serde(flatten)]
    pub(super) read: Told,
    pub(super) decided: u64,
    pub(super) sites_used: usize,
    pub(super) nodes_used: usize,
    /// By first candidates, the most frequent first, as in the lists below.
    pub(super) sites: Vec<Share>,
    pub(super) nodes: Vec<Share>,
    pub(super) rules: Vec<Share>,
    pub(super) verdicts: Vec<Share>,
    pub(super) reasons: Vec<Share>,
    pub(super) purity: Vec<Share>,
    pub(super) notes: Vec<Share>,
    /// From the client's place to the first candidate's site; nothing without files that say where either is.
    pub(super) distance_km: Option<Spread>,
    pub(super) expected_ms: Option<Spread>,
    /// In this process the decision alone, else the whole call.
    pub(super) decision_us: Option<Spread>,
    /// The whole replay, reading included.
    pub(super) seconds: f64,
    pub(super) decisions_per_second: f64,
    /// Nothing where nothing was decided, which proves nothing.
    pub(super) stability: Option<StabilityReport>,
    pub(super) digest_any_order: String,
    pub(super) digest_in_order: String,
}

/// How often a name came, and its share of all.
#[derive(Debug, Serialize)]
pub(super) struct Share {
    pub(super) name: String,
    pub(super) count: u64,
    #[serde(rename = "share")]
    pub(super) of_all: f64,
}

/// How values spread.
#[derive(Debug, Serialize)]
pub(super) struct Spread {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// Whether equal keys of one client group went to one node.
#[derive(Debug, Serialize)]
pub(super) struct StabilityReport {
    /// What makes requests equal.
    pub(super) by: &'static str,
    pub(super) pairs: usize,
    pub(super) compared: u64,
    pub(super) violations: u64,
    pub(super) not_followed: u64,
}

impl Report {
    /// True when something was decided, and equal keys of one client group always went to one node.
    pub(super) fn is_good(&self) -> bool {
        let stability = self.stability.as_ref();
        stability.is_some_and(|stability| stability.violations == 0)
    }

    /// Writes it.
    pub(super) fn print(&self, format: Format, out: &mut impl Write) -> Result<(), CommandError> {
        match format {
            Format::Json => output::json(out, self),
            Format::Text => output::text(out, &self.to_text()),
        }
    }

    fn to_text(&self) -> String {
        let mut text = Text::default();
        text.line(format_args!(
            "{} lines, {} decided by {}, {} skipped",
            self.read.lines, self.decided, self.decided_by, self.read.skipped
        ));
        text.lines(&self.read.to_text());
        let Some(stability) = &self.stability else {
            text.lines(&self.read.nothing());
            return text.into_string();
        };
        for (what, shares) in [
            ("verdicts", &self.verdicts),
            ("reasons", &self.reasons),
            ("purity", &self.purity),
            ("notes", &self.notes),
        ] {
            if !shares.is_empty() {
                text.line(format_args!("{what}: {}", in_a_line(shares)));
            }
        }
        for (what, used, shares) in [
            ("rules", None, &self.rules),
            ("sites", Some(self.sites_used), &self.sites),
            ("nodes", Some(self.nodes_used), &self.nodes),
        ] {
            text.lines(&ranking(what, used, shares));
        }
        text.lines(&self.spreads());
        text.lines(&self.closing(stability));
        text.into_string()
    }

    fn spreads(&self) -> String {
        let mut lines = table(&["", "mean", "p50", "p90", "p99", "max"], &[0]);
        for (what, spread, digits) in [
            ("distance, km", &self.distance_km, 0),
            ("expected, ms", &self.expected_ms, 1),
            ("decision, us", &self.decision_us, 1),
        ] {
            let Some(spread) = spread else {
                continue;
            };
            let mut row = vec![what.to_owned()];
            let values = [spread.mean, spread.p50, spread.p90, spread.p99, spread.max];
            row.extend(values.map(|value| format!("{value:.digits$}")));
            lines.add_row(row);
        }
        if lines.is_empty() {
            return String::new();
        }
        format!("\n{}", trimmed(&lines))
    }

    fn closing(&self, stability: &StabilityReport) -> String {
        let beyond = match stability.not_followed {
            0 => String::new(),
            count => format!(", {count} beyond the bound not followed"),
        };
        format!(
            "\n{:.0} decisions a second, {:.2} s in all\n\
             one home by {}: {} pairs, {} answers compared, {} violations{beyond}\n\
             digest in any order {}\n\
             digest in this order {}\n",
            self.decisions_per_second,
            self.seconds,
            stability.by,
            stability.pairs,
            stability.compared,
            stability.violations,
            self.digest_any_order,
            self.digest_in_order,
        )
    }
}

fn in_a_line(shares: &[Share]) -> String {
    let each: Vec<String> = shares
        .iter()
        .map(|share| {
            format!(
                "{} {} ({:.1} %)",
                share.count,
                share.name,
                share.of_all * 100.0
            )
        })
        .collect();
    each.join(", ")
}

fn ranking(what: &str, used: Option<usize>, shares: &[Share]) -> String {
    if shares.is_empty() {
        return String::new();
    }
    let mut lines = table(&[what, "requests", "share"], &[0]);
    for share in shares {
        lines.add_row([
            share.name.clone(),
            share.count.to_string(),
            format!("{:.1} %", share.of_all * 100.0),
        ]);
    }
    let more = match used {
        Some(used) if used > shares.len() => {
            format!("  and {} {what} more\n", used - shares.len())
        }
        _ => String::new(),
    };
    format!("\n{}{more}", trimmed(&lines))
}
