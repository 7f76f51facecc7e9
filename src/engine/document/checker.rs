//! Collects faults while a decoded document is checked for meaning.

use std::ops::RangeInclusive;

use super::diagnostic::{Diagnostics, Severity};
use super::path::Path;
use super::tree::Source;
use crate::engine::model;

/// A collector of faults about one document.
#[derive(Debug)]
pub struct Checker<'a> {
    source: &'a Source,
    faults: Diagnostics,
    complete: bool,
}

impl<'a> Checker<'a> {
    /// A collector that starts with the faults found while decoding.
    pub fn new(source: &'a Source, faults: Diagnostics) -> Self {
        let complete = faults.is_empty();
        Self {
            source,
            faults,
            complete,
        }
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

    /// The document is refused for this.
    pub fn error(&mut self, code: &'static str, path: &Path<'_>, message: String, help: &str) {
        let source = self.source;
        self.faults.push_with(Severity::Error, || {
            source.fault(Severity::Error, code, path, (message, help))
        });
    }

    /// The document is used, but an operator should look. Kept quiet when parts could not be decoded: what is missing
    /// may be what would make it right.
    pub fn warning(&mut self, code: &'static str, path: &Path<'_>, message: String, help: &str) {
        let source = self.source;
        if !self.complete {
            return;
        }
        self.faults.push_with(Severity::Warning, || {
            source.fault(Severity::Warning, code, path, (message, help))
        });
    }

    /// A name that nothing bears. Kept quiet when parts could not be decoded: what it names may be among them.
    pub fn unknown_name(
        &mut self,
        code: &'static str,
        path: &Path<'_>,
        message: String,
        help: &str,
    ) {
        if self.complete {
            self.error(code, path, message, help);
        }
    }

    /// A number outside its range, or not finite.
    pub fn in_range(
        &mut self,
        code: &'static str,
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

    /// A text that can not be the id of anything.
    pub fn id(&mut self, code: &'static str, path: &Path<'_>, text: &str) {
        if !model::is_id(text) {
            let shown = model::printable(text, 80);
            self.error(
                code,
                path,
                format!("`{shown}` can not be an id"),
                &format!("an id is {}", model::ID_RULE),
            );
        }
    }

    /// More entries than a stated limit is an error. Says whether the limit is kept, so that nobody works through the
    /// rest.
    pub fn at_most(
        &mut self,
        code: &'static str,
        path: &Path<'_>,
        count: usize,
        limit: usize,
    ) -> bool {
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
                "D011",
                &Path::Root.field("apiVersion"),
                message,
                &format!("this version reads {wanted_version}"),
            );
        }
        if kind != wanted_kind {
            let message = format!("kind is `{kind}`");
            self.error(
                "D011",
                &Path::Root.field("kind"),
                message,
                &format!("a {wanted_kind} is expected in this file"),
            );
        }
    }
}
