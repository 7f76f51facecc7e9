//! `tradewind check`: every fault of policy and topology files, before they are put to use.

use std::io::Write;
use std::path::{Path as FilePath, PathBuf};

use serde::{Deserialize, Serialize};

use super::output::{self, Format};
use super::{CommandError, Context, Exit, world};
use crate::engine::date::Date;
use crate::engine::document::{Code, Diagnostic, Diagnostics, Limits, Path, Source};
use crate::engine::edition::Ground;
use crate::engine::policy;
use crate::engine::policy::document::KIND as POLICY_KIND;
use crate::engine::topology::document::KIND as TOPOLOGY_KIND;
use crate::engine::topology::{self, Topology};
use crate::example;

/// Arguments of `tradewind check`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind check topology.yaml policy.yaml
  tradewind check policy.yaml --topology fleet.yaml --deny-warnings --format json

Exit status: 0 good, 1 refused, 2 wrong usage or unreadable files. Policies are checked against the topology among FILE
or given by --topology, else against the embedded example.")]
pub struct Args {
    /// Policy and topology files, in any order; what a file is, its `kind` says
    #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// The topology that policies are checked against, when it is not itself to be checked
    #[arg(long, value_name = "FILE", env = "TRADEWIND_TOPOLOGY", value_hint = clap::ValueHint::FilePath)]
    pub topology: Option<PathBuf>,
    /// Refuse documents that have warnings too
    #[arg(long, env = "TRADEWIND_DENY_WARNINGS")]
    pub deny_warnings: bool,
    /// The day, YYYY-MM-DD, before which a rule's `expires` is worth a warning [default: today, in UTC]
    #[arg(long, value_name = "DAY", env = "TRADEWIND_TODAY")]
    pub today: Option<Date>,
    /// How to write findings: text with excerpts, or an array of JSON objects
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Checks the files; the exit status says whether all are good.
pub fn run(args: &Args, context: &Context, out: &mut impl Write) -> Result<Exit, CommandError> {
    let mut files = Vec::new();
    for path in &args.files {
        files.push(File::new(&world::name(path), world::read(path)?));
    }
    let against = Against::choose(args, &files)?;
    let mut findings = Findings::new(files.len());
    for file in &files {
        let diagnostics = match file.kind {
            Kind::Topology => topology::compile(&file.name, &file.text).diagnostics,
            Kind::Policy => check_policy(file, &against, args.today.unwrap_or(context.today)),
            Kind::Unknown => unknown_kind(file),
        };
        findings.add(diagnostics);
    }
    match args.format {
        Format::Json => output::json(out, &findings.to_json())?,
        Format::Text => {
            output::text(out, &findings.to_text(context.colour))?;
            if files.iter().any(|file| file.kind == Kind::Policy) {
                output::text(out, &against.remark())?;
            }
            output::text(out, &findings.closing_line(args.deny_warnings))?;
        }
    }
    Ok(findings.exit(args.deny_warnings))
}

/// A file that is checked.
struct File {
    name: String,
    text: String,
    kind: Kind,
}

/// What a file says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Policy,
    Topology,
    Unknown,
}

/// The only part of a document that tells what it is; the rest is for the type it names.
#[derive(Deserialize)]
struct Envelope {
    kind: String,
}

impl File {
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
enum Against {
    /// The fleet of a file.
    File(String, Ground),
    /// The embedded fleet.
    Example(Ground),
    /// Nothing: the file is refused itself, so every name in the policy would look wrong.
    Refused(String),
}

impl Against {
    fn choose(args: &Args, files: &[File]) -> Result<Self, CommandError> {
        if let Some(path) = &args.topology {
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

    fn topology(&self) -> Option<&Topology> {
        match self {
            Self::File(_, ground) | Self::Example(ground) => Some(ground.topology()),
            Self::Refused(_) => None,
        }
    }

    fn remark(&self) -> String {
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

/// All findings about a policy: its form and meaning, and rules past their day.
fn check_policy(file: &File, against: &Against, today: Date) -> Diagnostics {
    let mut diagnostics = match against.topology() {
        Some(topology) => policy::compile(&file.name, &file.text, topology).diagnostics,
        None => policy::check_alone(&file.name, &file.text),
    };
    diagnostics.append(policy::expired(&file.name, &file.text, today));
    diagnostics.sort();
    diagnostics
}

/// A file that says neither what it is, or cannot be read as YAML at all.
fn unknown_kind(file: &File) -> Diagnostics {
    let (source, mut diagnostics) = Source::read(&file.name, &file.text, &Limits::default());
    if diagnostics.is_empty() {
        let message = "the file does not say what it is".to_owned();
        let help = format!("begin it with `kind: {POLICY_KIND}` or `kind: {TOPOLOGY_KIND}`");
        let path = Path::Root.field("kind");
        diagnostics.push(source.fault(Code::D011, &path, (message, &help)));
    }
    diagnostics
}

/// What was found in all files. Kept by file, since each has its own bound of how much is kept.
struct Findings {
    files: usize,
    all: Vec<Diagnostics>,
}

/// A finding as a program reads it.
#[derive(Serialize)]
struct Finding<'a> {
    severity: &'static str,
    code: &'static str,
    file: &'a str,
    path: &'a str,
    line: usize,
    column: usize,
    excerpt: &'a str,
    message: &'a str,
    help: &'a str,
    /// How many more places it holds for, and the lines of the first few.
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
    #[serde(skip_serializing_if = "<[usize]>::is_empty")]
    more_lines: &'a [usize],
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl<'a> From<&'a Diagnostic> for Finding<'a> {
    fn from(found: &'a Diagnostic) -> Self {
        Self {
            severity: found.severity().name(),
            code: found.code.name(),
            file: &found.file,
            path: &found.path,
            line: found.line,
            column: found.column,
            excerpt: &found.excerpt,
            message: &found.message,
            help: &found.help,
            more: found.also.count,
            more_lines: &found.also.lines,
        }
    }
}

impl Findings {
    fn new(files: usize) -> Self {
        Self {
            files,
            all: Vec::new(),
        }
    }

    fn add(&mut self, diagnostics: Diagnostics) {
        self.all.push(diagnostics);
    }

    fn counts(&self) -> (usize, usize, usize) {
        self.all.iter().fold((0, 0, 0), |sum, diagnostics| {
            let (errors, warnings) = diagnostics.counts();
            (
                sum.0 + errors,
                sum.1 + warnings,
                sum.2 + diagnostics.dropped(),
            )
        })
    }

    fn exit(&self, deny_warnings: bool) -> Exit {
        let (_, warnings, _) = self.counts();
        let refused = self.all.iter().any(Diagnostics::has_errors);
        if refused || (deny_warnings && warnings > 0) {
            Exit::Refused
        } else {
            Exit::Good
        }
    }

    fn to_json(&self) -> Vec<Finding<'_>> {
        let items = self.all.iter().flat_map(Diagnostics::items);
        items.map(Finding::from).collect()
    }

    fn to_text(&self, colour: bool) -> String {
        let rendered = self.all.iter().map(|found| found.render(colour));
        rendered.collect()
    }

    fn closing_line(&self, deny_warnings: bool) -> String {
        let (errors, warnings, dropped) = self.counts();
        let verdict = match self.exit(deny_warnings) {
            Exit::Good => "good",
            Exit::Refused | Exit::Usage => "refused",
        };
        let more = match dropped {
            0 => String::new(),
            dropped => format!(", {dropped} more not shown"),
        };
        format!(
            "{verdict}: {} checked, {}, {}{more}\n",
            counted(self.files, "file"),
            counted(errors, "error"),
            counted(warnings, "warning")
        )
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
