//! `tradewind diff`: what changed between two policies or two topologies, in an operator's words.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::file::{self, File};
use super::output::{self, Format, Text, counted};
use super::{CommandError, Exit};
use crate::engine::difference::{self, Change, Difference, Reach, Reading, Value};
use crate::engine::edition::Which;

/// Arguments of `tradewind diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind diff policy.yaml changed.yaml
  git show HEAD:policy.yaml | tradewind diff - policy.yaml

Defaults that are written out, comments, and the order of lists whose order says nothing are no difference.
Exit status, as of diff(1): 0 both mean the same, 1 they differ, 2 they cannot be compared.")]
pub struct Args {
    /// The policy or topology before; `-` reads the standard input
    #[arg(value_name = "OLD", value_hint = clap::ValueHint::FilePath)]
    pub old: PathBuf,
    /// The same after the change; what a file is, its `kind` says
    #[arg(value_name = "NEW", value_hint = clap::ValueHint::FilePath)]
    pub new: PathBuf,
    /// How to write differences: a line for each, or JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Compares the files; the exit status says whether they mean the same.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    file::one_standard_input([&args.old, &args.new])?;
    let (old, new) = (File::read(&args.old)?, File::read(&args.new)?);
    let differences = difference::between(&reading(&old)?, &reading(&new)?)?;
    let verdict = Likeness::new(&differences, old.text == new.text);
    match args.format {
        Format::Json => {
            let comparison = Comparison {
                kind: new.kind.map(Which::name),
                verdict,
                differences: differences.iter().map(Row::from).collect(),
            };
            output::json(out, &comparison)?;
        }
        Format::Text => output::text(out, &text(&differences, verdict))?,
    }
    Ok(match verdict {
        Likeness::Same | Likeness::MeansTheSame => Exit::Good,
        Likeness::Differs => Exit::Refused,
    })
}

fn reading(file: &File) -> Result<Reading, CommandError> {
    file.reading()
        .map_err(|diagnostics| CommandError::Incomparable {
            file: file.name.clone(),
            diagnostics: Box::new(diagnostics),
        })
}

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Likeness {
    /// Byte by byte.
    Same,
    /// In other words, or another order where that says nothing.
    MeansTheSame,
    Differs,
}

impl Likeness {
    fn new(differences: &[Difference], is_same_text: bool) -> Self {
        match (differences, is_same_text) {
            ([], true) => Self::Same,
            ([], false) => Self::MeansTheSame,
            _ => Self::Differs,
        }
    }
}

/// A comparison as a program reads it.
#[derive(Serialize)]
struct Comparison<'a> {
    kind: Option<&'static str>,
    verdict: Likeness,
    differences: Vec<Row<'a>>,
}

/// A difference as a program reads it.
#[derive(Serialize)]
struct Row<'a> {
    about: Subject<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    field: &'a str,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Shown<'a>>,
    /// Whether the text leaves that to the default.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    before_is_default: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    after_is_default: bool,
    #[serde(skip_serializing_if = "<[Value]>::is_empty")]
    gained: &'a [Value],
    #[serde(skip_serializing_if = "<[Value]>::is_empty")]
    lost: &'a [Value],
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    /// What it may change.
    reach: Vec<&'static str>,
    /// The same as people read it.
    text: String,
}

#[derive(Serialize)]
struct Subject<'a> {
    kind: &'static str,
    name: &'a str,
}

/// One value, or the entries of a list.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Value(&'a Value),
    Entries(&'a [Value]),
}

impl<'a> From<&'a Difference> for Row<'a> {
    fn from(found: &'a Difference) -> Self {
        let kind = found.about.kind.name();
        let mut told = Self {
            about: Subject {
                kind,
                name: &found.about.name,
            },
            field: &found.field,
            change: found.change.name(),
            before: None,
            after: None,
            before_is_default: false,
            after_is_default: false,
            gained: &[],
            lost: &[],
            place: None,
            reach: found.reach.iter().map(|reach| reach.name()).collect(),
            text: found.to_string(),
        };
        match &found.change {
            Change::Added { after, place } => {
                told.after = Some(Shown::Value(after));
                told.place = place.as_ref().map(|place| place.of(kind));
            }
            Change::Removed { before } => told.before = Some(Shown::Value(before)),
            Change::Moved { place } => told.place = Some(place.of(kind)),
            Change::Set { before, after } => {
                told.before = before.as_ref().map(|said| Shown::Value(&said.value));
                told.after = after.as_ref().map(|said| Shown::Value(&said.value));
                told.before_is_default = before.as_ref().is_some_and(|said| said.is_default);
                told.after_is_default = after.as_ref().is_some_and(|said| said.is_default);
            }
            Change::Members {
                before,
                after,
                gained,
                lost,
            } => {
                told.before = Some(Shown::Entries(before));
                told.after = Some(Shown::Entries(after));
                told.gained = gained;
                told.lost = lost;
            }
        }
        told
    }
}

/// A line for each difference, and what they come to.
fn text(differences: &[Difference], verdict: Likeness) -> String {
    let mut text = Text::default();
    for found in differences {
        text.line(format_args!("{found}"));
    }
    match verdict {
        Likeness::Same => text.line(format_args!("the same")),
        Likeness::MeansTheSame => {
            text.line(format_args!("means the same: only the text has changed"));
        }
        Likeness::Differs => {
            let count = counted(differences.len(), "change");
            text.line(format_args!("differs: {count}, {}", reaches(differences)));
        }
    }
    text.into_string()
}

/// How many of the differences may change what.
fn reaches(differences: &[Difference]) -> String {
    let parts = Reach::ALL.iter().filter_map(|reach| {
        let count = differences.iter();
        let count = count.filter(|found| found.reach.contains(reach)).count();
        (count > 0).then(|| format!("{count} to {}", in_words(*reach)))
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn in_words(reach: Reach) -> &'static str {
    match reach {
        Reach::Matching => "which requests match a rule",
        Reach::Placement => "which node has a key",
        Reach::Site => "which site is chosen",
        Reach::Operation => "operation",
        Reach::Words => "words",
    }
}
