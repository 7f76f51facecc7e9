//! `tradewind replay`: what a policy does with yesterday's traffic.
//!
//! Every line of an access log becomes a query; it is decided in this process or by a running sidecar, one call each.
//! What is kept of the answers is counts, histograms and digests, so a log of any length needs the same memory. A log
//! names people: no client address is ever written, neither in reports nor in answers.

mod asking;
mod digest;
mod report;
mod stability;
mod tally;

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::client::Server;
use super::output::Format;
use super::trace::input::{self, Inputs};
use super::trace::log::{self, Line, Log, Malformed};
use super::trace::sample;
use super::trace::unpack::{self, Unpacked};
use super::world::{self, World};
use super::{CommandError, Context, Exit};
use crate::engine::model::printable;
use crate::sidecar::wire::proto;
use asking::{Answered, Asker, At};
use report::LogReport;
use tally::Tally;

/// Most characters shown of what the engine says to a request.
const MAX_REFUSAL: usize = 120;

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

Formats: combined (or common), vhost_combined, json (Envoy, nginx, Caddy and others), cloudfront, w3c (or iis), haproxy,
envoy, istio; found out from the first lines. Plain or compressed with gzip, zstd, xz or bzip2, whatever the name. Lines that
are not decided are counted by reason. docs/replay.md has every format and every name that counts.

The digests tell whether two replays gave the same answers: the first whatever the order of the log, the second in this
order. With --server, name the same --policy, --topology and --geo to have distances and keys in the report as well.

Exit status: 0 good, 1 nothing was decided or equal keys of one client group went to different nodes, 2 wrong usage. Client
addresses are never written.")]
pub struct Args {
    /// Access logs, plain or compressed, in order; - for the standard input
    #[arg(value_name = "LOG", required = true, value_hint = clap::ValueHint::FilePath)]
    pub logs: Vec<PathBuf>,
    /// How lines are laid out: a name, a name with choices like 'json host=vhost', or a pattern of nginx's variables
    /// [default: found out from the first lines of each log]
    #[arg(long, value_name = "NAME|PATTERN", env = "TRADEWIND_INPUT_FORMAT")]
    pub input_format: Option<log::Format>,
    /// What to decide from
    #[command(flatten)]
    pub world: world::Args,
    /// Ask the sidecar at HOST:PORT or unix:PATH instead of deciding in this process
    #[arg(long, value_name = "ADDR", env = "TRADEWIND_SERVER")]
    pub server: Option<Server>,
    /// Calls under way at once with --server, 1 to 1000 [default: 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), env = "TRADEWIND_CONCURRENCY")]
    pub concurrency: Option<u16>,
    /// The host of requests whose lines name none
    #[arg(
        long,
        value_name = "HOST",
        default_value = "",
        env = "TRADEWIND_HOST",
        hide_default_value = true
    )]
    pub host: String,
    /// Stop after this many lines
    #[arg(long, value_name = "N", env = "TRADEWIND_LIMIT")]
    pub limit: Option<u64>,
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
    let inputs = Inputs::open(&args.logs, context.progress)?;
    let started = (context.now)();
    let mut number = 0;
    inputs.each(|path, input| {
        replay.read(number, path, input, &mut asker)?;
        number += 1;
        Ok(())
    })?;
    while let Some(answered) = asker.next()? {
        replay.take(answered)?;
    }
    let took = (context.now)().saturating_duration_since(started);
    replay.finish(took, out)
}

/// A replay under way.
struct Replay<'a> {
    args: &'a Args,
    answers: Option<(PathBuf, BufWriter<File>)>,
    tally: Tally,
}

impl Replay<'_> {
    /// Reads one log and has its requests decided.
    fn read(
        &mut self,
        number: usize,
        path: &Path,
        input: Unpacked<Box<dyn Read>>,
        asker: &mut Asker<'_>,
    ) -> Result<(), CommandError> {
        let mut log = Log::new(input, self.args.input_format.clone());
        let before = self.tally.lines();
        let mut last = 0;
        while self
            .args
            .limit
            .is_none_or(|limit| self.tally.lines() < limit)
        {
            let line = match log.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                // What the system says is about the disk, and what a decoder says about the file.
                Err(source) if source.raw_os_error().is_some() => {
                    return Err(input::unreadable(path, source));
                }
                Err(source) => {
                    let file = path.display();
                    let warning = format!(
                        "`{file}` is read up to line {last} only, for it is cut or broken there: {source}"
                    );
                    self.tally.warn(warning);
                    break;
                }
            };
            last = line.number;
            let at = At {
                log: number,
                line: line.number,
            };
            if let Some(request) = self.request(at, line)
                && let Some(answered) = asker.ask(at, request)?
            {
                self.take(answered)?;
            }
        }
        if let Some(remark) = log.source().remark() {
            self.tally.warn(format!("`{}`: {remark}", path.display()));
        }
        self.tally.log(LogReport {
            file: path.display().to_string(),
            format: log.format().map(log::Format::describe),
            compression: log.source().packing().map(unpack::Packing::name),
            lines: self.tally.lines() - before,
        });
        Ok(())
    }

    /// What a line asks for, if it asks for something; what it says is counted.
    fn request(&mut self, at: At, line: Line<'_>) -> Option<proto::DecideRequest> {
        let entry = line.entry.transpose()?;
        self.tally.line();
        match entry {
            Ok(entry) => {
                if !entry.knows_client() {
                    self.tally.unknown_client();
                }
                let request = entry.request(&self.args.host);
                if request.host.is_empty() {
                    self.tally.no_host();
                }
                Some(request)
            }
            Err(malformed) => {
                self.tally.skip(at, malformed.name(), || match malformed {
                    // There is nothing left of the one, and the other names a client in some way.
                    Malformed::TooLong | Malformed::Client => None,
                    _ => Some(sample::sample(line.text)),
                });
                None
            }
        }
    }

    fn take(&mut self, answered: Answered) -> Result<(), CommandError> {
        let outcome = match answered.outcome {
            Ok(outcome) => outcome,
            Err(refusal) => {
                let reason = refused(&refusal);
                // Words of our own, but for an address that they may quote.
                let shown = || match reason {
                    "client_refused" => None,
                    _ => Some(printable(&refusal, MAX_REFUSAL)),
                };
                self.tally.skip(answered.at, reason, shown);
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

    fn finish(mut self, took: Duration, out: &mut impl Write) -> Result<Exit, CommandError> {
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
        let report = self.tally.report(by, took, self.args.top.unwrap_or(10));
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
