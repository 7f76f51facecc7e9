//! The fleet that policies are compiled against: of a file, or the embedded one.

use std::path::Path;

use super::file::File;
use super::{CommandError, world};
use crate::engine::document::Diagnostics;
use crate::engine::edition::{Ground, Which};
use crate::example;

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
    pub(super) fn choose(named: Option<&Path>, files: &[File]) -> Result<Self, CommandError> {
        if let Some(path) = named {
            return Self::named(path);
        }
        let has_policy = files.iter().any(|file| file.kind == Some(Which::Policy));
        let topologies = files
            .iter()
            .filter(|file| file.kind == Some(Which::Topology));
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
    fn named(path: &Path) -> Result<Self, CommandError> {
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

    /// Whether it is the embedded one.
    pub(super) fn is_example(&self) -> bool {
        matches!(self, Self::Example(_))
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
