//! Why geographic files were not taken.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::MAX_FILES;
use super::format::flaw::Flaw;
use super::probe::ProbeReport;
use tradewind_engine::geo::layer::OutOfOrder;

/// A fault of a file, or of what a new table would change. The table in use stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GeoError {
    /// None, or too many files.
    #[error("number of geo files is {count}, must be between 1 and {MAX_FILES}")]
    FileCount {
        /// How many were given.
        count: usize,
    },
    /// The file, or the `.sha256` beside it, could not be read.
    #[error("geo file `{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory, pipe or device.
    #[error("geo file `{}` is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Larger than allowed.
    #[error("geo file `{}` has {bytes} bytes, must have at most {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, or as much as was seen of it.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The `.sha256` file holds no sum.
    #[error("`{}` begins with `{value}`, must begin with the 64 hexadecimal digits of a SHA-256", path.display())]
    SumMalformed {
        /// The `.sha256` file.
        path: PathBuf,
        /// Its first word, cut to 80 characters.
        value: String,
    },
    /// The file is not the one the sum was made of.
    #[error("SHA-256 of `{}` is {actual}, must be {expected} as the `.sha256` file beside it says", path.display())]
    SumDiffers {
        /// The file.
        path: PathBuf,
        /// The file's digest.
        actual: String,
        /// The digest it should have.
        expected: String,
    },
    /// Not a database of this format, or a damaged one.
    #[error("geo file `{}` is not a sound MaxMind DB file", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Flaw,
    },
    /// Its networks overlap.
    #[error("geo file `{}` has networks in disorder", path.display())]
    Disorder {
        /// The file.
        path: PathBuf,
        /// The network.
        source: OutOfOrder,
    },
    /// More networks or nodes than allowed.
    #[error("geo file `{}` has more networks than {limit}, the most allowed", path.display())]
    TooManyNetworks {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// A sound file without coordinates, country or ASN: a database about something else.
    #[error("geo file `{}`{} has no record with coordinates, a country or an ASN", path.display(), of_type(database_type))]
    NothingKnown {
        /// The file.
        path: PathBuf,
        /// The type it states.
        database_type: String,
    },
    /// The new table contradicts the one in use too much.
    #[error(
        "new geo files move {} and lose {} of {} located probes, must change at most {:.0} %",
        report.moved, report.vanished, report.located, max_changed_share * 100.0
    )]
    ProbesDiffer {
        /// The comparison.
        report: ProbeReport,
        /// The largest share that may change, 0..=1.
        max_changed_share: f64,
    },
}

/// The faults of all files that have one, of each the first. Written one a line, with their causes.
#[derive(Debug)]
pub struct GeoFaults(pub Vec<GeoError>);

impl GeoFaults {
    /// One line for each.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(with_causes).collect()
    }
}

impl fmt::Display for GeoFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

// The causes are in the text: of several faults none could be the source.
impl Error for GeoFaults {}

impl From<GeoError> for GeoFaults {
    fn from(fault: GeoError) -> Self {
        Self(vec![fault])
    }
}

/// The type that a file states, if it states one.
fn of_type(database_type: &str) -> String {
    if database_type.is_empty() {
        String::new()
    } else {
        format!(" of type `{database_type}`")
    }
}

/// A fault and its causes on one line.
fn with_causes(fault: &GeoError) -> String {
    let mut line = fault.to_string();
    let mut cause = fault.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
