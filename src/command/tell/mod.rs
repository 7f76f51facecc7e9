//! `tradewind tell`: how attempts went, read from a proxy's log and told to the sidecar.
//!
//! For proxies that can log but not tell, as nginx and HAProxy. What is told is about now: while the sidecar cannot be
//! reached, lines are dropped and counted, and nothing old is told when it is back. The proxy never waits for this.

mod lines;
mod source;
mod tail;
mod tally;

use std::io::Write;
use std::time::Duration;

use prost::Message as _;
use tokio::sync::mpsc::Receiver;

pub use source::{Source, SourceError};

use super::client::{Connection, Server, Way};
use super::keys::KeyArgs;
use super::output::{self, Format};
use super::{CommandError, Context, Exit};
use crate::sidecar::intake::feedback::{MAX_OUTCOMES, MAX_REPORT_BYTES};
use crate::sidecar::wire::json;
use crate::sidecar::wire::proto::feedback_service_client::FeedbackServiceClient;
use crate::sidecar::wire::proto::{Outcome, ReportRequest};
use crate::sidecar::wire::report::reporter_name;
use lines::Line;
use tally::Tally;
use tradewind_demo::signals;

/// How long lines wait for others to go with them.
const GATHERING: Duration = Duration::from_millis(100);

/// How long one batch may take to tell.
const TELLING: Duration = Duration::from_secs(2);

/// How long the sidecar is left alone when it could not be told.
const PAUSE: Duration = Duration::from_secs(1);

/// Arguments of `tradewind tell`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind tell syslog:127.0.0.1:7074
  tradewind tell /var/log/nginx/outcomes.json --server unix:/run/tradewind.sock
  tradewind tell - <outcomes.json

A line is a JSON object, after anything that a syslog daemon puts before it: for one attempt with the fields of
tradewind.v1.Outcome, or as nginx and HAProxy log all attempts of a request (docs/outcomes.md; examples/nginx and
examples/haproxy have the log formats). A FILE is followed as it grows, from its end, also when it is rotated; one that is
not there is waited for, which is said.

Ends at the end of standard input, else when it is told to (SIGINT, SIGTERM). Exit status: 0 all that was read was told,
1 something was refused, not readable or dropped, or the FILE was not there in the end, 2 wrong usage.")]
pub struct Args {
    /// Where lines come from: FILE, `syslog:ADDR:PORT` (UDP) or `-` (standard input)
    #[arg(value_name = "SOURCE")]
    pub source: Source,
    /// The sidecar, HOST:PORT or unix:PATH
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:7070",
        env = "TRADEWIND_SERVER"
    )]
    pub server: Server,
    /// How to be let in there
    #[command(flatten)]
    pub keys: KeyArgs,
    /// Who tells, up to 64 bytes: of several behind a peer that the sidecar trusts
    #[arg(long, value_name = "NAME", default_value = "", env = "TRADEWIND_REPORTER", value_parser = reporter)]
    pub reporter: String,
    /// Begin with what a FILE holds already
    #[arg(long, env = "TRADEWIND_FROM_START")]
    pub from_start: bool,
    /// How to write what came of it
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

fn reporter(name: &str) -> Result<String, String> {
    let checked = reporter_name(name).map(str::to_owned);
    checked.map_err(|fault| fault.to_string())
}

/// Tells until the source ends or a signal comes, then says what came of it.
pub(super) fn run(
    args: &Args,
    context: &Context,
    out: &mut impl Write,
) -> Result<Exit, CommandError> {
    let connection = Connection::later(&args.server, &args.keys)?;
    let lines = args.source.open(args.from_start)?;
    let mut teller = Teller {
        client: FeedbackServiceClient::new(connection.way.clone()),
        args,
        tally: Tally::new(context.now),
        out,
    };
    teller.say(format_args!(
        "tells {} what {} says",
        args.server, args.source
    ))?;
    connection.wait(teller.work(lines))?;
    teller.tally.print(args.format, teller.out)?;
    Ok(teller.tally.exit())
}

/// Whoever reads lines and tells of them.
struct Teller<'a, W> {
    client: FeedbackServiceClient<Way>,
    args: &'a Args,
    tally: Tally,
    out: &'a mut W,
}

