//! Access logs: opened, unpacked, and read request by request, whatever wrote them.
//!
//! A log names people: what is said of its lines never shows a client's address.

mod account;
pub(super) mod input;
pub mod log;
mod sample;
pub(super) mod unpack;

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{CommandError, Context};
use crate::sidecar::wire::proto;
use input::Inputs;
use log::{Line, Log, Malformed};
use unpack::Unpacked;

pub(super) use account::{Account, Told};

/// How logs are read.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// How lines are laid out: a name, a name with choices like 'json host=vhost', or a pattern of nginx's variables
    /// [default: found out from the first lines of each log]
    #[arg(long, value_name = "NAME|PATTERN", env = "TRADEWIND_INPUT_FORMAT")]
    pub input_format: Option<log::Format>,
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
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    /// Which of the logs, from 0.
    pub(super) log: usize,
    /// The line of the log, from 1.
    pub(super) line: u64,
}

/// Reads logs one behind another and gives each request to `take`, with the account of what was read so far: so that it can
/// add requests that nobody can decide. Gives back the account.
pub(super) fn read(
    logs: &[PathBuf],
    args: &Args,
    context: &Context,
    take: impl FnMut(&mut Account, At, proto::DecideRequest) -> Result<(), CommandError>,
) -> Result<Account, CommandError> {
    let inputs = Inputs::open(logs, context.progress)?;
    let mut reader = Reader {
        args,
        account: Account::default(),
        take,
    };
    let mut number = 0;
    inputs.each(|path, input| {
        reader.read(number, path, input)?;
        number += 1;
        Ok(())
    })?;
    Ok(reader.account)
}

/// Logs that are being read.
struct Reader<'a, T> {
    args: &'a Args,
    account: Account,
    take: T,
}

impl<T> Reader<'_, T>
where
    T: FnMut(&mut Account, At, proto::DecideRequest) -> Result<(), CommandError>,
{
    /// Reads one log.
    fn read(
        &mut self,
        number: usize,
        path: &Path,
        input: Unpacked<Box<dyn Read>>,
    ) -> Result<(), CommandError> {
        let mut log = Log::new(input, self.args.input_format.clone());
        let before = self.account.lines();
        let mut last = 0;
        while self
            .args
            .limit
            .is_none_or(|limit| self.account.lines() < limit)
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
                    self.account.warn(warning);
                    break;
                }
            };
            last = line.number;
            let at = At {
                log: number,
                line: line.number,
            };
            if let Some(request) = self.request(at, line) {
                (self.take)(&mut self.account, at, request)?;
            }
        }
        if let Some(remark) = log.source().remark() {
            self.account.warn(format!("`{}`: {remark}", path.display()));
        }
        self.account.log(account::LogReport {
            file: path.display().to_string(),
            format: log.format().map(log::Format::describe),
            compression: log.source().packing().map(unpack::Packing::name),
            lines: self.account.lines() - before,
        });
        Ok(())
    }

    /// What a line asks for, if it asks for something; what it says is counted.
    fn request(&mut self, at: At, line: Line<'_>) -> Option<proto::DecideRequest> {
        let entry = line.entry.transpose()?;
        self.account.line();
        match entry {
            Ok(entry) => {
                if !entry.knows_client() {
                    self.account.unknown_client();
                }
                let request = entry.request(&self.args.host);
                if request.host.is_empty() {
                    self.account.no_host();
                }
                Some(request)
            }
            Err(malformed) => {
                self.account.skip(at, malformed.name(), || match malformed {
                    // There is nothing left of the one, and the other names a client in some way.
                    Malformed::TooLong | Malformed::Client => None,
                    _ => Some(sample::sample(line.text)),
                });
                None
            }
        }
    }
}
