//! `tradewind sign`: signatures of policies and topologies, and the keys to make them with.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, PError, SecretKey, SecretKeyBox};

use super::output::{self, Text};
use super::{CommandError, Exit, world};
use crate::sidecar::wire::base64;
use crate::sidecar::{clock, signing};

/// Arguments of `tradewind sign`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind sign --new-key release
  tradewind sign policy.yaml topology.yaml --key release.key --serial 12

The signature of FILE is written to FILE.minisig, in minisign's form: `minisign -S` and `minisign -V` make and check the same. A
sidecar asks for it where keys are pinned (serve --signed-by). One with a lower serial than what is in force is refused there.
Exit status: 0 signed, 2 wrong usage, unreadable files or another password.")]
pub struct Args {
    /// Policy and topology files
    #[arg(value_name = "FILE", required_unless_present = "new_key", value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// The secret key to sign with; its password is asked for, if it has one
    #[arg(
        long,
        value_name = "FILE",
        env = "TRADEWIND_SIGN_KEY",
        required_unless_present = "new_key"
    )]
    pub key: Option<PathBuf>,
    /// Which text this is, counted up: a sidecar takes none with a lower serial than the one in force
    #[arg(long, value_name = "N", env = "TRADEWIND_SERIAL")]
    pub serial: Option<u64>,
    /// Make a key instead: PREFIX.key to sign with, and PREFIX.pub to pin
    #[arg(
        long,
        value_name = "PREFIX",
        env = "TRADEWIND_NEW_KEY",
        conflicts_with_all = ["files", "key", "serial"]
    )]
    pub new_key: Option<PathBuf>,
    /// Make it without a password: whoever reads the file can sign
    #[arg(long, env = "TRADEWIND_NO_PASSWORD", requires = "new_key")]
    pub no_password: bool,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A secret key that cannot be used.
    #[error("`{}` cannot be used as a secret key of minisign", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: PError,
    },
    /// A key or signature that cannot be made.
    #[error("nothing can be signed")]
    Sign(#[source] PError),
}

/// Signs the files, or makes a key.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    if let Some(prefix) = &args.new_key {
        return new_key(prefix, !args.no_password, out);
    }
    let key = read_key(args.key.as_deref().unwrap_or(Path::new("")))?;
    // All are read before any is signed: a mistake among them changes nothing.
    let texts = args.files.iter().map(|path| world::read(path));
    let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
    let mut said = Text::default();
    for (path, text) in args.files.iter().zip(&texts) {
        let name = path.file_name().unwrap_or(path.as_os_str());
        let unix_s = clock::unix_ms() / 1_000;
        let comment = signing::comment(&name.to_string_lossy(), args.serial, unix_s);
        let signed = minisign::sign(None, &key, text.as_bytes(), Some(&comment), None);
        let signature = signed.map_err(SignError::Sign)?.into_string();
        let beside = signing::beside(path);
        replace(&beside, &signature).map_err(|source| CommandError::Write {
            path: beside.clone(),
            source,
        })?;
        let serial = signing::in_words(args.serial);
        said.line(format_args!("{}: signed, {serial}", beside.display()));
    }
    output::text(out, &said.into_string())?;
    Ok(Exit::Good)
}

/// Whoever reads the signature meanwhile finds the one before, or this.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    fs::write(&aside, text)?;
    fs::rename(&aside, path)
}

fn read_key(path: &Path) -> Result<SecretKey, CommandError> {
    let text = fs::read_to_string(path).map_err(|source| CommandError::Read {
        path: path.to_owned(),
        source,
    })?;
    // Its third and fourth byte say by what it is encrypted.
    let bytes = text.lines().nth(1).and_then(base64::decode);
    let has_password = bytes.is_none_or(|bytes| bytes.get(2..4) != Some(&[0, 0]));
    let boxed = SecretKeyBox::from(text);
    let read = if has_password {
        boxed.into_secret_key(None)
    } else {
        boxed.into_unencrypted_secret_key()
    };
    let key = read.map_err(|source| SignError::Key {
        path: path.to_owned(),
        source,
    })?;
    Ok(key)
}

fn new_key(prefix: &Path, has_password: bool, out: &mut impl Write) -> Result<Exit, CommandError> {
    let path = |extension: &str| {
        let mut path = prefix.as_os_str().to_owned();
        path.push(extension);
        PathBuf::from(path)
    };
    let (secret, public) = (path(".key"), path(".pub"));
    let pair = if has_password {
        KeyPair::generate_encrypted_keypair(None)
    } else {
        KeyPair::generate_unencrypted_keypair()
    };
    let pair = pair.map_err(SignError::Sign)?;
    let secret_text = pair.sk.to_box(None).map_err(SignError::Sign)?.into_string();
    let public_text = pair.pk.to_box().map_err(SignError::Sign)?.into_string();
    for (path, text, mode) in [
        (&secret, &secret_text, 0o600),
        (&public, &public_text, 0o644),
    ] {
        let mut options = OpenOptions::new();
        // A key that is lost cannot be made again, so none is overwritten.
        let file = options.write(true).create_new(true).mode(mode).open(path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| CommandError::Write {
            path: path.clone(),
            source,
        })?;
    }
    let mut said = Text::default();
    let guard = if has_password {
        "with a password"
    } else {
        "without a password: whoever reads it can sign"
    };
    said.line(format_args!("{}: to sign with, {guard}", secret.display()));
    said.line(format_args!("{}: to pin", public.display()));
    let key = pair.pk.to_base64();
    said.line(format_args!(
        "pin it with: tradewind serve --signed-by {key}"
    ));
    output::text(out, &said.into_string())?;
    Ok(Exit::Good)
}
