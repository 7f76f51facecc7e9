//! `tradewind audit`: shows the audit log of a sidecar, and whether it is as it was written.
//!
//! It reads the files, not the sidecar: it works where no sidecar runs, and on copies.

pub mod show;
pub mod verify;

use std::io::Write;
use std::path::PathBuf;

use super::{CommandError, Exit};
use crate::sidecar::audit::files;
use crate::sidecar::audit::verify::{Head, Part};

/// Arguments of `tradewind audit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done with the log.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print who changed what, why, and what it did
    Show(show::Args),
    /// Say which entries were changed, dropped, moved, put in twice or cut
    Verify(verify::Args),
}

/// Which log.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// Files of the log, oldest first, instead of those in the state directory
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// The state directory of the sidecar [default: .tradewind]
    #[arg(long, value_name = "DIR", env = "TRADEWIND_STATE_DIR", value_hint = clap::ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
}

/// A log as it is read.
struct Log {
    parts: Vec<Part>,
    /// Where it ends, if that is kept beside it.
    head: Option<Head>,
}

/// Does what is asked for.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    match &args.command {
        Command::Show(args) => show::run(args, out),
        Command::Verify(args) => verify::run(args, out),
    }
}

impl LogArgs {
    fn read(&self) -> Result<Log, CommandError> {
        let dir = self
            .state_dir
            .clone()
            .unwrap_or_else(|| ".tradewind".into());
        let is_named = !self.files.is_empty();
        let paths = if is_named {
            self.files.clone()
        } else {
            files::find(&dir)
        };
        let read = |path: &PathBuf| {
            files::read(path).map_err(|source| CommandError::Read {
                path: path.clone(),
                source,
            })
        };
        // The head first: what a running sidecar writes meanwhile is behind it.
        let head = if is_named {
            None
        } else {
            files::read_head(&dir).map_err(|source| CommandError::Read {
                path: dir.join(files::HEAD),
                source,
            })?
        };
        let parts = paths.iter().map(read).collect::<Result<Vec<Part>, _>>()?;
        if parts.is_empty() && head.is_none() {
            return Err(CommandError::NoAuditLog { dir });
        }
        Ok(Log { parts, head })
    }
}
