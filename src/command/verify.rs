//! `tradewind verify`: whether files are signed as a sidecar asks for it.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::output::{self, Text};
use super::{CommandError, Exit, world};
use crate::sidecar::signing::{self, Keys, Seal, SealError};
use crate::sidecar::writer::store;

/// Arguments of `tradewind verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind verify policy.yaml topology.yaml --key release.pub

It says what a sidecar with these keys would say (serve --signed-by), except whether the serial is lower than that of what is in
force there. Exit status: 0 all are signed, 1 some are not, 2 wrong usage or unreadable files.")]
pub struct Args {
    /// Policy and topology files
    #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// A public key, `RW…` or a file with it; may be given several times
    #[arg(
        long = "key",
        value_name = "KEY",
        required = true,
        env = "TRADEWIND_SIGNED_BY",
        value_delimiter = ','
    )]
    pub keys: Vec<String>,
}

/// Says of each file by whom it is signed, or why it counts as not signed.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    let mut keys = Keys::default();
    for key in &args.keys {
        keys.add(key)?;
    }
    let mut said = Text::default();
    let mut exit = Exit::Good;
    for path in &args.files {
        let name = path.display();
        match verify(path, &keys)? {
            Ok(seal) => {
                let (key, serial) = (seal.key, signing::in_words(seal.serial));
                said.line(format_args!("{name}: signed by key {key}, {serial}"));
            }
            Err(error) => {
                exit = Exit::Refused;
                said.line(format_args!("{name}: {error}"));
            }
        }
    }
    output::text(out, &said.into_string())?;
    Ok(exit)
}

fn verify(path: &Path, keys: &Keys) -> Result<Result<Seal, SealError>, CommandError> {
    let text = world::read(path)?;
    let beside = signing::beside(path);
    match store::read_regular(&beside, signing::MAX_SIGNATURE_BYTES as u64) {
        Ok(signature) => Ok(keys.verify(&text, &signature)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Err(SealError::Missing {
            at: format!(": there is no `{}`", beside.display()),
        })),
        Err(source) => Err(CommandError::Read {
            path: beside,
            source,
        }),
    }
}
