//! Collects faults while a decoded document is checked for meaning.

use std::ops::RangeInclusive;

use super::code::Code;
use super::code::Severity;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::duration::DurationMs;
use super::names::Names;
use super::path::Path;
use super::tree::Source;
use crate::model;

/// A collector of faults about one document.
#[derive(Debug)]
pub struct Checker<'a> {
    source: &'a Source,
    faults: Diagnostics,
}

impl<'a> Checker<'a> {
    /// A collector that starts with the faults found while decoding.
    pub fn new(source: &'a Source, faults: Diagnostics) -> Self {
        Self { source, faults }
    }

    /// All faults, in the order of the text.
    pub fn finish(mut self) -> Diagnostics {
        self.faults.sort();
        self.faults
    }

    /// True while nothing that refuses the document was found.
    pub fn is_clean(&self) -> bool {
        !self.faults.has_errors()
    }

    /// Errors found so far: whoever asks before and after knows whether something between was refused.
    pub fn errors(&self) -> usize {
        self.faults.errors()
    }

    /// The document itself, for what findings about it do not need.
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// Whether everything that the document says at `path` was decoded. What rests on something's absence asks first.
    pub fn is_whole(&self, path: &Path<'_>) -> bool {
        self.source.is_whole(path)
    }

    /// Whether every entry of the list at `path` was decoded, with its `field`.
    pub fn has_every(&self, path: &Path<'_>, field: &'static str) -> bool {
        self.source.has_every(path, field)
    }

    /// Whether the document has a value at `path`, rather than a default.
    pub fn is_given(&self, path: &Path<'_>) -> bool {
        self.source.is_given(path)
    }

    /// The document is refused for this. Kept quiet about stand-ins for what is missing: that has been said.
    pub fn error(&mut self, code: Code, path: &Path<'_>, message: String, help: &str) {
        debug_assert_eq!(code.severity(), Severity::Error, "{code}");
        if !self.source.is_stand_in(path) {
            self.push(code, path, message, help);
        }
    }

    /// The document is refused for this byte of the text that it has at `path`.
    pub fn error_within(
        &mut self,
        code: Code,
        path: &Path<'_>,
        at: usize,
        (message, help): (String, &str),
    ) {
        debug_assert_eq!(code.severity(), Severity::Error, "{code}");
        if !self.source.is_stand_in(path) {
            let fault = self.source.fault_within(code, path, at, (message, help));
            self.faults.push(fault);
        }
    }

    /// The document is used, but an operator should look. Kept quiet when parts of it could not be decoded: what is
    /// missing may be what would make it right.
    pub fn warning(&mut self, code: Code, path: &Path<'_>, message: String, help: &str) {
        debug_assert_eq!(code.severity(), Severity::Warning, "{code}");
        if self.source.is_whole(path) {
            self.push(code, path, message, help);
        }
    }

    /// Adds what another document is the cause of, where it stands there.
    pub fn add(&mut self, finding: Diagnostic) {
        self.faults.push(finding);
    }

    fn push(&mut self, code: Code, path: &Path<'_>, message: String, help: &str) {
        let source = self.source;
        let said = Diagnostic::new(code, source.name(), (path.to_string(), message), help);
        self.faults.push_with(&said, || {
            source.fault(code, path, (said.message.clone(), help))
        });
    }

    /// A name that nothing bears. Kept quiet when not all of `names` could be read: it may be among the rest.
    pub fn unknown_name(&mut self, code: Code, path: &Path<'_>, names: &Names<'_>, seen: &str) {
        if names.is_complete() {
            let (message, help) = names.miss(seen);
            self.error(code, path, message, &help);
        }
    }

    /// A number outside its range, or not finite.
    pub fn in_range(
        &mut self,
        code: Code,
        path: &Path<'_>,
        value: f64,
        allowed: &RangeInclusive<f64>,
    ) {
        if !allowed.contains(&value) {
            let (low, high) = (allowed.start(), allowed.end());
            self.error(
                code,
                path,
                format!("{value} is out of range"),
                &format!("allowed are {low} to {high}"),
            );
        }
    }

    /// A duration outside its range, in ms.
    pub fn duration_in(
        &mut self,
        path: &Path<'_>,
        value: DurationMs,
        allowed: &RangeInclusive<u64>,
    ) {
        if !allowed.contains(&value.as_ms()) {
            let [least, most] = [*allowed.start(), *allowed.end()].map(DurationMs::from_ms);
            let help = format!("allowed are {least} to {most}");
            self.error(Code::P006, path, format!("{value} is out of range"), &help);
        }
    }

    /// A text that cannot be the id of anything.
    pub fn id(&mut self, code: Code, path: &Path<'_>, text: &str) {
        if !model::is_id(text) {
            let shown = model::printable(text, 80);
            self.error(
                code,
                path,
                format!("`{shown}` cannot be an id"),
                &format!("an id is {}", model::ID_RULE),
            );
        }
    }

    /// More entries than a stated limit is an error. Says whether the limit is kept, so that nobody works through the
    /// rest.
    pub fn at_most(&mut self, code: Code, path: &Path<'_>, count: usize, limit: usize) -> bool {
        let fits = count <= limit;
        if !fits {
            self.error(
                code,
                path,
                format!("{count} entries, at most {limit} are allowed"),
                "split or shorten the list",
            );
        }
        fits
    }

    /// `apiVersion` and `kind` say what the file must be.
    pub fn envelope(
        &mut self,
        (version, kind): (&str, &str),
        (wanted_version, wanted_kind): (&str, &str),
    ) {
        if version != wanted_version {
            let message = format!("apiVersion is `{version}`");
            self.error(
                Code::D011,
                &Path::Root.field("apiVersion"),
                message,
                &format!("this version reads {wanted_version}"),
            );
        }
        if kind != wanted_kind {
            let message = format!("kind is `{kind}`");
            self.error(
                Code::D011,
                &Path::Root.field("kind"),
                message,
                &format!("a {wanted_kind} is expected in this file"),
            );
        }
    }
}