impl<W: Write> Teller<'_, W> {
    /// Reads and tells until the lines end, or somebody asks for the end.
    async fn work(&mut self, mut lines: Receiver<Line>) -> Result<(), CommandError> {
        let ended = signals::end_asked_for().map_err(CommandError::Signals)?;
        tokio::pin!(ended);
        let mut is_over = false;
        while !is_over {
            let mut batch = Vec::new();
            tokio::select! {
                // What has come before the end still counts.
                biased;
                () = gather(&mut lines, &mut batch) => is_over = batch.is_empty(),
                () = &mut ended => is_over = true,
            }
            let outcomes = self.read(batch)?;
            let all_told = self.tell(outcomes).await?;
            if !all_told && !is_over {
                tokio::select! {
                    count = drop_lines(&mut lines) => self.tally.dropped += count,
                    () = &mut ended => is_over = true,
                }
            }
        }
        Ok(())
    }

    /// The outcomes of some lines; what cannot be read is counted and shown now and then.
    fn read(&mut self, lines: Vec<Line>) -> Result<Vec<Outcome>, CommandError> {
        let mut outcomes = Vec::new();
        for line in lines {
            let bytes = match line {
                Line::Whole(bytes) => Some(bytes),
                Line::TooLong => None,
                Line::Away(why) => {
                    self.tally.is_away = true;
                    let source = &self.args.source;
                    self.say(format_args!(
                        "{source} cannot be read, it is waited for: {why}"
                    ))?;
                    continue;
                }
                Line::Back => {
                    self.tally.is_away = false;
                    self.say(format_args!(
                        "{} is there, and read from its start",
                        self.args.source
                    ))?;
                    continue;
                }
            };
            self.tally.lines += 1;
            let fault = match bytes {
                Some(bytes) => match json::outcomes(object_in(&bytes)) {
                    Ok(told) => {
                        self.tally.without_attempt += u64::from(told.is_empty());
                        outcomes.extend(told);
                        continue;
                    }
                    Err(fault) => fault.to_string(),
                },
                None => format!("has more than {} bytes", lines::MAX_LINE_BYTES),
            };
            self.tally.unreadable += 1;
            let number = self.tally.lines;
            self.tally
                .complain(format_args!("line {number}: {fault}"), self.out)?;
        }
        Ok(outcomes)
    }

    /// Tells outcomes; false if the sidecar did not take them.
    async fn tell(&mut self, outcomes: Vec<Outcome>) -> Result<bool, CommandError> {
        let mut batches = batches(outcomes).into_iter();
        while let Some(batch) = batches.next() {
            let count = batch.len() as u64;
            let request = ReportRequest {
                outcomes: batch,
                reporter: self.args.reporter.clone(),
            };
            let answered = tokio::time::timeout(TELLING, self.client.report_unary(request)).await;
            let why = match answered {
                Ok(Ok(response)) => {
                    if self.tally.is_down {
                        self.tally.is_down = false;
                        let (server, dropped) = (&self.args.server, self.tally.dropped);
                        self.say(format_args!(
                            "{server} takes outcomes again, {dropped} were dropped so far"
                        ))?;
                    }
                    self.tally.add(&response.into_inner(), self.out)?;
                    continue;
                }
                Ok(Err(status)) => status.message().to_owned(),
                Err(_) => format!("no answer within {} s", TELLING.as_secs()),
            };
            let rest: usize = batches.map(|batch| batch.len()).sum();
            self.tally.dropped += count + rest as u64;
            if !self.tally.is_down {
                self.tally.is_down = true;
                let server = &self.args.server;
                self.say(format_args!(
                    "{server} takes no outcomes, they are dropped until it does: {why}"
                ))?;
            }
            return Ok(false);
        }
        Ok(true)
    }

    fn say(&mut self, words: std::fmt::Arguments<'_>) -> Result<(), CommandError> {
        output::text(self.out, &format!("{words}\n"))?;
        self.out.flush().map_err(CommandError::Output)
    }
}

/// Waits for a line, and a moment for others that go with it. None if there will be no more.
async fn gather(lines: &mut Receiver<Line>, batch: &mut Vec<Line>) {
    let Some(first) = lines.recv().await else {
        return;
    };
    batch.push(first);
    let moment = tokio::time::sleep(GATHERING);
    tokio::pin!(moment);
    while batch.len() < MAX_OUTCOMES {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => batch.push(line),
                None => return,
            },
            () = &mut moment => return,
        }
    }
}

/// Takes lines for nothing, so that what is told later is not old; how many.
async fn drop_lines(lines: &mut Receiver<Line>) -> u64 {
    let pause = tokio::time::sleep(PAUSE);
    tokio::pin!(pause);
    let mut count = 0;
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(_) => count += 1,
                None => return count,
            },
            () = &mut pause => return count,
        }
    }
}

/// The object in a line, without what a syslog daemon puts before it.
fn object_in(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| *byte == b'{').unwrap_or(0);
    line.get(start..).unwrap_or_default()
}

/// Outcomes in batches that the sidecar takes.
fn batches(outcomes: Vec<Outcome>) -> Vec<Vec<Outcome>> {
    // What is around the outcomes of a message: its reporter, and a few bytes for each.
    const MOST_BYTES: usize = MAX_REPORT_BYTES - (8 << 10);
    let (mut batches, mut bytes) = (Vec::<Vec<Outcome>>::new(), 0);
    for outcome in outcomes {
        let length = outcome.encoded_len() + 4;
        match batches.last_mut() {
            Some(last) if last.len() < MAX_OUTCOMES && bytes + length <= MOST_BYTES => {
                last.push(outcome);
                bytes += length;
            }
            _ => {
                batches.push(vec![outcome]);
                bytes = length;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_syslog_daemon_puts_before_an_object_is_left_out() {
        let line = b"<190>Nov 26 00:31:00 edge nginx: {\"node\": \"a\"}";
        assert_eq!(object_in(line), b"{\"node\": \"a\"}");
        assert_eq!(object_in(b"nothing"), b"nothing");
        assert_eq!(object_in(b""), b"");
    }

    #[test]
    fn batches_are_as_large_as_the_sidecar_takes() {
        let outcome = |bytes: usize| Outcome {
            node: "n".repeat(bytes),
            ..Outcome::default()
        };
        let sizes = |outcomes| {
            let batches = batches(outcomes).into_iter();
            batches.map(|batch| batch.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(Vec::new()), Vec::<usize>::new());
        assert_eq!(sizes(vec![outcome(4); 2_500]), [1_024, 1_024, 452]);
        let large = vec![outcome(lines::MAX_LINE_BYTES); 40];
        for batch in batches(large) {
            let message = ReportRequest {
                outcomes: batch,
                reporter: "r".repeat(64),
            };
            assert!(message.encoded_len() <= MAX_REPORT_BYTES);
        }
    }
}
