//! What was read of logs, and what was left out: counts and the first line of each kind, whatever the logs' length.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{At, log};
use crate::command::output::Text;
use crate::engine::model::printable;
use crate::engine::number::from_u64;

/// A log of which more than this share is skipped may be another one than was meant.
const MANY_SKIPPED: f64 = 0.1;

/// Most characters shown of what the engine says to a request.
const MAX_REFUSAL: usize = 120;

/// What was read so far.
#[derive(Debug, Default)]
pub(in crate::command) struct Account {
    lines: u64,
    unknown_clients: u64,
    without_host: u64,
    logs: Vec<LogReport>,
    skipped: BTreeMap<&'static str, Skip>,
    warnings: Vec<String>,
}

/// What was read in all, as reports tell it.
#[derive(Debug, Serialize)]
pub(in crate::command) struct Told {
    logs: Vec<LogReport>,
    /// Lines that hold something to read.
    pub(in crate::command) lines: u64,
    /// Of those that were decided or refused, how many do not say whose request it was.
    unknown_clients: u64,
    pub(in crate::command) skipped: u64,
    skipped_by_reason: BTreeMap<&'static str, Skip>,
    warnings: Vec<String>,
}

/// What a log was read as.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LogReport {
    pub(super) file: String,
    /// Nothing where no line is in a format that is known.
    pub(super) format: Option<String>,
    /// Nothing for plain text.
    pub(super) compression: Option<&'static str>,
    pub(super) lines: u64,
}

/// Lines that were not decided for one reason.
#[derive(Debug, Clone, Serialize)]
struct Skip {
    count: u64,
    /// Which of the logs the first is in, from 0.
    log: usize,
    /// The number of the first, from 1.
    line: u64,
    /// How the first looks without what names a client, or what the engine says to it.
    shown: Option<String>,
}

impl Account {
    /// Lines so far that hold something to read.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Counts a line.
    pub(super) fn line(&mut self) {
        self.lines += 1;
    }

    /// Counts a request whose client nobody knows.
    pub(super) fn unknown_client(&mut self) {
        self.unknown_clients += 1;
    }

    /// Counts a request whose host nobody names.
    pub(super) fn no_host(&mut self) {
        self.without_host += 1;
    }

    /// Adds what is to be told of a log that was read.
    pub(super) fn log(&mut self, log: LogReport) {
        self.logs.push(log);
    }

    /// Adds something odd that whoever asked should know.
    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Counts a line that is not decided. `shown` says what may be shown of it, and is asked for the first of its kind.
    pub(super) fn skip(
        &mut self,
        at: At,
        reason: &'static str,
        shown: impl FnOnce() -> Option<String>,
    ) {
        let skip = self.skipped.entry(reason).or_insert_with(|| Skip {
            count: 0,
            log: at.log,
            line: at.line,
            shown: shown(),
        });
        skip.count += 1;
    }

    /// Counts a request that the engine does not decide, for what it says to it.
    pub(in crate::command) fn refuse(&mut self, at: At, refusal: &str) {
        let reason = refused(refusal);
        // Words of our own, but for an address that they may quote.
        let shown = || match reason {
            "client_refused" => None,
            _ => Some(printable(refusal, MAX_REFUSAL)),
        };
        self.skip(at, reason, shown);
    }

    /// What there is to tell.
    pub(in crate::command) fn tell(self) -> Told {
        let skipped = self.skipped.values().map(|skip| skip.count).sum();
        let mut warnings = self.warnings;
        if self.without_host > 0 {
            let count = self.without_host;
            warnings.push(format!("{count} requests name no host, so rules for hosts do not see them; --host gives one"));
        }
        let share = from_u64(skipped) / from_u64(self.lines);
        if share > MANY_SKIPPED {
            let percent = share * 100.0;
            warnings.push(format!("{percent:.0} % of the lines are skipped; if they are requests, --input-format can say how to read them"));
        }
        Told {
            logs: self.logs,
            lines: self.lines,
            unknown_clients: self.unknown_clients,
            skipped,
            skipped_by_reason: self.skipped,
            warnings,
        }
    }
}

impl Told {
    /// Each log, each reason to skip lines, and each warning, a line for each.
    pub(in crate::command) fn to_text(&self) -> String {
        let mut text = Text::default();
        for log in &self.logs {
            text.line(format_args!("  {}", log.to_text()));
        }
        for (reason, skip) in &self.skipped_by_reason {
            text.line(format_args!(
                "  {} {reason}, {}",
                skip.count,
                self.first(skip)
            ));
        }
        if self.unknown_clients > 0 {
            let count = self.unknown_clients;
            text.line(format_args!(
                "  {count} of clients unknown, decided without their place"
            ));
        }
        for warning in &self.warnings {
            text.line(format_args!("warning: {warning}"));
        }
        text.into_string()
    }

    /// Where the first line of its kind is, and how it looks.
    fn first(&self, skip: &Skip) -> String {
        let file = match self.logs.get(skip.log) {
            Some(log) if self.logs.len() > 1 => format!("`{}` ", log.file),
            _ => String::new(),
        };
        let shown = skip.shown.as_ref().map(|shown| format!(": {shown}"));
        format!(
            "first at {file}line {}{}",
            skip.line,
            shown.unwrap_or_default()
        )
    }

    /// Why nothing is decided.
    pub(in crate::command) fn nothing(&self) -> String {
        if self.lines == 0 {
            return "nothing is decided: there is no line to read\n".to_owned();
        }
        if self.logs.iter().any(|log| log.format.is_some()) {
            return "nothing is decided: no line could be used, for the reasons above\n".to_owned();
        }
        format!(
            "nothing is decided: these formats are read: {}; plain or compressed with gzip, zstd, xz or bzip2.\n\
             --input-format takes such a name, or a pattern like '$remote_addr - - [$time_local] \"$request\" $status'.\n",
            log::KNOWN
        )
    }
}

impl LogReport {
    fn to_text(&self) -> String {
        let format = self.format.as_deref().unwrap_or("no known format");
        let packed = self.compression.map(|name| format!(", {name}"));
        format!(
            "`{}`: {} lines, {format}{}",
            self.file,
            self.lines,
            packed.unwrap_or_default()
        )
    }
}

/// The word for a request that the engine refuses, by the part that it finds fault with first.
fn refused(refusal: &str) -> &'static str {
    let part = refusal.split(['.', ':', ' ']).next().unwrap_or_default();
    match part {
        "client" => "client_refused",
        "headers" => "headers_refused",
        "host" => "host_refused",
        "method" => "method_refused",
        "path" => "path_refused",
        "query" => "query_refused",
        _ => "request_refused",
    }
}
