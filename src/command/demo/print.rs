//! The story in lines for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::command::output::Text;
use crate::engine::number::from_u64;
use tradewind_demo::show::{Begin, End, Event, Record, Second, Voice};

/// Lines of the table after which its head is printed again.
const HEAD_EVERY: u32 = 20;

/// Width of a time, so that events stand under the table's lines.
const INDENT: &str = "        ";

/// Colours (ECMA-48), used only when the context allows them.
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// Puts into lines what the demo tells.
#[derive(Debug)]
pub(super) struct Printer {
    colour: bool,
    /// The nodes of each site.
    sites: BTreeMap<String, Vec<String>>,
    lines: u32,
}

impl Printer {
    pub(super) fn new(colour: bool) -> Self {
        Self {
            colour,
            sites: BTreeMap::new(),
            lines: 0,
        }
    }

    /// The lines for what is told.
    pub(super) fn lines(&mut self, told: &Record) -> String {
        match told {
            Record::Begin(begin) => self.begin(begin),
            Record::Second(second) => self.second(second),
            Record::Event(event) => self.event(event),
            Record::End(end) => self.end(end),
        }
    }

    fn begin(&mut self, begin: &Begin) -> String {
        self.sites.clone_from(&begin.sites);
        let nodes: usize = begin.sites.values().map(Vec::len).sum();
        let mut text = Text::default();
        text.line(format_args!(
            "{nodes} cache nodes in {} sites, one sidecar, clients near each site: {} requests a second, seed {}",
            begin.sites.len(),
            begin.requests_per_second,
            begin.seed
        ));
        text.line(format_args!(
            "look around meanwhile: {0}/ is the console, {0}/metrics has its numbers; Ctrl-C ends it\n",
            begin.debug
        ));
        text.line(format_args!(
            "Each line is a second: the share of requests that each site and node served, in percent."
        ));
        text.into_string()
    }

    fn head(&self) -> String {
        let mut line = format!("{:>5} {:>6}", "time", "req/s");
        for (site, nodes) in &self.sites {
            push(&mut line, format_args!("  | {site:>5}"));
            for node in nodes {
                let short = node.rsplit('-').next().unwrap_or(node);
                push(&mut line, format_args!(" {:>3}", format!("-{short}")));
            }
        }
        push(
            &mut line,
            format_args!(
                "  | {:>5} {:>6} {:>5} {:>6} {:>6}",
                "retry", "failed", "hits", "p50", "p99"
            ),
        );
        self.paint(BOLD, &line)
    }

    fn second(&mut self, second: &Second) -> String {
        let mut text = Text::default();
        if self.lines.is_multiple_of(HEAD_EVERY) {
            text.line(format_args!("{}", self.head()));
        }
        self.lines += 1;
        let served = |node: &String| second.served.get(node).copied().unwrap_or(0);
        let all: u64 = second.served.values().sum();
        let percent = |part: u64| 100.0 * from_u64(part) / from_u64(all.max(1));
        let mut line = format!("{:>4}s {:>6}", second.at_s, second.requests);
        for nodes in self.sites.values() {
            let site: u64 = nodes.iter().map(served).sum();
            push(&mut line, format_args!("  | {:>4.0}%", percent(site)));
            for node in nodes {
                push(&mut line, format_args!(" {:>3.0}", percent(served(node))));
            }
        }
        let failed = format!("{:>6}", second.failed);
        let failed = match second.failed {
            0 => failed,
            _ => self.paint(RED, &failed),
        };
        let ms = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}ms"))
        };
        let hits = second
            .hit_ratio
            .map_or_else(|| "-".to_owned(), |ratio| format!("{:.0}%", 100.0 * ratio));
        text.line(format_args!(
            "{line}  | {:>5} {failed} {hits:>5} {:>6} {:>6}",
            second.retried,
            ms(second.p50_ms),
            ms(second.p99_ms)
        ));
        text.into_string()
    }

    fn event(&self, event: &Event) -> String {
        let (who, colour) = match event.voice {
            Voice::Demo => ("DEMO", YELLOW),
            Voice::Sidecar => ("sidecar", CYAN),
            Voice::Explanation => ("explain", DIM),
        };
        let line = format!("{:>6.1}s {who:>8}: {}", event.at_s, event.text);
        format!("{}\n", self.paint(colour, &line))
    }

    fn end(&self, end: &End) -> String {
        if end.interrupted {
            return "\nended before its time, nothing is judged\n".to_owned();
        }
        let mut text = Text::default();
        text.line(format_args!(
            "\n{}",
            self.paint(BOLD, "What was expected, and what came")
        ));
        for expectation in &end.expectations {
            let (word, colour) = if expectation.held {
                ("pass", GREEN)
            } else {
                ("FAIL", RED)
            };
            text.line(format_args!(
                "  {}  {}",
                self.paint(colour, word),
                expectation.expected
            ));
            text.line(format_args!("{INDENT}{}", expectation.measured));
        }
        let held = end.expectations.iter().filter(|one| one.held).count();
        text.line(format_args!(
            "\n{held} of {} expectations held",
            end.expectations.len()
        ));
        text.into_string()
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour {
            format!("{colour}{text}{PLAIN}")
        } else {
            text.to_owned()
        }
    }
}

fn push(line: &mut String, more: std::fmt::Arguments<'_>) {
    let written = line.write_fmt(more);
    debug_assert!(written.is_ok(), "a string takes any text");
}
