//! What a person on call asks first, answered in sentences: is it up, is it slow, is anything failing, did the last change
//! alter anything; what needs a look, worst first; and what is in force.
//!
//! Made here and not by the page, so that the page, the terminal and a script say the same. Everything is taken from one
//! [`Ground`]; nothing here keeps a state of its own.

mod answers;
mod in_force;
mod needs;

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::fleet::Fleet;
use super::moves::Moved;
use crate::clock;
use crate::observe::metrics::Sources;
use crate::state::{Rollouts, Status};
use crate::view::FleetView;
use crate::view::history::{Column, Range, Stretch};
use crate::view::journal::Mark;
use crate::view::standing::{self, Counts, SiteTrouble, Standing};
use crate::view::words;
use tradewind_engine::control::heard::Topic;
use tradewind_engine::lifecycle::Revisions;

/// The page for who has just been woken.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    now_unix_ms: u64,
    ready: bool,
    revision: u64,
    generation: u64,
    mark: Mark,
    headline: String,
    line: String,
    answers: Vec<Answer>,
    needs: Vec<Need>,
    needs_not_shown: usize,
    in_force: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions_per_s: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_per_s: Option<f32>,
}

/// One of the four answers.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Answer {
    key: &'static str,
    question: &'static str,
    mark: Mark,
    #[serde(rename = "answer")]
    said: String,
    short: String,
    proof: Vec<Part>,
}

/// A piece of a sentence; names of nodes and sites stand by themselves, so that a page can make links of them.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Part {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
}

impl Part {
    fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    fn node(id: &str) -> Self {
        Self {
            text: id.to_owned(),
            node: Some(id.to_owned()),
            site: None,
        }
    }

    fn site(id: &str) -> Self {
        Self {
            text: id.to_owned(),
            node: None,
            site: Some(id.to_owned()),
        }
    }
}

/// Something that needs a look.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Need {
    mark: Mark,
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    state: String,
    why: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    becomes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_ms: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    back: String,
}

/// A node by its id, and how it is.
type Marked<'g> = (&'g str, &'g Standing);

/// Everything that the answers rest on.
pub(super) struct Ground<'s> {
    sources: &'s Sources,
    status: Arc<Status>,
    view: &'s FleetView,
    /// `None` before a policy is in force.
    fleet: Option<Fleet<'s>>,
    /// All nodes together.
    counts: Counts,
    /// Every site with its standing.
    sites: Vec<(String, Standing)>,
    rollouts: Rollouts,
    revisions: Revisions,
    moved: Option<Arc<Moved>>,
    quarter: Stretch,
    is_ready: bool,
    now_unix_ms: u64,
}

impl<'s> Ground<'s> {
    fn newest(&self, column: Column) -> Option<f32> {
        self.sources.state.history.newest(column)
    }

    /// Whether anybody has told how attempts went.
    fn is_heard(&self) -> bool {
        !self.view.hearing.reporters.is_empty()
    }

    /// Whether somebody tells of failures that nobody else sees.
    fn has_disbelieved_failures(&self) -> bool {
        let reporters = self.view.hearing.reporters.iter();
        let mut topics = reporters.flat_map(|reporter| &reporter.disagrees);
        topics.any(|seen| seen.about == Topic::Failures.name())
    }

    /// That requests are answered without a decision, as a sentence; `None` while all are decided.
    fn unanswered(&self) -> Option<String> {
        let rate = self.newest(Column::Unanswered).filter(|rate| *rate > 0.0)?;
        let why = if self.fleet.is_some() {
            "they cannot be read"
        } else {
            "nothing is in force"
        };
        let rate = words::rate(f64::from(rate));
        Some(format!(" {rate} are answered without a decision: {why}."))
    }

    /// The mean of a column over some slots before and after a moment, as far as they are known.
    fn around(&self, column: Column, at_unix_ms: u64) -> (Option<f32>, Option<f32>) {
        // Two minutes on each side.
        const SLOTS: usize = 24;
        let started = self.sources.process.started_unix_ms;
        let until = started + self.quarter.until_ms;
        let ago = until.saturating_sub(at_unix_ms) / self.quarter.step_ms;
        let values = self.quarter.columns.iter().find(|(it, _)| *it == column);
        let Some((_, values)) = values else {
            return (None, None);
        };
        let at = values
            .len()
            .checked_sub(usize::try_from(ago).unwrap_or(usize::MAX));
        let Some(at) = at else { return (None, None) };
        let before = values.get(at.saturating_sub(SLOTS + 1)..at.saturating_sub(1));
        let after = values.get(at..(at + SLOTS).min(values.len()));
        (mean(before), mean(after))
    }

