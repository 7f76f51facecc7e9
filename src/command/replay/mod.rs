//! `tradewind replay`: what a policy does with yesterday's traffic.
//!
//! Every line of an access log becomes a query; it is decided in this process or by a running sidecar, one call each.
//! What is kept of the answers is counts, histograms and digests, so a log of any length needs the same memory. A log
//! names people: no client address is ever written, neither in reports nor in answers.

mod asking;
mod digest;
mod log;
mod report;
mod stability;
mod tally;

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::client::Server;
use super::output::Format;
use super::world::{self, World};
use super::{CommandError, Context, Exit};
use crate::sidecar::wire::proto;
use asking::{Answered, Asker};
use log::{Lines, Malformed};
use tally::Tally;

/// Logs smaller than this are done before a progress bar could be read, in bytes.
const LONG_LOG_BYTES: u64 = 1 << 20;

/// Room for reading the log, in bytes.
const READ_BYTES: usize = 64 << 10;

/// How a gzip file begins (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Arguments of `tradewind replay`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind replay access.log.gz --host www.example.com
  tradewind replay access.log --policy policy.yaml --topology topology.yaml --geo city.mmdb --top 20
  tradewind replay access.log --server 127.0.0.1:7070 --format json

The digests tell whether two replays gave the same answers: the first whatever the order of the log, the second in this
order. With --server, name the same --policy, --topology and --geo to have distances and keys in the report as well.

Exit status: 0 good, 1 equal keys of one client group went to different nodes, 2 wrong usage. Client addresses are never
written.")]
pub struct Args {
    /// Access log in common or combined format, plain or gzip
    #[arg(value_name = "LOG", value_hint = clap::ValueHint::FilePath)]
    pub log: PathBuf,
    /// What to decide from
    #[command(flatten)]
    pub world: world::Args,
    /// Ask the sidecar at HOST:PORT or unix:PATH instead of deciding in this process
    #[arg(long, value_name = "ADDR", env = "TRADEWIND_SERVER")]
    pub server: Option<Server>,
    /// Calls under way at once with --server, 1 to 1000 [default: 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), env = "TRADEWIND_CONCURRENCY")]
    pub concurrency: Option<u16>,
    /// The host of all requests, which the log's format leaves out
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
    let log = open(args, context)?;
    let started = (context.now)();
    replay.read(Lines::new(log.text), &mut asker)?;
    let took = (context.now)().saturating_duration_since(started);
    log.progress.finish_and_clear();
    replay.finish(took, out)
}

/// A replay under way.
struct Replay<'a> {
    args: &'a Args,
    answers: Option<(PathBuf, BufWriter<File>)>,
    tally: Tally,
}

impl Replay<'_> {
    fn read(
        &mut self,
        mut lines: Lines<impl Read>,
        asker: &mut Asker<'_>,
    ) -> Result<(), CommandError> {
        let unreadable = |source| CommandError::Read {
            path: self.args.log.clone(),
            source,
        };
        while self.args.limit.is_none_or(|limit| lines.count() < limit) {
            let Some(line) = lines.next().map_err(unreadable)? else {
                break;
            };
            self.tally.lines += 1;
            let request = match line.entry {
                Ok(entry) => entry.request(&self.args.host),
                Err(malformed) => {
                    self.tally.skip(line.number, malformed);
                    continue;
                }
            };
            if let Some(answered) = asker.ask(line.number, request)? {
                self.take(answered)?;
            }
        }
        while let Some(answered) = asker.next()? {
            self.take(answered)?;
        }
        Ok(())
    }

    fn take(&mut self, answered: Answered) -> Result<(), CommandError> {
        let Some(outcome) = answered.outcome else {
            self.tally.skip(answered.line, Malformed::Refused);
            return Ok(());
        };
        if let Some((path, file)) = &mut self.answers {
            let line = AnswerLine {
                line: answered.line,
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
            None => "this process".to_owned(),
        };
        let report = self.tally.report(by, took, self.args.top.unwrap_or(10));
        report.print(self.args.format, out)?;
        Ok(if report.is_stable() {
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

/// A log that is open, and a progress bar that follows how much of the file is read.
struct Log {
    text: Box<dyn Read>,
    progress: ProgressBar,
}

fn open(args: &Args, context: &Context) -> Result<Log, CommandError> {
    let unreadable = |source| CommandError::Read {
        path: args.log.clone(),
        source,
    };
    let file = File::open(&args.log).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let target = if context.progress && length >= LONG_LOG_BYTES {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let progress = ProgressBar::with_draw_target(Some(length), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {eta} left") {
        progress.set_style(style);
    }
    let mut file = BufReader::with_capacity(READ_BYTES, progress.wrap_read(file));
    let first = std::io::BufRead::fill_buf(&mut file).map_err(unreadable)?;
    let text: Box<dyn Read> = if first.starts_with(&GZIP_MAGIC) {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    Ok(Log { text, progress })
}
