//! Rules' `when` in a build without the feature `cel`: there is none, and a policy that has one is refused.

use std::convert::Infallible;

use super::origin::Origin;
use crate::document::{Checker, Code, Path};
use crate::query::Query;

/// What all expressions of a policy may use together.
#[derive(Debug, Default)]
pub(super) struct Budget {}

/// An expression that a rule demands to hold: no build without the feature makes one.
#[derive(Debug)]
pub(super) enum When {}

impl When {
    pub(super) fn holds(&self, _: &Query<'_>, _: &str, _: Origin) -> Result<bool, Infallible> {
        match *self {}
    }

    pub(super) fn headers(&self) -> &[Box<str>] {
        match *self {}
    }
}

/// Refuses it: a rule without its `when` would be met by requests that it is not for.
pub(super) fn compile(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    _: &str,
    _: &mut Budget,
) -> Option<When> {
    let message = "this program is built without expressions (its feature `cel`)".to_owned();
    let help = "say it with `match`, or use a build with the feature `cel`";
    checker.error(Code::P045, path, message, help);
    None
}

#[cfg(test)]
mod tests {
    use super::super::check_alone;
    use super::*;

    #[test]
    fn a_policy_with_an_expression_is_refused() {
        let text = "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools: [{name: edge}]\n  rules:\n  \
            - {name: a, owner: us, rollback: none, pools: [edge], when: \"true\"}\n  \
            - {name: b, owner: us, rollback: none, pools: [edge]}\n";
        let found = check_alone("p", text);
        let codes: Vec<Code> = found.items().iter().map(|found| found.code).collect();
        assert_eq!(codes, [Code::P045]);
        assert!(found.has_errors() && found.to_lines()[0].contains("spec.rules[0].when"));
    }
}
