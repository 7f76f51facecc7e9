//! `tradewind check`: every fault of policy and topology files, before they are put to use.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::against::Against;
use super::file::File;
use super::output::{self, Format, counted};
use super::{CommandError, Context, Exit};
use crate::engine::date::Date;
use crate::engine::document::{Diagnostic, Diagnostics};
use crate::engine::edition::{Known, Which};
use crate::engine::policy;
use crate::engine::topology;

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
    let files = File::read_all(&args.files)?;
    let against = Against::choose(args.topology.as_deref(), &files)?;
    let mut findings = Findings::new(files.len());
    for file in &files {
        let diagnostics = match file.kind {
            Some(Which::Topology) => topology::compile(&file.name, &file.text).diagnostics,
            Some(Which::Policy) => {
                check_policy(file, &against, args.today.unwrap_or(context.today))
            }
            None => file.of_no_kind(),
        };
        findings.add(diagnostics);
    }
    match args.format {
        Format::Json => output::json(out, &findings.to_json())?,
        Format::Text => {
            output::text(out, &findings.to_text(context.colour))?;
            if files.iter().any(|file| file.kind == Some(Which::Policy)) {
                output::text(out, &against.remark())?;
            }
            output::text(out, &findings.closing_line(args.deny_warnings))?;
        }
    }
    Ok(findings.exit(args.deny_warnings))
}

/// All findings about a policy: its form and meaning, its examples, and rules past their day.
fn check_policy(file: &File, against: &Against, today: Date) -> Diagnostics {
    let compiled = against
        .ground()
        .map(|ground| ground.with_policy(&file.name, file.text.as_str().into(), Known::default()));
    let mut diagnostics = match compiled {
        Some(Ok(edition)) => edition.policy_warnings(today),
        Some(Err(findings)) => with_expired(findings, file, today),
        None => with_expired(policy::check_alone(&file.name, &file.text), file, today),
    };
    diagnostics.sort();
    diagnostics
}

fn with_expired(mut findings: Diagnostics, file: &File, today: Date) -> Diagnostics {
    findings.append(policy::expired(&file.name, &file.text, today));
    findings
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
            _ => "refused",
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
