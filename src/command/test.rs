//! `tradewind test`: the examples inside rules, tried.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::against::Against;
use super::file::File;
use super::output::{self, Format, Text, counted};
use super::{CommandError, Context, Exit};
use crate::engine::document::{Diagnostics, Limits, Source};
use crate::engine::edition::{Edition, Ground, Known, Which};
use crate::engine::examples::{self, Tried};
use crate::engine::policy::Rule;

/// Arguments of `tradewind test`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind test policy.yaml topology.yaml
  tradewind test policy.yaml --topology fleet.yaml --rule video --format json

A rule shows what it is for by requests, and what is to become of them:

  examples:
    match:
      - {url: 'https://www.example.com/video/1.mp4', country: DE, lat: 50.1, lon: 8.7, then: {site: fra}}
    no_match:
      - {url: 'https://www.example.com/', then: {rule: rest}}

They are decided by policy and topology alone: every node ready, nothing measured, no geo files. `check` and every
sidecar try them too, and refuse a new policy for one that comes out otherwise.

Exit status: 0 all hold, 1 one does not or a file is refused, 2 wrong usage or unreadable files.")]
pub struct Args {
    /// Policy files, and the topology they are for, in any order; what a file is, its `kind` says
    #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// The topology, when it is not among FILE
    #[arg(long, value_name = "FILE", env = "TRADEWIND_TOPOLOGY", value_hint = clap::ValueHint::FilePath)]
    pub topology: Option<PathBuf>,
    /// Only the examples of this rule; may be given several times
    #[arg(
        long = "rule",
        value_name = "NAME",
        env = "TRADEWIND_RULE",
        value_delimiter = ','
    )]
    pub rules: Vec<String>,
    /// How to write results: a line for each example, or JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Tries the examples; the exit status says whether all hold.
pub fn run(args: &Args, context: &Context, out: &mut impl Write) -> Result<Exit, CommandError> {
    let files = File::read_all(&args.files)?;
    if let Some(file) = files.iter().find(|file| file.kind.is_none()) {
        let findings = file.of_no_kind();
        return Err(refused_files(vec![file.name.clone()], findings));
    }
    let against = Against::choose(args.topology.as_deref(), &files)?;
    let policies: Vec<&File> = files
        .iter()
        .filter(|file| file.kind == Some(Which::Policy))
        .collect();
    let Some(ground) = against.ground().filter(|_| !policies.is_empty()) else {
        return Err(nothing_to_try(&files, &against));
    };
    let editions = compiled(&policies, ground)?;
    let mut report = Report::default();
    for (file, edition) in policies.iter().zip(&editions) {
        report.add(file, edition, &args.rules);
    }
    if let Some(unknown) = args.rules.iter().find(|name| !report.knows(name)) {
        return Err(CommandError::NoSuchRule {
            name: unknown.clone(),
        });
    }
    match args.format {
        Format::Json => output::json(out, &report)?,
        Format::Text => {
            output::text(out, &report.to_text(context.colour))?;
            output::text(out, &against.remark())?;
        }
    }
    Ok(if report.failed == 0 {
        Exit::Good
    } else {
        Exit::Refused
    })
}

/// Why no example can be tried: no policy was given, or the topology is refused.
fn nothing_to_try(files: &[File], against: &Against) -> CommandError {
    let topologies = files
        .iter()
        .filter(|file| file.kind == Some(Which::Topology));
    let refused = topologies
        .filter(|_| against.ground().is_none())
        .find_map(|file| {
            let findings = Ground::compile(&file.name, file.text.as_str().into(), None).err()?;
            Some(refused_files(vec![file.name.clone()], findings))
        });
    refused.unwrap_or(CommandError::NoPolicy)
}

fn refused_files(names: Vec<String>, findings: Diagnostics) -> CommandError {
    CommandError::Refused {
        files: names.into_iter().map(|name| format!("`{name}`")).collect(),
        diagnostics: Box::new(findings),
    }
}

/// The policies, compiled whatever their examples come to.
fn compiled(policies: &[&File], ground: &Ground) -> Result<Vec<Edition>, CommandError> {
    let known = Known::in_force();
    let mut editions = Vec::new();
    let (mut names, mut findings) = (Vec::new(), Diagnostics::default());
    for file in policies {
        match ground.with_policy(&file.name, file.text.as_str().into(), known) {
            Ok(edition) => editions.push(edition),
            Err(faults) => {
                names.push(file.name.clone());
                findings.append(faults);
            }
        }
    }
    if names.is_empty() {
        Ok(editions)
    } else {
        Err(refused_files(names, findings))
    }
}

