//! Why a command could not do its work.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use super::Exit;
use super::client::ServerError;
use super::fmt::FormatError;
use super::output::counted;
use super::request::RequestError;
use super::see::DoorError;
use super::sign::SignError;
use super::tell::SourceError;
use super::topology::{ImportError, SiteFaults};
use crate::engine::difference::KindsDiffer;
use crate::engine::document::Diagnostics;
use crate::sidecar::geoip::error::GeoFaults;
use crate::sidecar::settings::here::UnknownSite;
use crate::sidecar::signing::KeyError;
use tradewind_demo::nodes::NodesError;
use tradewind_demo::show::DemoError;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The output cannot be written.
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
    /// A purge of nothing.
    #[error("nothing to purge: give URLs, --prefix, --tag, --host, --all or --from")]
    NothingToPurge,
    /// The output cannot be put into words.
    #[error("the output cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// A policy without a topology, or the other way round.
    #[error("`--{given}` is given without `--{missing}`, must be both or neither")]
    HalfAWorld {
        /// The flag that is there.
        given: &'static str,
        /// The flag that is not.
        missing: &'static str,
    },
    /// Several topologies for the policies of one call.
    #[error("{count} topologies are given, policies can be checked against one")]
    SeveralTopologies {
        /// How many.
        count: usize,
    },
    /// Nothing to try the examples of.
    #[error("no policy is given, must be at least one file of `kind: Policy`")]
    NoPolicy,
    /// The standard input, which can be read once, for several files.
    #[error("the standard input (`-`) is given more than once")]
    StandardInputTwice,
    /// A rule that no policy has.
    #[error("no policy has a rule `{name}`")]
    NoSuchRule {
        /// What was given.
        name: String,
    },
    /// Documents that cannot be used.
    #[error("{} refused, with {}", all(files), counted(diagnostics.counts().0, "error"))]
    Refused {
        /// The documents' names.
        files: Vec<String>,
        /// All that was found.
        diagnostics: Box<Diagnostics>,
    },
    /// A document that cannot be compared with another.
    #[error("`{file}` cannot be compared, it has {}", counted(diagnostics.counts().0, "error"))]
    Incomparable {
        /// The document's name.
        file: String,
        /// All that was found.
        diagnostics: Box<Diagnostics>,
    },
    /// Two documents of different kinds.
    #[error(transparent)]
    Kinds(#[from] KindsDiffer),
    /// A document that cannot be formatted.
    #[error("`{file}` is not formatted, and left as it is")]
    Format {
        /// The document's name.
        file: String,
        /// Why.
        source: FormatError,
    },
    /// Several documents that would be printed one behind the other.
    #[error("{count} files are given, one can be printed; say --write or --check for more")]
    SeveralPrinted {
        /// How many.
        count: usize,
    },
    /// The standard input among files that are to be written.
    #[error("the standard input cannot be written; leave out --write, and it is printed")]
    InputWritten,
    /// Geo files that cannot be used.
    #[error("no geo table")]
    Geo(#[from] GeoFaults),
    /// A site that the sidecar is said to be at and the topology does not have.
    #[error(transparent)]
    Here(#[from] UnknownSite),
    /// A request that cannot be decided.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A sidecar that cannot be asked.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A debug door that cannot be read.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// Lines that cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No word of when to end.
    #[error("signals cannot be waited for")]
    Signals(#[source] io::Error),
    /// A demo that cannot run.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// Demo nodes that cannot be started.
    #[error(transparent)]
    Nodes(#[from] NodesError),
    /// Traffic that cannot be sent.
    #[error("no traffic in this process")]
    Traffic(#[source] io::Error),
    /// A directory without an audit log.
    #[error("`{}` has no audit log; give --state-dir, or the files", dir.display())]
    NoAuditLog {
        /// The directory.
        dir: PathBuf,
    },
    /// Access logs and decision logs in one replay.
    #[error("some of the logs are decision logs and some are not, replay them apart")]
    MixedLogs,
    /// Flags of access logs for a decision log.
    #[error(
        "a decision log says what it was decided on; only --policy, --limit, --top and --format go with it"
    )]
    NotForDecisionLogs,
    /// A key that cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Nothing that could be signed with.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A list of sites with faulty rows.
    #[error("the list of sites is refused, {}", .0.summary())]
    Sites(SiteFaults),
    /// A list of sites that cannot become a topology.
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl CommandError {
    /// The exit status it stands for: 1 for what is refused, else 2.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused { .. }
            | Self::Format { .. }
            | Self::Sites(_)
            | Self::Server(ServerError::Refused { .. }) => Exit::Refused,
            _ => Exit::Usage,
        }
    }

    /// True when whoever read the output has gone, which is nobody's mistake.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The whole story for people: every fault with its excerpt, then the error and its causes in a line.
    pub fn render(&self, colour: bool) -> String {
        let mut text = match self {
            Self::Refused { diagnostics, .. } | Self::Incomparable { diagnostics, .. } => {
                diagnostics.render(colour)
            }
            Self::Sites(faults) => faults.to_string(),
            _ => String::new(),
        };
        let mut line = format!("tradewind: {self}");
        let mut cause = self.source();
        while let Some(error) = cause {
            // Writing to a string cannot fail.
            if write!(line, ": {error}").is_err() {
                break;
            }
            cause = error.source();
        }
        text.push_str(&line);
        text.push('\n');
        text
    }
}

/// The names of documents, and the verb that is to follow.
fn all(files: &[String]) -> String {
    let verb = if files.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", files.join(" and "))
}
