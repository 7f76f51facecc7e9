//! Policy and topology files, told apart by what they say they are.

use std::io::{self, Read};
use std::path::{Path as FilePath, PathBuf};

use serde::Deserialize;

use super::{CommandError, world};
use crate::engine::difference::Reading;
use crate::engine::document::{Code, Diagnostics, Limits, MAX_DOCUMENT_BYTES, Path, Source};
use crate::engine::edition::Which;
use crate::engine::policy::document::KIND as POLICY_KIND;
use crate::engine::topology::document::KIND as TOPOLOGY_KIND;

/// What stands for the standard input among files.
const STANDARD_INPUT: &str = "-";

/// A policy or topology file.
pub(super) struct File {
    /// What findings call it.
    pub(super) name: String,
    /// What stands in it.
    pub(super) text: String,
    /// What it says it is, if that is anything we know.
    pub(super) kind: Option<Which>,
}

/// The only part of a document that tells what it is; the rest is for the type it names.
#[derive(Deserialize)]
struct Envelope {
    kind: String,
}

impl File {
    /// Reads the files, each of which must be readable.
    pub(super) fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>, CommandError> {
        one_standard_input(paths)?;
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// A file that was read.
    pub(super) fn of(name: &str, text: String) -> Self {
        let (mut source, _) = Source::read(name, &text, &Limits::default());
        let kind = source.decode::<Envelope>().value.map(|found| found.kind);
        let kind = match kind.as_deref() {
            Some(POLICY_KIND) => Some(Which::Policy),
            Some(TOPOLOGY_KIND) => Some(Which::Topology),
            _ => None,
        };
        Self {
            name: name.to_owned(),
            text,
            kind,
        }
    }

    /// Reads a file, or the standard input for `-`.
    pub(super) fn read(path: &FilePath) -> Result<Self, CommandError> {
        let text = if is_standard_input(path) {
            standard_input().map_err(|source| CommandError::Read {
                path: path.to_owned(),
                source,
            })?
        } else {
            world::read(path)?
        };
        Ok(Self::of(&world::name(path), text))
    }

    /// Reads it as the document that it says it is.
    ///
    /// # Errors
    ///
    /// All that was found, where it has not the form of such a document or does not say what it is.
    pub(super) fn reading(&self) -> Result<Reading, Diagnostics> {
        match self.kind {
            Some(which) => Reading::read(which, &self.name, &self.text),
            None => Err(self.of_no_kind()),
        }
    }

    /// What is wrong with a file that does not say what it is, or cannot be read as YAML at all.
    pub(super) fn of_no_kind(&self) -> Diagnostics {
        let (source, mut diagnostics) = Source::read(&self.name, &self.text, &Limits::default());
        if diagnostics.is_empty() {
            let message = "the file does not say what it is".to_owned();
            let help = format!("begin it with `kind: {POLICY_KIND}` or `kind: {TOPOLOGY_KIND}`");
            let path = Path::Root.field("kind");
            diagnostics.push(source.fault(Code::D011, &path, (message, &help)));
        }
        diagnostics
    }
}

/// Whether at most one of the paths stands for the standard input.
pub(super) fn one_standard_input<'p>(
    paths: impl IntoIterator<Item = &'p PathBuf>,
) -> Result<(), CommandError> {
    let inputs = paths.into_iter().filter(|path| is_standard_input(path));
    if inputs.count() > 1 {
        return Err(CommandError::StandardInputTwice);
    }
    Ok(())
}

/// Whether a path among arguments stands for the standard input.
pub(super) fn is_standard_input(path: &FilePath) -> bool {
    path.as_os_str() == STANDARD_INPUT
}

fn standard_input() -> io::Result<String> {
    let mut bytes = Vec::new();
    // One more than is allowed, so that a longer text is refused and not cut.
    let most = MAX_DOCUMENT_BYTES + 1;
    io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is not UTF-8"))
}