    /// Nodes that take more than twice their usual time.
    fn slow_nodes(&self) -> Vec<(&'s str, f32, f32)> {
        let Some(fleet) = &self.fleet else {
            return Vec::new();
        };
        let nodes = fleet.topology().indexed_nodes();
        let slow = nodes.filter_map(|(index, node)| {
            let view = fleet.node(index).filter(|view| standing::is_slow(view))?;
            Some((&*node.id, view.service_p50_ms?, view.usual_p50_ms?))
        });
        slow.collect()
    }

    /// Nodes whose standing has this mark, with it.
    fn marked(&self, mark: Mark) -> Vec<Marked<'_>> {
        let Some(fleet) = &self.fleet else {
            return Vec::new();
        };
        let nodes = fleet.topology().nodes().iter().zip(&fleet.standings);
        let marked = nodes.filter(|(_, standing)| standing.mark == mark);
        marked
            .map(|(node, standing)| (&*node.id, standing))
            .collect()
    }

    /// Sites that requests keep away from though they have nodes in use, with why in two words.
    fn left_sites(&self) -> Vec<(&str, &'static str)> {
        let said = |trouble: SiteTrouble| match trouble {
            SiteTrouble::Unasked => Some("gets no requests"),
            SiteTrouble::Left => Some("was left"),
            SiteTrouble::Sheds => Some("sheds load"),
            SiteTrouble::Out => None,
        };
        let sites = self.sites.iter();
        let left = sites.filter_map(|(id, standing)| Some((&**id, said(standing.site?)?)));
        left.collect()
    }

    /// Sites of which nothing can be used.
    fn out_sites(&self) -> Vec<&str> {
        let sites = self.sites.iter();
        let out = sites.filter(|(_, it)| it.site == Some(SiteTrouble::Out));
        out.map(|(id, _)| &**id).collect()
    }

    /// Whether a node is out at a site that is not out as a whole.
    fn has_out_beside_sites(&self) -> bool {
        let counts = self.fleet.iter().flat_map(|fleet| &fleet.counts);
        let sites = self.sites.iter().zip(counts);
        let mut others = sites.filter(|((_, it), _)| it.site != Some(SiteTrouble::Out));
        others.any(|(_, counts)| counts.out > 0)
    }

    /// Pools and parts of pools on a lower rung.
    fn lower_rungs(&self) -> Vec<(String, &'static str)> {
        let pools = self.view.pools.iter();
        let pools = pools.map(|(pool, view)| (pool.clone(), view.readmission));
        let parts = self.view.parts.iter();
        let parts = parts.map(|part| {
            let name = format!("{} for rule {}", part.pool, part.rule);
            (name, part.view.readmission)
        });
        let lower = pools.chain(parts).filter(|(_, it)| it.step > 0);
        lower.map(|(name, it)| (name, it.readmission)).collect()
    }
}

fn mean(values: Option<&[Option<f32>]>) -> Option<f32> {
    let known: Vec<f32> = values?.iter().flatten().copied().collect();
    let count = tradewind_engine::number::from_u64(known.len() as u64);
    let sum: f32 = known.iter().sum();
    (!known.is_empty()).then(|| sum / tradewind_engine::number::narrow(count))
}

/// Answers all of it, as things are now.
pub(super) fn overview(sources: &Sources) -> Overview {
    let state = &sources.state;
    let published = state.published.load_full();
    let view = state.view.load_full();
    let fleet = published
        .as_deref()
        .map(|published| Fleet::of(state, published, &view));
    let counts = fleet
        .as_ref()
        .map(|fleet| fleet.counts.iter().copied().sum::<Counts>());
    let sites = fleet.as_ref().map_or_else(Vec::new, |fleet| {
        let sites = fleet.sites();
        let named = sites.map(|(index, site)| (site.id.to_string(), fleet.standing_of(index)));
        named.collect()
    });
    let ground = Ground {
        sources,
        status: state.status.load_full(),
        view: &view,
        fleet,
        counts: counts.unwrap_or_default(),
        sites,
        rollouts: state.rollouts.borrow().clone(),
        revisions: state.sources.borrow().revisions.clone(),
        moved: sources.moves.newest(),
        quarter: state.history.stretch(Range::Quarter),
        is_ready: *state.ready.borrow(),
        now_unix_ms: clock::unix_ms(),
    };
    let answers = answers::all(&ground);
    let (mut needs, most) = (needs::all(&ground), needs::MOST);
    let needs_not_shown = needs.len().saturating_sub(most);
    needs.truncate(most);
    let marks = answers.iter().map(|answer| answer.mark);
    let not_well = (ground.counts.not_well > 0).then_some(Mark::Warn);
    Overview {
        now_unix_ms: ground.now_unix_ms,
        ready: ground.is_ready,
        revision: published.as_ref().map_or(0, |it| it.revision),
        generation: published.as_ref().map_or(0, |it| it.snapshot.generation()),
        mark: marks.chain(not_well).max().unwrap_or_default(),
        headline: headline(&ground),
        line: line(&ground),
        answers,
        needs,
        needs_not_shown,
        in_force: in_force::all(&ground),
        decisions_per_s: ground.newest(Column::Decisions),
        refused_per_s: ground.newest(Column::Refused),
    }
}

