//! What came out of a replay of decisions.

use std::collections::BTreeMap;
use std::io::Write;

use prost::Message;
use serde::Serialize;
use serde_json::Value;

use super::again::Made;
use super::changed::{Changes, Way};
use crate::command::CommandError;
use crate::command::output::{self, Format, Text, table, trimmed};
use crate::sidecar::decision_log::record::Lost;

/// Differences that are named.
const MAX_NAMED: usize = 10;

/// What came out of a replay of decisions.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Decisions in the log.
    pub(super) decisions: u64,
    /// Those that were made again.
    pub(super) replayed: u64,
    /// Those whose answer is another one now.
    pub(super) differences: u64,
    /// The first of them.
    pub(super) differing: Vec<Difference>,
    /// Those that cannot be made again without the client's address, which is not in the log.
    pub(super) hidden: u64,
    /// Those that the sidecar could not write, by cause.
    pub(super) lost: BTreeMap<String, u64>,
    /// Lines that say nothing, and decisions that cannot be made again for what is missing.
    pub(super) unreadable: u64,
    /// The first of those, and why.
    pub(super) first_unreadable: Option<String>,
    /// What another policy would change.
    pub(super) changes: Option<Changes>,
    pub(super) seconds: f64,
}

/// A decision whose answer is another one now.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    at: String,
    decision_id: String,
    /// `FIELD: THEN -> NOW`, for each field.
    fields: Vec<String>,
}

impl Report {
    /// Whether all of it was made again, with the same answers.
    pub(super) fn is_good(&self) -> bool {
        self.replayed > 0 && self.differences == 0 && self.unreadable == 0
    }

    pub(super) fn lost(&mut self, lost: Lost) {
        *self.lost.entry(lost.because).or_default() += lost.count;
    }

    pub(super) fn unreadable(&mut self, at: impl Fn() -> String, why: &impl ToString) {
        self.unreadable += 1;
        let words = || format!("{} {}", at(), why.to_string());
        self.first_unreadable.get_or_insert_with(words);
    }

    /// Compares an answer with the one that was given.
    pub(super) fn compare(&mut self, at: impl Fn() -> String, made: &Made) {
        self.replayed += 1;
        if made.answer.encode_to_vec() == made.given.encode_to_vec() {
            return;
        }
        self.differences += 1;
        if self.differing.len() < MAX_NAMED {
            self.differing.push(Difference {
                at: at(),
                decision_id: made.given.decision_id.clone(),
                fields: differing(&made.given, &made.answer),
            });
        }
    }

    pub(super) fn print(
        &self,
        format: Format,
        top: usize,
        out: &mut impl Write,
    ) -> Result<(), CommandError> {
        match format {
            Format::Json => output::json(out, self),
            Format::Text => output::text(out, &self.words(top)),
        }
    }

    fn words(&self, top: usize) -> String {
        let mut text = Text::default();
        for difference in &self.differing {
            let Difference {
                at,
                decision_id,
                fields,
            } = difference;
            text.line(format_args!(
                "{at}: decision {decision_id} differs: {}",
                fields.join("; ")
            ));
        }
        let (replayed, differences) = (grouped(self.replayed), grouped(self.differences));
        text.line(format_args!(
            "{replayed} decisions, {differences} differences"
        ));
        if self.hidden > 0 {
            let hidden = grouped(self.hidden);
            text.line(format_args!(
                "{hidden} more cannot be made again: their clients' addresses decided, and are not in the log"
            ));
        }
        for (because, count) in &self.lost {
            let count = grouped(*count);
            text.line(format_args!(
                "{count} more were lost when they were made: {because}"
            ));
        }
        if let Some(first) = &self.first_unreadable {
            let count = grouped(self.unreadable);
            text.line(format_args!(
                "{count} lines say nothing; the first: {first}"
            ));
        }
        if let Some(changes) = &self.changes {
            describe(changes, top, &mut text);
        }
        text.into_string()
    }
}

fn describe(changes: &Changes, top: usize, text: &mut Text) {
    let policy = &changes.policy;
    let (compared, first) = (grouped(changes.compared), grouped(changes.first_node));
    let (others, rules) = (grouped(changes.other_nodes), grouped(changes.rule));
    let refused = grouped(changes.newly_refused);
    text.line(format_args!(""));
    text.line(format_args!("By {policy}, of {compared} decisions"));
    text.line(format_args!("  {first} get another first node"));
    text.line(format_args!(
        "  {others} get the same first node and others behind it"
    ));
    text.line(format_args!("  {rules} are decided by another rule"));
    text.line(format_args!("  {refused} are refused that were not"));
    if changes.unreadable > 0 {
        let count = grouped(changes.unreadable);
        text.line(format_args!("  {count} cannot be read any more"));
    }
    if !changes.ways.is_empty() {
        let header = ["rule", "->", "site", "->", "decisions"];
        let mut rows = table(&header, &[0, 1, 2, 3]);
        for way in changes.ways.iter().take(top) {
            let Way {
                from_rule,
                to_rule,
                from_site,
                to_site,
            } = &way.way;
            let count = grouped(way.count);
            rows.add_row([from_rule, to_rule, from_site, to_site, &count]);
        }
        text.line(format_args!(""));
        text.lines(&trimmed(&rows));
        let more = changes.ways.len().saturating_sub(top);
        if more > 0 {
            text.line(format_args!("  and {more} more ways, see --top"));
        }
    }
    if !changes.examples.is_empty() {
        text.line(format_args!(""));
        text.line(format_args!("For instance"));
    }
    for example in &changes.examples {
        text.line(format_args!("  {example}"));
    }
}

/// The fields of two messages that differ.
fn differing(then: &impl Serialize, now: &impl Serialize) -> Vec<String> {
    let (Ok(Value::Object(then)), Ok(Value::Object(now))) =
        (serde_json::to_value(then), serde_json::to_value(now))
    else {
        return vec!["in bytes that no field shows".to_owned()];
    };
    let fields = then.iter().filter_map(|(name, then)| {
        let now = now.get(name).unwrap_or(&Value::Null);
        (then != now).then(|| format!("{name}: {then} -> {now}"))
    });
    fields.collect()
}

/// A number with its thousands set apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
