//! Findings shown in the text that they are about.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::code::Severity;
use super::diagnostic::{Diagnostic, Diagnostics};

impl Diagnostics {
    /// Every finding with an excerpt of the text, for people; `colour` adds terminal colours.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut text = String::new();
        for diagnostic in &self.items {
            text.push_str(&renderer.render(&[diagnostic.group()]));
            text.push_str("\n\n");
        }
        if self.dropped > 0 {
            text.push_str("and ");
            text.push_str(&self.dropped.to_string());
            text.push_str(" more, not shown\n");
        }
        text
    }
}

impl Diagnostic {
    fn group(&self) -> Group<'_> {
        let level = match self.severity() {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level
            .primary_title(self.full_message())
            .id(self.code.name());
        let group = if self.excerpt.is_empty() {
            let origin = Origin::path(self.file.as_str()).line(self.line);
            title.element(origin.char_column(self.column))
        } else {
            title.element(self.snippet())
        };
        group.element(Level::HELP.message(self.help.as_str()))
    }

    fn snippet(&self) -> Snippet<'_, Annotation<'_>> {
        let place = if self.path.is_empty() {
            String::new()
        } else {
            format!("at {}", self.path)
        };
        let mark = AnnotationKind::Primary.span(self.marked.clone());
        Snippet::source(self.excerpt.as_str())
            .line_start(self.line)
            .path(self.file.as_str())
            .annotation(mark.label(place))
    }

    /// What was wrong, and in how many more places.
    fn full_message(&self) -> String {
        format!("{}{}", self.message, self.also)
    }
}
