//! `tradewind fmt`: policy and topology files in one form, with all their comments, meaning what they meant.

mod comments;
mod replace;
mod style;

use std::io::Write;
use std::path::{Path, PathBuf};

use super::file::{self, File, one_standard_input};
use super::output;
use super::{CommandError, Exit};
use crate::engine::document::Diagnostics;

pub use style::FormatError;

/// Arguments of `tradewind fmt`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind fmt --write policy.yaml topology.yaml
  tradewind fmt --check *.yaml
  tradewind fmt - < policy.yaml

Comments stay, and so does the order of fields and where lines are broken; indentation, quotes, spaces and empty lines
are made alike. What would mean something else afterwards is refused.
Exit status: 0 good, 1 not formatted (with --check) or refused, 2 wrong usage or unreadable files.")]
pub struct Args {
    /// Policy and topology files; `-` reads the standard input
    #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Name the files that are not formatted, and change none
    #[arg(long, env = "TRADEWIND_CHECK", conflicts_with = "write")]
    pub check: bool,
    /// Write the files that are not formatted, and name them
    #[arg(long, env = "TRADEWIND_WRITE")]
    pub write: bool,
}

/// What becomes of a formatted text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Print,
    Check,
    Write,
}

/// Formats the files. One that cannot be formatted does not keep others from it.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    let purpose = args.purpose()?;
    one_standard_input(&args.files)?;
    let mut broken = Broken::default();
    let mut exit = Exit::Good;
    for path in &args.files {
        let file = File::read(path)?;
        let formatted = match file.reading() {
            Ok(reading) => style::format(&file, &reading),
            Err(diagnostics) => {
                broken.add(&file.name, diagnostics);
                continue;
            }
        };
        let formatted = formatted.map_err(|source| CommandError::Format {
            file: file.name.clone(),
            source,
        })?;
        let is_formatted = formatted == file.text;
        match purpose {
            Purpose::Print => output::text(out, &formatted)?,
            Purpose::Check | Purpose::Write if is_formatted => {}
            Purpose::Check => {
                exit = Exit::Refused;
                output::text(out, &format!("{}\n", file.name))?;
            }
            Purpose::Write => {
                write(path, &formatted)?;
                output::text(out, &format!("{}\n", file.name))?;
            }
        }
    }
    broken.finish().map(|()| exit)
}

impl Args {
    fn purpose(&self) -> Result<Purpose, CommandError> {
        if self.check {
            return Ok(Purpose::Check);
        }
        if self.write {
            let has_input = self.files.iter().any(|path| file::is_standard_input(path));
            return if has_input {
                Err(CommandError::InputWritten)
            } else {
                Ok(Purpose::Write)
            };
        }
        match self.files.len() {
            0 | 1 => Ok(Purpose::Print),
            count => Err(CommandError::SeveralPrinted { count }),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    replace::replace(path, text).map_err(|source| CommandError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Files that are no documents, and what was found in them.
#[derive(Default)]
struct Broken {
    files: Vec<String>,
    diagnostics: Diagnostics,
}

impl Broken {
    fn add(&mut self, name: &str, diagnostics: Diagnostics) {
        self.files.push(format!("`{name}`"));
        self.diagnostics.append(diagnostics);
    }

    fn finish(self) -> Result<(), CommandError> {
        if self.files.is_empty() {
            return Ok(());
        }
        Err(CommandError::Refused {
            files: self.files,
            diagnostics: Box::new(self.diagnostics),
        })
    }
}