/// What became of all examples.
#[derive(Default, Serialize)]
struct Report {
    examples: Vec<Example>,
    held: usize,
    failed: usize,
    /// Rules that show nothing.
    rules_without: Vec<String>,
    #[serde(skip)]
    known: BTreeMap<String, usize>,
}

/// What became of one.
#[derive(Serialize)]
struct Example {
    file: String,
    line: usize,
    rule: String,
    /// `match` or `no_match`.
    list: &'static str,
    url: String,
    holds: bool,
    got: Got,
    /// What is not as the example says.
    wrong: Vec<String>,
}

/// What a request got.
#[derive(Serialize)]
struct Got {
    rule: Option<String>,
    verdict: &'static str,
    reason: &'static str,
    site: Option<String>,
    node: Option<String>,
}

impl Report {
    fn add(&mut self, file: &File, edition: &Edition, only: &[String]) {
        let policy = Arc::clone(edition.policy());
        let (source, _) = Source::read(&file.name, &file.text, &Limits::default());
        let wanted = |name: &str| only.is_empty() || only.iter().any(|rule| rule == name);
        let rules = policy.routing().rules();
        for Rule { name, .. } in rules {
            self.known.insert(name.to_string(), 0);
        }
        for tried in examples::try_all(&policy, edition.topology()) {
            *self.known.entry(tried.rule.to_owned()).or_default() += 1;
            if wanted(tried.rule) {
                self.examples.push(Example::of(file, &source, tried));
            }
        }
        let shows_nothing =
            |rule: &&Rule| wanted(&rule.name) && self.known.get(&*rule.name) == Some(&0);
        let without = rules.iter().filter(shows_nothing);
        let without: Vec<String> = without.map(|rule| rule.name.to_string()).collect();
        self.rules_without.extend(without);
        self.held = self.examples.iter().filter(|example| example.holds).count();
        self.failed = self.examples.len() - self.held;
    }

    fn knows(&self, rule: &str) -> bool {
        self.known.contains_key(rule)
    }

    fn to_text(&self, colour: bool) -> String {
        let mut text = Text::default();
        let mut rule = None;
        for example in &self.examples {
            if rule != Some(&example.rule) {
                rule = Some(&example.rule);
                text.line(format_args!("rule {}", example.rule));
            }
            text.line(format_args!("  {}", example.to_line(colour)));
        }
        let examples = counted(self.examples.len(), "example");
        let verdict = if self.failed == 0 { "good" } else { "failed" };
        text.line(format_args!(
            "{verdict}: {examples}, {} hold, {} do not",
            self.held, self.failed
        ));
        if !self.rules_without.is_empty() {
            let names = self.rules_without.join(", ");
            text.line(format_args!("rules without an example: {names}"));
        }
        text.into_string()
    }
}

impl Example {
    fn of(file: &File, source: &Source, tried: Tried<'_>) -> Self {
        let owned = |text: Option<Box<str>>| text.map(String::from);
        Self {
            file: file.name.clone(),
            line: examples::line(source, tried.example),
            rule: tried.rule.to_owned(),
            list: tried.example.list.name(),
            url: tried.example.request.url.to_string(),
            holds: tried.holds(),
            got: Got {
                rule: owned(tried.came_out.rule),
                verdict: tried.came_out.verdict.name(),
                reason: tried.came_out.reason,
                site: owned(tried.came_out.site),
                node: owned(tried.came_out.node),
            },
            wrong: tried.wrong,
        }
    }

    fn to_line(&self, colour: bool) -> String {
        let word = match (self.holds, colour) {
            (true, _) => "ok     ",
            (false, false) => "FAILED ",
            (false, true) => "\u{1b}[31mFAILED\u{1b}[0m ",
        };
        if !self.holds {
            let wrong = self.wrong.join(", ");
            return format!(
                "{word} {} {}: {wrong} ({}:{})",
                self.list, self.url, self.file, self.line
            );
        }
        let got = match (&self.got.rule, &self.got.node, &self.got.site) {
            (Some(rule), Some(node), Some(site)) => format!("rule {rule}, node {node} at {site}"),
            (Some(rule), _, _) => {
                format!("rule {rule}, {} ({})", self.got.verdict, self.got.reason)
            }
            (None, _, _) => format!("{} ({})", self.got.verdict, self.got.reason),
        };
        format!("{word} {} {}: {got}", self.list, self.url)
    }
}
