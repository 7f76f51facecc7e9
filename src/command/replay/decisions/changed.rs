//! What another policy would change: every decision of the log is made by it too, with the fleet as it was.
//!
//! What was measured goes over as it does when a policy takes effect: sets of nodes and classes that mean the same keep it.
//! Clients are taken to be where they were taken to be then.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::again::{Again, decide};
use crate::command::CommandError;
use crate::engine::decision::Decision;
use crate::engine::edition::{Edition, Known};
use crate::engine::evaluate::Evaluation;
use crate::engine::freshness::Fresh;
use crate::engine::model::printable;
use crate::engine::snapshot::{Parts, Snapshot};
use crate::sidecar::decision_log::least;
use crate::sidecar::wire::answer::{self, Envelope};
use crate::sidecar::wire::proto::{DecideRequest, DecideResponse};

/// Examples that are kept.
const MAX_EXAMPLES: usize = 10;

/// Ways of changing that are told apart; what is beyond goes by one name.
const MAX_WAYS: usize = 10_000;

/// What is said where there is none: no rule, no site, no node.
const NONE: &str = "-";

/// Another policy, tried on decisions.
#[derive(Debug)]
pub(super) struct Candidate {
    name: String,
    text: Arc<str>,
    edition: Option<Edition>,
    snapshot: Option<Snapshot>,
    changes: Changes,
    /// Examples of those that only another rule decides.
    renamed: Vec<String>,
    ways: BTreeMap<Way, u64>,
}

/// What would change.
#[derive(Debug, Default, Serialize)]
pub(super) struct Changes {
    /// The policy's file.
    pub(super) policy: String,
    /// Decisions that were made by both.
    pub(super) compared: u64,
    /// Those that get another first node, or none.
    pub(super) first_node: u64,
    /// Those that get the same first node and other nodes behind it.
    pub(super) other_nodes: u64,
    /// Those that another rule decides.
    pub(super) rule: u64,
    /// Those that were routed and are refused.
    pub(super) newly_refused: u64,
    /// Requests that cannot be read by the new policy.
    pub(super) unreadable: u64,
    /// By rule and site, the most frequent first.
    pub(super) ways: Vec<WayCount>,
    /// Some of them, in words.
    pub(super) examples: Vec<String>,
}

/// From where to where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Way {
    pub(super) from_rule: String,
    pub(super) to_rule: String,
    pub(super) from_site: String,
    pub(super) to_site: String,
}

/// How many go one way.
#[derive(Debug, Serialize)]
pub(super) struct WayCount {
    #[serde(flatten)]
    pub(super) way: Way,
    pub(super) count: u64,
}

impl Candidate {
    pub(super) fn new(name: String, text: Arc<str>) -> Self {
        Self {
            changes: Changes {
                policy: name.clone(),
                ..Changes::default()
            },
            name,
            text,
            edition: None,
            snapshot: None,
            renamed: Vec::new(),
            ways: BTreeMap::new(),
        }
    }

    /// Makes a decision by this policy, with the fleet as it was when `before` was answered.
    pub(super) fn try_on(
        &mut self,
        again: &Again,
        (request, known): (&DecideRequest, &least::Known),
        before: &DecideResponse,
    ) -> Result<(), CommandError> {
        let Some((edition, snapshot)) = again.last() else {
            return Ok(());
        };
        self.follow(edition, snapshot)?;
        let Some(mine) = &self.snapshot else {
            return Ok(());
        };
        let message = |evaluation: &Evaluation| message(mine, evaluation);
        match decide(mine, (request, known), message) {
            Ok(after) => self.compare(request, before, &after),
            Err(_) => self.changes.unreadable += 1,
        }
        Ok(())
    }

