//! Replay of a decision log: every decision is made again from what the log says it was made from, and its answer compared
//! with the one that was given, byte by byte. With another policy: what would change.

mod again;
mod changed;
mod report;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::{Args, world};
use crate::command::trace::input::{self, Inputs};
use crate::command::trace::unpack::Unpacked;
use crate::command::{CommandError, Context, Exit};
use crate::sidecar::decision_log::reader::{Read as Taken, Reader};
use crate::sidecar::decision_log::record::{Decided, FIRST_BYTES};
use crate::sidecar::wire::proto::FollowedState;
use again::{Again, Made};
use changed::Candidate;
use report::Report;

/// Longest line that is read, in bytes: a large topology, or the state of a large fleet in base64.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Whether a file begins as a decision log does. What can be read once only is none.
pub(super) fn is_log(path: &Path) -> bool {
    if !path.is_file() {
        return false;
    }
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut start = Vec::new();
    let most = u64::try_from(FIRST_BYTES.len()).unwrap_or(u64::MAX);
    let read = Unpacked::new(file).take(most).read_to_end(&mut start);
    read.is_ok() && start == FIRST_BYTES.as_bytes()
}

/// Replays the logs, and prints what came out.
pub(super) fn run(
    args: &Args,
    context: &Context,
    out: &mut impl std::io::Write,
) -> Result<Exit, CommandError> {
    if args.server.is_some() || args.world.topology.is_some() || args.answers.is_some() {
        return Err(CommandError::NotForDecisionLogs);
    }
    let text = args.world.policy.as_deref().map(world::read).transpose()?;
    let name = args.world.policy.as_deref().map(world::name);
    let candidate = name.zip(text);
    let mut replay = Replay {
        args,
        reader: Reader::default(),
        again: Again::default(),
        candidate: candidate.map(|(name, text)| Candidate::new(name, text.into())),
        report: Report::default(),
    };
    let started = (context.now)();
    Inputs::open(&args.logs, context.progress)?.each(|path, input| replay.read(path, input))?;
    let took = (context.now)().saturating_duration_since(started);
    let mut report = replay.report;
    report.changes = replay.candidate.map(Candidate::finish);
    report.seconds = took.as_secs_f64();
    report.print(args.format, args.top.unwrap_or(10), out)?;
    Ok(if report.is_good() {
        Exit::Good
    } else {
        Exit::Refused
    })
}

/// A replay under way.
struct Replay<'a> {
    args: &'a Args,
    reader: Reader,
    again: Again,
    candidate: Option<Candidate>,
    report: Report,
}

impl Replay<'_> {
    fn read(&mut self, path: &Path, input: Unpacked<Box<dyn Read>>) -> Result<(), CommandError> {
        let mut input = BufReader::new(input);
        let (mut line, mut number) = (Vec::new(), 0);
        while !self.is_enough() {
            line.clear();
            let read = input
                .by_ref()
                .take(MAX_LINE_BYTES)
                .read_until(b'\n', &mut line);
            if read.map_err(|source| input::unreadable(path, source))? == 0 {
                break;
            }
            number += 1;
            let whole = line.strip_suffix(b"\n").unwrap_or(&line);
            self.line(path, number, whole)?;
        }
        Ok(())
    }

    fn is_enough(&self) -> bool {
        let limit = self.args.reading.limit;
        limit.is_some_and(|limit| self.report.decisions >= limit)
    }

    fn line(&mut self, path: &Path, number: u64, line: &[u8]) -> Result<(), CommandError> {
        let at = || format!("{}:{number}", path.display());
        match self.reader.take(line) {
            Ok(Taken::Ground) => {}
            Ok(Taken::Lost(lost)) => self.report.lost(lost),
            Ok(Taken::Decision(decided, state)) => self.decision(at, &decided, &state)?,
            Err(fault) => self.report.unreadable(at, &fault),
        }
        Ok(())
    }

    fn decision(
        &mut self,
        at: impl Fn() -> String,
        decided: &Decided,
        state: &Arc<FollowedState>,
    ) -> Result<(), CommandError> {
        self.report.decisions += 1;
        let Some(asked) = &decided.asked else {
            self.report.hidden += 1;
            return Ok(());
        };
        let made = match self.again.make(decided, asked, (state, &self.reader)) {
            Ok(made) => made,
            Err(fault) => {
                self.report.unreadable(at, &fault);
                return Ok(());
            }
        };
        self.report.compare(at, &made);
        if let Some(candidate) = &mut self.candidate {
            let Made {
                request,
                known,
                answer,
                ..
            } = &made;
            candidate.try_on(&self.again, (request, known), answer)?;
        }
        Ok(())
    }
}
