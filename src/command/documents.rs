//! The documents that a command is given, in any order: what each is, its `kind` says; and the fleet that policies are
//! compiled against.

use std::path::{Path as FilePath, PathBuf};

use serde::Deserialize;

use super::{CommandError, world};
use crate::engine::document::{Code, Diagnostics, Limits, Path, Source};
use crate::engine::edition::Ground;
use crate::engine::policy::document::KIND as POLICY_KIND;
use crate::engine::topology::document::KIND as TOPOLOGY_KIND;
use crate::example;

/// A file, and what it says it is.
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) kind: Kind,
}

/// What a file says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Policy,
    Topology,
    /// Neither, or it cannot be read at all.
    Unknown,
}

/// The only part of a document that tells what it is; the rest is for the type it names.
#[derive(Deserialize)]
struct Envelope {
    kind: String,
}

impl File {
    /// Reads the files, each of which must be readable.
    pub(super) fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>, CommandError> {
        let files = paths
            .iter()
            .map(|path| Ok(Self::new(&world::name(path), world::read(path)?)));
        files.collect()
    }

    fn new(name: &str, text: String) -> Self {
        let (mut source, _) = Source::read(name, &text, &Limits::default());
        let kind = source.decode::<Envelope>().value.map(|found| found.kind);
        let kind = match kind.as_deref() {
            Some(POLICY_KIND) => Kind::Policy,
            Some(TOPOLOGY_KIND) => Kind::Topology,
            _ => Kind::Unknown,
        };
        Self {
            name: name.to_owned(),
            text,
            kind,
        }
    }
}

/// What policies are checked against.
pub(super) enum Against {
    /// The fleet of a file.
    File(String, Ground),
    /// The embedded fleet.
    Example(Ground),
    /// Nothing: the file is refused itself, so every name in the policy would look wrong.
    Refused(String),
}

impl Against {
    /// The fleet of the file `named`, else that among the files, else the embedded one.
    pub(super) fn choose(named: Option<&FilePath>, files: &[File]) -> Result<Self, CommandError> {
        if let Some(path) = named {
            return Self::named(path);
        }
        let has_policy = files.iter().any(|file| file.kind == Kind::Policy);
        let topologies = files.iter().filter(|file| file.kind == Kind::Topology);
        let topologies: Vec<&File> = topologies.collect();
        match topologies.as_slice() {
            [] => {
                let name = world::EXAMPLE_TOPOLOGY;
                let found = ground(name, example::TOPOLOGY);
                Ok(found.map_or_else(|_| Self::Refused(name.to_owned()), Self::Example))
            }
            several if several.len() > 1 && has_policy => Err(CommandError::SeveralTopologies {
                count: several.len(),
            }),
            [.., file] => {
                let name = file.name.clone();
                Ok(match ground(&name, &file.text) {
                    Ok(ground) => Self::File(name, ground),
                    Err(_) => Self::Refused(name),
                })
            }
        }
    }

    /// The fleet of a file that is not itself to be checked, so it must be good.
    fn named(path: &FilePath) -> Result<Self, CommandError> {
        let name = world::name(path);
        match ground(&name, &world::read(path)?) {
            Ok(ground) => Ok(Self::File(name, ground)),
            Err(findings) => Err(CommandError::Refused {
                files: vec![format!("`{name}`")],
                diagnostics: Box::new(findings),
            }),
        }
    }

    /// The fleet, unless it is refused.
    pub(super) fn ground(&self) -> Option<&Ground> {
        match self {
            Self::File(_, ground) | Self::Example(ground) => Some(ground),
            Self::Refused(_) => None,
        }
    }

    /// What a person should know of it.
    pub(super) fn remark(&self) -> String {
        match self {
            Self::File(name, _) => format!("policies are checked against `{name}`\n"),
            Self::Example(_) => {
                "policies are checked against the embedded example topology; name yours with --topology\n".to_owned()
            }
            Self::Refused(name) => {
                format!(
                    "policies are checked without a topology, since `{name}` is refused: what they say of sites, tiers and nodes is not\n"
                )
            }
        }
    }
}

fn ground(name: &str, text: &str) -> Result<Ground, Diagnostics> {
    Ground::compile(name, text.into(), None)
}

/// A file that says neither what it is, or cannot be read as YAML at all.
pub(super) fn unknown_kind(file: &File) -> Diagnostics {
    let (source, mut diagnostics) = Source::read(&file.name, &file.text, &Limits::default());
    if diagnostics.is_empty() {
        let message = "the file does not say what it is".to_owned();
        let help = format!("begin it with `kind: {POLICY_KIND}` or `kind: {TOPOLOGY_KIND}`");
        let path = Path::Root.field("kind");
        diagnostics.push(source.fault(Code::D011, &path, (message, &help)));
    }
    diagnostics
}