    /// Goes on to the fleet of a decision.
    fn follow(&mut self, edition: &Edition, snapshot: &Snapshot) -> Result<(), CommandError> {
        let is_same = |mine: &Snapshot| {
            mine.generation() == snapshot.generation()
                && Arc::ptr_eq(&mine.parts().topology, &snapshot.parts().topology)
        };
        if self.snapshot.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let known = Known::of(self.edition.as_ref());
        let compiled = edition
            .ground()
            .with_policy(&self.name, Arc::clone(&self.text), known);
        let mine = compiled.map_err(|findings| CommandError::Refused {
            files: vec![self.name.clone()],
            diagnostics: Box::new(findings),
        })?;
        let mut signals = snapshot.signals().clone();
        signals.numbers = Arc::clone(snapshot.numbers());
        let parts = Parts {
            policy: Arc::clone(mine.policy()),
            candidate: None,
            signals: Arc::new(signals),
            ..snapshot.parts().clone()
        };
        let built = Snapshot::build(snapshot.generation(), parts, self.snapshot.as_ref());
        (self.edition, self.snapshot) = (Some(mine), Some(built));
        Ok(())
    }

    fn compare(
        &mut self,
        request: &DecideRequest,
        before: &DecideResponse,
        after: &DecideResponse,
    ) {
        let changes = &mut self.changes;
        changes.compared += 1;
        let is_first = first(before).0 != first(after).0;
        let is_list = !nodes(before).eq(nodes(after));
        let is_rule = before.rule != after.rule;
        changes.first_node += u64::from(is_first);
        changes.other_nodes += u64::from(is_list && !is_first);
        changes.rule += u64::from(is_rule);
        let is_refused = !before.candidates.is_empty() && after.candidates.is_empty();
        changes.newly_refused += u64::from(is_refused);
        if !is_first && !is_rule {
            return;
        }
        let examples = if is_first {
            &mut changes.examples
        } else {
            &mut self.renamed
        };
        if examples.len() < MAX_EXAMPLES {
            examples.push(words(request, before, after));
        }
        let way = Way {
            from_rule: or_none(&before.rule),
            to_rule: or_none(&after.rule),
            from_site: first(before).1,
            to_site: first(after).1,
        };
        if self.ways.len() < MAX_WAYS || self.ways.contains_key(&way) {
            *self.ways.entry(way).or_default() += 1;
        }
    }

    /// All of it.
    pub(super) fn finish(mut self) -> Changes {
        let ways = self.ways.into_iter();
        let mut ways: Vec<WayCount> = ways.map(|(way, count)| WayCount { way, count }).collect();
        ways.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.way.cmp(&b.way)));
        self.changes.ways = ways;
        // What goes elsewhere says more.
        let left = MAX_EXAMPLES.saturating_sub(self.changes.examples.len());
        let renamed = self.renamed.into_iter().take(left);
        self.changes.examples.extend(renamed);
        self.changes
    }
}

fn message(snapshot: &Snapshot, evaluation: &Evaluation) -> DecideResponse {
    let envelope = Envelope {
        request_id: "",
        decision_id: "",
        revision: 0,
        policy_digest: "",
        freshness_floor: 0,
        fresh: Fresh::default(),
        is_freshness_known: true,
        known_place: None,
    };
    answer::message(&Decision::new(snapshot, evaluation), &envelope)
}

fn nodes(answer: &DecideResponse) -> impl Iterator<Item = &str> {
    answer.candidates.iter().map(|it| it.node.as_str())
}

/// The first node and its site.
fn first(answer: &DecideResponse) -> (String, String) {
    let first = answer.candidates.first();
    first.map_or_else(
        || (NONE.to_owned(), NONE.to_owned()),
        |it| (it.node.clone(), it.site.clone()),
    )
}

fn or_none(name: &str) -> String {
    if name.is_empty() { NONE } else { name }.to_owned()
}

/// One that changes, and why: `www.example.com/a: rule video, node fra-1 at FRA (owner) -> rule blue, node ams-2 at AMS (owner)`.
fn words(request: &DecideRequest, before: &DecideResponse, after: &DecideResponse) -> String {
    let path = request.path.split('?').next().unwrap_or_default();
    let url = printable(&format!("{}{path}", request.host), 120);
    let side = |answer: &DecideResponse| {
        let rule = or_none(&answer.rule);
        let reason = &answer.reason;
        match answer.candidates.first() {
            Some(first) => format!(
                "rule {rule}, node {} at {} ({reason})",
                first.node, first.site
            ),
            None => format!("rule {rule}, refused ({reason})"),
        }
    };
    format!("{url}: {} -> {}", side(before), side(after))
}
