//! `tradewind replay`: what a policy does with yesterday's traffic.
//!
//! Every line of an access log becomes a query; it is decided in this process or by a running sidecar, one call each.
//! What is kept of the answers is counts, histograms and digests, so a log of any length needs the same memory. A log
//! names people: no client address is ever written, neither in reports nor in answers.

mod asking;
mod decisions;
mod digest;
mod report;
mod stability;
mod tally;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::client::Server;
use super::keys::KeyArgs;
use super::output::Format;
use super::trace::{self, Account};
use super::world::{self, World};
use super::{CommandError, Context, Exit};
use crate::sidecar::wire::proto;
use asking::{Answered, Asker};
use tally::Tally;

/// Arguments of `tradewind replay`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind replay access.log.gz --host www.example.com
  tradewind replay access.log --policy policy.yaml --topology topology.yaml --geo city.mmdb --top 20
  tradewind replay access.log --server 127.0.0.1:7070 --format json
  tradewind replay other_vhosts_access.log.1.gz other_vhosts_access.log
  tradewind replay cdn.log --input-format '$remote_addr [$time_local] $http_host \"$request\" $status'
  tradewind replay edge.json --input-format 'json client=x_forwarded_for host=vhost'
  tradewind replay haproxy.log --input-format 'haproxy host=capture.1'
  tradewind replay decisions.log.1 decisions.log
  tradewind replay decisions.log --policy new.yaml

Formats: combined (or common), vhost_combined, json (Envoy, nginx, Caddy and others), cloudfront, w3c (or iis), haproxy,
envoy, istio; found out from the first lines. Plain or compressed with gzip, zstd, xz or bzip2, whatever the name. Lines that
are not decided are counted by reason. docs/replay.md has every format and every name that counts.

A decision log (serve --decision-log) is known by its first line: every decision is made again and compared with its answer, byte
by byte; with --policy the report says what that would change (docs/audit.md).

The digests tell whether two replays gave the same answers: the first whatever the order of the log, the second in this
order. With --server, name the same --policy, --topology and --geo to have distances and keys in the report as well.

Exit status: 0 good, 1 nothing was decided, equal keys of one client group went to different nodes, or a decision came out
otherwise than in the decision log, 2 wrong usage. Client
addresses are never written.")]
pub struct Args {
    /// Access logs, plain or compressed, in order; - for the standard input
    #[arg(value_name = "LOG", required = true, value_hint = clap::ValueHint::FilePath)]
    pub logs: Vec<PathBuf>,
    /// How they are read
    #[command(flatten)]
    pub reading: trace::Args,
    /// What to decide from
    #[command(flatten)]
    pub world: world::Args,
    /// Ask the sidecar at HOST:PORT or unix:PATH instead of deciding in this process
    #[arg(long, value_name = "ADDR", env = "TRADEWIND_SERVER")]
    pub server: Option<Server>,
    /// How to be let in there
    #[command(flatten)]
    pub keys: KeyArgs,
    /// Calls under way at once with --server, 1 to 1000 [default: 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), env = "TRADEWIND_CONCURRENCY")]
    pub concurrency: Option<u16>,
    /// How many sites, nodes and rules to list [default: 10]
    #[arg(long, value_name = "N", env = "TRADEWIND_TOP")]
    pub top: Option<usize>,
    /// Write every answer to this file, one JSON object a line
    #[arg(long, value_name = "FILE", env = "TRADEWIND_ANSWERS", value_hint = clap::ValueHint::FilePath)]
    pub answers: Option<PathBuf>,
    /// How to write the report
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// An answer as it is written to the file of answers.
#[derive(Serialize)]
struct AnswerLine<'a> {
    /// Of several logs, which one.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    line: u64,
    #[serde(flatten)]
    answer: &'a proto::DecideResponse,
}

/// Replays the log and prints the report.
pub fn run(args: &Args, context: &Context, out: &mut impl Write) -> Result<Exit, CommandError> {
    match decision_logs(args) {
        0 => {}
        all if all == args.logs.len() => return decisions::run(args, context, out),
        _ => return Err(CommandError::MixedLogs),
    }
    // With a server, a world is only for looking at its answers, and only when somebody named it.
    let world = if args.server.is_none() || !args.world.is_example() {
        Some(World::load(&args.world)?)
    } else {
        None
    };
    let mut replay = Replay {
        args,
        answers: args.answers.as_ref().map(create).transpose()?,
        tally: Tally::new(world.as_ref()),
    };
    let mut asker = Asker::open(args, world.as_ref(), context.now)?;
    let started = (context.now)();
    let read = trace::read(
        &args.logs,
        &args.reading,
        context,
        |account, at, request| {
            let answered = asker.ask(at, request)?;
            answered.map_or(Ok(()), |answered| replay.take(account, answered))
        },
    );
    let mut account = read?;
    while let Some(answered) = asker.next()? {
        replay.take(&mut account, answered)?;
    }
    let took = (context.now)().saturating_duration_since(started);
    replay.finish(account, took, out)
}

/// How many of the logs are decision logs.
fn decision_logs(args: &Args) -> usize {
    let logs = args.logs.iter();
    logs.filter(|log| decisions::is_log(log)).count()
}

/// Whether the embedded example decides.
pub(super) fn is_by_example(args: &Args) -> bool {
    args.server.is_none() && args.world.is_example() && decision_logs(args) == 0
}

/// A replay under way.
struct Replay<'a> {
    args: &'a Args,
    answers: Option<(PathBuf, BufWriter<File>)>,
    tally: Tally,
}

impl Replay<'_> {
    fn take(&mut self, account: &mut Account, answered: Answered) -> Result<(), CommandError> {
        let outcome = match answered.outcome {
            Ok(outcome) => outcome,
            Err(refusal) => {
                account.refuse(answered.at, &refusal);
                return Ok(());
            }
        };
        if let Some((path, file)) = &mut self.answers {
            let logs = &self.args.logs;
            let log = logs.get(answered.at.log).filter(|_| logs.len() > 1);
            let line = AnswerLine {
                log: log.map(|log| log.display().to_string()),
                line: answered.at.line,
                answer: &outcome.answer,
            };
            let written = serde_json::to_writer(&mut *file, &line)
                .map_err(std::io::Error::from)
                .and_then(|()| file.write_all(b"\n"));
            written.map_err(|source| CommandError::Write {
                path: path.clone(),
                source,
            })?;
        }
        self.tally.add(&outcome);
        Ok(())
    }

    fn finish(
        mut self,
        account: Account,
        took: Duration,
        out: &mut impl Write,
    ) -> Result<Exit, CommandError> {
        if let Some((path, file)) = &mut self.answers {
            file.flush().map_err(|source| CommandError::Write {
                path: path.clone(),
                source,
            })?;
        }
        let by = match &self.args.server {
            Some(server) => server.to_string(),
            None if self.args.world.is_example() => {
                "this process, by the embedded example".to_owned()
            }
            None => "this process".to_owned(),
        };
        let report = self
            .tally
            .report(by, (account.tell(), took), self.args.top.unwrap_or(10));
        report.print(self.args.format, out)?;
        Ok(if report.is_good() {
            Exit::Good
        } else {
            Exit::Refused
        })
    }
}

fn create(path: &PathBuf) -> Result<(PathBuf, BufWriter<File>), CommandError> {
    let created = File::create(path).map_err(|source| CommandError::Write {
        path: path.clone(),
        source,
    })?;
    Ok((path.clone(), BufWriter::new(created)))
}
