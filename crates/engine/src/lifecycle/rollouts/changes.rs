//! What a candidate changes of the policy in force, and by what requests are to be told apart for that.

use super::RolloutError;
use crate::difference::{self, Difference, Kind, Reach, Reading};
use crate::edition::{Edition, Which};
use crate::snapshot::Cohort;

/// What a candidate changes of the policy in force.
pub(super) struct Changes {
    /// A line each.
    pub(super) lines: Vec<String>,
    reach: Vec<Reach>,
    /// Whether something is changed of how requests are routed that is no matter of matching, placement or site: what proxies are
    /// told beside the nodes.
    is_of_answers: bool,
    /// Whether both say the same.
    pub(super) is_none: bool,
}

impl Changes {
    pub(super) fn between(before: &str, after: &str) -> Self {
        let name = Which::Policy.name();
        let read = |text: &str| Reading::read(Which::Policy, name, text).ok();
        let both = read(before).zip(read(after));
        let found = both.and_then(|(before, after)| difference::between(&before, &after).ok());
        let is_none = found.as_ref().is_some_and(Vec::is_empty);
        let found = found.unwrap_or_default();
        let is_of_answers = |it: &Difference| {
            it.about.kind != Kind::Section && it.reach.contains(&Reach::Operation)
        };
        Self {
            is_of_answers: found.iter().any(is_of_answers),
            is_none,
            lines: found.iter().map(ToString::to_string).collect(),
            reach: found
                .iter()
                .flat_map(|it| it.reach.iter().copied())
                .collect(),
        }
    }

    /// By what requests are to be told apart. Where keys move among nodes, by key: else an object would be fetched by its
    /// nodes of both policies. Where only the choice of site changes, by client group: then each client sees one policy.
    pub(super) fn cohort(
        &self,
        current: &Edition,
        candidate: &Edition,
    ) -> Result<Cohort, RolloutError> {
        let has = |reach| self.reach.contains(&reach);
        let reading = |edition: &Edition| edition.policy().routing().reading().paths;
        if reading(current) != reading(candidate) {
            let why = "`paths` says how every request is read, which cannot be tried on a part of them: apply it";
            return Err(RolloutError::NothingToTry(why));
        }
        if has(Reach::Placement) || has(Reach::Matching) {
            return Ok(Cohort::Key);
        }
        if has(Reach::Site) || self.is_of_answers {
            return Ok(Cohort::ClientGroup);
        }
        Err(RolloutError::NothingToTry(if has(Reach::Operation) {
            "what it changes (breakers, probes, budgets and the like) is one for all requests and cannot be tried on a part of \
             them: apply it"
        } else {
            "it changes nothing that requests could be tried with: apply it"
        }))
    }
}
