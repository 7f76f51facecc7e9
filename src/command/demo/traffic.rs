//! `tradewind demo traffic`: requests through a proxy.

use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

use crate::command::output::{self, Format, Text, table, trimmed};
use crate::command::{CommandError, Exit};
use crate::engine::number::from_u64;
use tradewind_demo::audience::Audience;
use tradewind_demo::traffic::{self, Report, Route, Visit};

/// Arguments of `tradewind demo traffic`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind demo traffic --through http://127.0.0.1:8080
  tradewind demo traffic --through http://127.0.0.1:8080 --requests 10000 --host www.example.com --format json

Requests are GET /object/N over kept HTTP/1.1 connections, with X-Forwarded-For of clients in 192.0.2.0/24 (Frankfurt),
198.51.100.0/24 (Madrid) and 203.0.113.0/24 (Warsaw); a policy's geo.overrides can say so. The same seed sends the same
requests. Where they went is what nodes say in x-node, x-site and x-cache, as those of `tradewind demo nodes` do.

Exit status: 0 every request was answered with a status below 400, 1 not every one, 2 wrong usage.")]
pub struct Args {
    /// The proxy, http://HOST:PORT
    #[arg(long, value_name = "URL", env = "TRADEWIND_DEMO_THROUGH")]
    pub through: Through,
    /// The Host header [default: the proxy's]
    #[arg(long, value_name = "HOST", env = "TRADEWIND_DEMO_HOST", value_parser = host)]
    pub host: Option<String>,
    /// How many requests, 1 to 10000000
    #[arg(long, value_name = "N", default_value_t = 1_000, env = "TRADEWIND_DEMO_REQUESTS", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub requests: u32,
    /// Requests under way at once, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 16, env = "TRADEWIND_DEMO_CONCURRENCY", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub concurrency: u16,
    /// How many objects, 1 to 10000000
    #[arg(long, value_name = "N", default_value_t = 1_000, env = "TRADEWIND_DEMO_OBJECTS", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub objects: u32,
    /// How unlike their popularity is, 0 (alike) to 3: the k-th has a share in proportion to 1 / k^S
    #[arg(long, value_name = "S", default_value_t = 0.9, env = "TRADEWIND_DEMO_ZIPF", value_parser = exponent)]
    pub zipf: f64,
    /// What chooses clients and objects
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        env = "TRADEWIND_DEMO_SEED"
    )]
    pub seed: u64,
    /// How long an answer may take, 1 to 600000 ms
    #[arg(long, value_name = "MS", default_value_t = 10_000, env = "TRADEWIND_DEMO_TIMEOUT_MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub timeout_ms: u64,
    /// How to write the report
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// A proxy's address: `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Through(String);

/// Not a proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a proxy, must be http://HOST:PORT")]
pub struct ThroughError {
    value: String,
}

impl FromStr for Through {
    type Err = ThroughError;

    fn from_str(text: &str) -> Result<Self, ThroughError> {
        let address = text.strip_prefix("http://");
        let address = address.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let authority = address.and_then(|address| address.parse::<http::uri::Authority>().ok());
        let authority = authority.filter(|authority| {
            let port = authority.port_u16().is_some_and(|port| port > 0);
            port && !authority.host().is_empty() && !authority.as_str().contains('@')
        });
        authority
            .map(|authority| Self(authority.to_string()))
            .ok_or_else(|| ThroughError {
                value: text.chars().take(80).collect(),
            })
    }
}

fn host(text: &str) -> Result<String, String> {
    let good = text.parse::<http::uri::Authority>().is_ok();
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("`{text}` is not a host, must be HOST or HOST:PORT"))
}

fn exponent(text: &str) -> Result<f64, String> {
    let value: Option<f64> = text.parse().ok();
    value
        .filter(|value| (0.0..=3.0).contains(value))
        .ok_or_else(|| format!("`{text}` is not an exponent, must be 0 to 3"))
}

/// Sends the requests and prints where they went.
pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    let route = Route {
        proxy: args.through.0.clone(),
        host: args.host.clone().unwrap_or_else(|| args.through.0.clone()),
        concurrency: args.concurrency.into(),
        patience: Duration::from_millis(args.timeout_ms),
    };
    let audience = Audience::new(args.seed, args.objects, args.zipf);
    let count = usize::try_from(args.requests).unwrap_or(usize::MAX);
    let visits = audience.take(count).map(|ask| Visit {
        client: ask.client.into(),
        target: ask.path(),
    });
    let report = traffic::run(&route, visits).map_err(CommandError::Traffic)?;
    match args.format {
        Format::Json => output::json(out, &report)?,
        Format::Text => output::text(out, &lines(&report))?,
    }
    Ok(if report.failed == 0 {
        Exit::Good
    } else {
        Exit::Refused
    })
}

fn lines(report: &Report) -> String {
    let mut text = Text::default();
    let rate = from_u64(report.requests) / report.seconds.max(1e-6);
    text.line(format_args!(
        "{} requests in {:.1} s, {rate:.0} a second: {} failed",
        report.requests, report.seconds, report.failed
    ));
    let statuses = report.statuses.iter();
    let mut outcomes: Vec<String> = statuses
        .map(|(status, count)| format!("{count} x {status}"))
        .collect();
    let unanswered = report.unanswered.iter();
    outcomes.extend(unanswered.map(|(why, count)| format!("{count} x {why}")));
    text.line(format_args!("answers: {}", outcomes.join(", ")));
    if let (Some(p50), Some(p99)) = (report.p50_ms, report.p99_ms) {
        text.line(format_args!("times: p50 {p50:.1} ms, p99 {p99:.1} ms"));
    }
    if report.nodes.is_empty() {
        return text.into_string();
    }
    let head = [
        "site",
        "node",
        "answers",
        "share",
        "hits",
        "misses",
        "hit ratio",
    ];
    let mut nodes = table(&head, &[0, 1]);
    let all: u64 = report.nodes.iter().map(|node| node.answers).sum();
    for node in &report.nodes {
        let percent = |part: u64, all: u64| match all {
            0 => "-".to_owned(),
            _ => format!("{:.1} %", 100.0 * from_u64(part) / from_u64(all)),
        };
        nodes.add_row([
            node.site.clone(),
            node.node.clone(),
            node.answers.to_string(),
            percent(node.answers, all),
            node.hits.to_string(),
            node.misses.to_string(),
            percent(node.hits, node.hits + node.misses),
        ]);
    }
    text.lines(&trimmed(&nodes));
    text.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_urls_without_a_path() {
        for (text, address) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://localhost:80/", "localhost:80"),
            ("http://[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(text.parse::<Through>().unwrap().0, address);
        }
        for bad in [
            "",
            "127.0.0.1:80",
            "https://a:1",
            "http://a",
            "http://a:0",
            "http://a:1/b",
            "http://:1",
            "http://b@a:1",
        ] {
            let error = bad.parse::<Through>().unwrap_err().to_string();
            assert!(error.contains("must be http://HOST:PORT"), "{bad}: {error}");
        }
    }
}
