//! A rule's `when`: an expression of CEL, the Common Expression Language, over the facts of a request.
//!
//! The crate `cel` parses it, so the grammar is everybody's. What it gives is checked and turned into terms of our own when
//! the policy is compiled: names and kinds are settled then, and a request meets nothing but comparisons of its facts. So
//! evaluating is total, allocates nothing, and takes no longer than the expression is: what might (a list made as it goes, a
//! pattern that comes with the request, a loop in a loop) is refused. The crate's own interpreter is the oracle in tests.

mod fact;
mod read;
mod scan;
mod term;

use super::origin::Origin;
use crate::document::{Checker, Code, Path};
use crate::query::Query;
use fact::Facts;
use term::{Fault, Test};

/// Most `matches` in all expressions of one policy: each may take 256 KiB and some milliseconds to compile.
const MAX_PATTERNS: usize = 256;

/// What all expressions of a policy may use together.
#[derive(Debug)]
pub(super) struct Budget {
    patterns: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            patterns: MAX_PATTERNS,
        }
    }
}

/// An expression that a rule demands to hold.
#[derive(Debug)]
pub(super) struct When {
    test: Test,
    headers: Vec<Box<str>>,
}

impl When {
    /// Whether it holds for a request; else why it says nothing of it. `host` is in normal form.
    pub(super) fn holds(
        &self,
        query: &Query<'_>,
        host: &str,
        origin: Origin,
    ) -> Result<bool, Fault<'_>> {
        self.test.holds(&Facts::new(query, host, origin))
    }

    /// The headers it looks at, each once.
    pub(super) fn headers(&self) -> &[Box<str>] {
        &self.headers
    }
}

/// Checks an expression and makes it ready.
pub(super) fn compile(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    text: &str,
    budget: &mut Budget,
) -> Option<When> {
    let read = match read::read(text, &mut budget.patterns) {
        Ok(read) => read,
        Err(refusal) => {
            let said = (refusal.message, refusal.help.as_str());
            checker.error_within(refusal.code, path, refusal.at, said);
            return None;
        }
    };
    if !read.looks_at_request {
        let message = "an expression that comes to the same for every request".to_owned();
        let help = "compare something of the request or the client, or delete it";
        checker.warning(Code::P046, path, message, help);
    }
    Some(When {
        test: read.test,
        headers: read.headers.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests;