/// What `tradewind status` says first: the worst of all, and how much is decided.
pub(crate) fn first_line(sources: &Sources) -> String {
    let told = overview(sources);
    format!("{} {}", told.headline, told.line)
}

/// The worst of all in one sentence.
fn headline(ground: &Ground<'_>) -> String {
    if ground.fleet.is_none() {
        return "Nothing is in force: every request is refused.".to_owned();
    }
    if !ground.is_ready {
        return "Not ready: traffic should not come here.".to_owned();
    }
    if ground.view.isolated {
        return "This sidecar may be cut off; verdicts are frozen.".to_owned();
    }
    if let Some(refused) = ground.newest(Column::Refused).filter(|rate| *rate >= 0.05) {
        let rate = words::rate(f64::from(refused));
        return format!("Refusing {rate}.");
    }
    let lower = ground.lower_rungs();
    if let Some((pool, rung)) = lower.first() {
        let rung = rung.replace('_', " ");
        let more = if lower.len() > 1 {
            format!(
                " and {} more",
                words::counted(lower.len() - 1, "part", "parts")
            )
        } else {
            String::new()
        };
        return format!("Serving on a lower rung: pool {pool}{more} is {rung}.");
    }
    let said = troubles(ground);
    if said.is_empty() {
        return match ground.counts.drained {
            0 => "Serving. Every node and site is well.".to_owned(),
            drained => format!(
                "Serving. Every node and site is well; {} drained.",
                words::counted(drained, "node is", "nodes are")
            ),
        };
    }
    format!("Serving. {}.", said.join("; "))
}

/// What is not as it should be, while requests are served all the same.
fn troubles(ground: &Ground<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    let out = ground.counts.out;
    if out > 0 {
        let verb = if out == 1 { "is" } else { "are" };
        parts.push(format!(
            "{} {verb} out",
            words::counted(out, "node", "nodes")
        ));
    }
    let slow = ground.slow_nodes().len();
    if slow > 0 {
        let verb = if slow == 1 { "is" } else { "are" };
        parts.push(if out > 0 {
            format!("{slow} {verb} slow")
        } else {
            format!("{} {verb} slow", words::counted(slow, "node", "nodes"))
        });
    }
    let mut said = Vec::new();
    if !parts.is_empty() {
        said.push(parts.join(", "));
    }
    let left = ground.left_sites();
    said.extend(
        left.iter()
            .take(3)
            .map(|(site, how)| format!("{site} {how}")),
    );
    if left.len() > 3 {
        said.push(format!("{} more sites are left", left.len() - 3));
    }
    let rest = [
        (ground.counts.not_well.saturating_sub(slow), "not well"),
        (ground.counts.coming_back(), "coming back"),
    ];
    for (count, how) in rest.into_iter().filter(|(count, _)| *count > 0) {
        let verb = if count == 1 { "is" } else { "are" };
        let nodes = words::counted(count, "node", "nodes");
        said.push(format!("{nodes} {verb} {how}"));
    }
    said
}

/// How much is decided, and what becomes of what is out.
fn line(ground: &Ground<'_>) -> String {
    let Some(rate) = ground.newest(Column::Decisions) else {
        return "Nothing has been counted yet.".to_owned();
    };
    let refused = ground.newest(Column::Refused).unwrap_or_default();
    let refused = if refused > 0.0 {
        format!("{} refused", words::rate(f64::from(refused)))
    } else {
        "none refused".to_owned()
    };
    let decided = words::amount(f64::from(rate));
    let unanswered = ground.unanswered();
    let mut line = match &unanswered {
        _ if rate > 0.0 => format!("{decided} decisions a second, {refused}."),
        Some(_) => "No decision is made.".to_owned(),
        None => "Nobody asks.".to_owned(),
    };
    line += unanswered.as_deref().unwrap_or_default();
    let sites = ground.out_sites();
    if !sites.is_empty() {
        let sites = words::listed(&sites, 3);
        line = format!("{line} Clients of {sites} are served by the next best site.");
    }
    if ground.has_out_beside_sites() {
        line += " What a node out would have served goes to the next in each key's order.";
    }
    line
}
