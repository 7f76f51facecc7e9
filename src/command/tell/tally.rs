//! What came of the lines that were read, and a word about faults now and then.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::command::output::{self, Format, Text};
use crate::command::{CommandError, Exit};
use crate::sidecar::wire::proto::ReportResponse;

/// How often a fault is shown at most.
const SHOWN_EVERY: Duration = Duration::from_secs(10);

/// Counts.
#[derive(Debug)]
pub(super) struct Tally {
    /// Lines read.
    pub(super) lines: u64,
    /// Of these, not readable.
    pub(super) unreadable: u64,
    /// Of these, of requests in which no node had a part.
    pub(super) without_attempt: u64,
    /// Lines and outcomes that could not be told.
    pub(super) dropped: u64,
    /// Whether the sidecar took nothing when last tried.
    pub(super) is_down: bool,
    /// Whether the file that is followed is not there.
    pub(super) is_away: bool,
    /// Outcomes taken.
    told: u64,
    /// Outcomes refused, by reason.
    refused: BTreeMap<String, u64>,
    /// When a fault was last shown, and how many were not shown since.
    shown: Option<Instant>,
    hidden: u64,
    now: fn() -> Instant,
}

impl Tally {
    pub(super) fn new(now: fn() -> Instant) -> Self {
        Self {
            lines: 0,
            unreadable: 0,
            without_attempt: 0,
            dropped: 0,
            is_down: false,
            is_away: false,
            told: 0,
            refused: BTreeMap::new(),
            shown: None,
            hidden: 0,
            now,
        }
    }

    /// Takes note of what the sidecar answered.
    pub(super) fn add(
        &mut self,
        response: &ReportResponse,
        out: &mut impl Write,
    ) -> Result<(), CommandError> {
        self.told += response.accepted;
        for (reason, count) in &response.refused {
            *self.refused.entry(reason.clone()).or_default() += count;
        }
        for fault in &response.faults {
            self.complain(format_args!("refused, {fault}"), out)?;
        }
        Ok(())
    }

    /// Shows a fault, unless one was shown a moment ago.
    pub(super) fn complain(
        &mut self,
        fault: fmt::Arguments<'_>,
        out: &mut impl Write,
    ) -> Result<(), CommandError> {
        let now = (self.now)();
        let is_due = self
            .shown
            .is_none_or(|shown| now.saturating_duration_since(shown) >= SHOWN_EVERY);
        if !is_due {
            self.hidden += 1;
            return Ok(());
        }
        let since = match std::mem::take(&mut self.hidden) {
            0 => String::new(),
            hidden => format!(" (and {hidden} faults since the last that was shown)"),
        };
        self.shown = Some(now);
        output::text(out, &format!("{fault}{since}\n"))?;
        out.flush().map_err(CommandError::Output)
    }

    /// Whether everything that was to be read was told.
    pub(super) fn exit(&self) -> Exit {
        let is_whole = self.unreadable == 0 && self.dropped == 0 && self.refused.is_empty();
        if is_whole && !self.is_away {
            Exit::Good
        } else {
            Exit::Refused
        }
    }

    /// Writes all counts.
    pub(super) fn print(&self, format: Format, out: &mut impl Write) -> Result<(), CommandError> {
        if format == Format::Json {
            let counts = serde_json::json!({
                "lines": self.lines,
                "told": self.told,
                "refused": self.refused,
                "unreadable": self.unreadable,
                "without_attempt": self.without_attempt,
                "dropped": self.dropped,
            });
            return output::json(out, &counts);
        }
        let mut text = Text::default();
        text.line(format_args!(
            "{} lines: {} outcomes told, {} lines not readable, {} without an attempt, {} dropped",
            self.lines, self.told, self.unreadable, self.without_attempt, self.dropped
        ));
        for (reason, count) in &self.refused {
            text.line(format_args!("refused: {count} {reason}"));
        }
        output::text(out, &text.into_string())
    }
}
