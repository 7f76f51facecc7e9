//! A line for each second, as the demo prints them: for a pipe, a log, or a terminal that scrolls.

use std::fmt::Write as _;

use super::moment::Moment;
use crate::command::see::number::{amount, ms};
use crate::command::see::table::{Paint, Style};

/// Lines after which the head is printed again, for what are the busiest sites then.
const HEAD_EVERY: u32 = 20;

/// Sites with a column.
const SITES: usize = 6;

/// Puts moments into lines.
#[derive(Debug)]
pub(super) struct Lines {
    paint: Paint,
    /// The sites with columns.
    busiest: Vec<String>,
    printed: u32,
}

impl Lines {
    pub(super) fn new(paint: Paint) -> Self {
        Self {
            paint,
            busiest: Vec::new(),
            printed: 0,
        }
    }

    /// The line of a moment, below a head where one is due.
    pub(super) fn line(&mut self, moment: &Moment) -> String {
        let mut text = String::new();
        // Sites may be known later than the first line.
        let has_news = self.busiest.is_empty() && !moment.sites.is_empty();
        if self.printed.is_multiple_of(HEAD_EVERY) || has_news {
            self.printed = 0;
            self.busiest = busiest(moment);
            push(&mut text, format_args!("{}\n", self.head()));
        }
        self.printed += 1;
        let (overview, recent) = (&moment.overview, &moment.recent);
        let alarming = |words: String, value: Option<f64>| match value {
            Some(value) if value > 0.0 => self.paint.text(Style::Red, &words),
            _ => words,
        };
        let (refused, failed) = (overview.refused_per_s, recent.failed_per_s);
        let out = moment.out();
        push(
            &mut text,
            format_args!(
                "{:>8} {:>8} {} {} {:>8} {:>8} {}",
                moment.time(),
                amount(overview.decisions_per_s),
                alarming(format!("{:>8}", amount(refused)), refused),
                alarming(format!("{:>7}", amount(failed)), failed),
                ms(recent.p50_ms),
                ms(recent.p99_ms),
                if out > 0 {
                    self.paint.text(Style::Red, &format!("{out:>4}"))
                } else {
                    format!("{out:>4}")
                },
            ),
        );
        if !self.busiest.is_empty() {
            text.push_str("  |");
        }
        let all: f64 = moment.sites.iter().filter_map(|site| site.rate).sum();
        for id in &self.busiest {
            let site = moment.sites.iter().find(|site| site.id == *id);
            let rate = site.and_then(|site| site.rate);
            let percent = rate.map(|rate| format!("{:.0}%", 100.0 * rate / all.max(1e-9)));
            let percent = percent.unwrap_or_else(|| "-".to_owned());
            let width = id.chars().count().max(4);
            push(&mut text, format_args!(" {percent:>width$}"));
        }
        text.push('\n');
        text
    }

    fn head(&self) -> String {
        let mut head = format!(
            "{:>8} {:>8} {:>8} {:>7} {:>8} {:>8} {:>4}",
            "time", "decide/s", "refuse/s", "fail/s", "p50", "p99", "out"
        );
        if !self.busiest.is_empty() {
            head.push_str("  |");
        }
        for id in &self.busiest {
            push(&mut head, format_args!(" {id:>4}"));
        }
        self.paint.text(Style::Bold, &head)
    }
}

fn busiest(moment: &Moment) -> Vec<String> {
    let mut sites: Vec<_> = moment.sites.iter().collect();
    sites.sort_by(|a, b| b.rate.unwrap_or(0.0).total_cmp(&a.rate.unwrap_or(0.0)));
    sites
        .iter()
        .take(SITES)
        .map(|site| site.id.clone())
        .collect()
}

fn push(line: &mut String, more: std::fmt::Arguments<'_>) {
    let written = line.write_fmt(more);
    debug_assert!(written.is_ok(), "a string takes any text");
}
