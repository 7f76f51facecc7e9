//! An object with all that is known of it: which version may be served and by which purge, which node is its home and who has
//! copies, whether it is hot, how it was decided lately.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::answer::{Shown, fault, refuse};
use super::decisions::Row;
use super::{Parameters, SharedSources, published};
use crate::freshness::records::{Cause, Records};
use crate::intake::explained::{self, SeenObject};
use crate::intake::recent::Kept;
use crate::view::{FailingView, HotView};
use crate::wire::proto::{DecideResponse, Explanation};
use crate::wire::purge::version_text;
use crate::wire::{self};
use tradewind_engine::freshness::selector::{MAX_NAMESPACE_BYTES, is_namespace};
use tradewind_engine::model::printable;

/// Decisions of it that are shown.
const DECISIONS: usize = 5;

#[derive(Debug, Serialize)]
struct Page<'p> {
    decision: DecideResponse,
    explanation: Explanation,
    freshness: Freshness,
    /// The nodes that have it in good times: its home, or those that share it while it is hot.
    copies: Vec<String>,
    hot: Vec<&'p HotView>,
    failing: Vec<&'p FailingView>,
    decisions: Vec<Row<'p>>,
    /// How many kept decisions are of it, how many are not, and how many are kept.
    matching: usize,
    not_matching: usize,
    kept: usize,
}

/// What may be served of it, and why.
#[derive(Debug, Serialize)]
struct Freshness {
    namespace: String,
    class: String,
    version: u64,
    version_text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    purge: Option<Purge>,
    #[serde(skip_serializing_if = "is_zero")]
    not_older_than_unix_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    soft_purge: Option<Purge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_ttl_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_ttl_why: Option<String>,
}

/// A purge that covers it.
#[derive(Debug, Serialize)]
struct Purge {
    version: String,
    namespace: String,
    /// What of it covers the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    covers: Option<String>,
    who: String,
    why: String,
    submitted_unix_ms: u64,
    in_force_ratio: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Purge {
    fn of(cause: &Cause, records: &Records) -> Self {
        let purged = &cause.record.purged;
        Self {
            version: version_text(purged.sequence),
            namespace: purged.namespace.clone(),
            covers: cause.covers.as_ref().map(ToString::to_string),
            who: purged.who.clone(),
            why: purged.why.clone(),
            submitted_unix_ms: purged.submitted_unix_ms,
            in_force_ratio: records.in_force_ratio(purged.sequence),
        }
    }
}

impl Freshness {
    fn of(seen: SeenObject, records: &Records) -> Self {
        let (fresh, covering) = (seen.fresh, &seen.covering);
        let purge = |cause: Option<Cause>| cause.map(|cause| Purge::of(&cause, records));
        Self {
            version: fresh.version,
            version_text: version_text(fresh.version),
            purge: purge(records.versioned(fresh, covering)),
            not_older_than_unix_ms: fresh.not_older_than_s * 1_000,
            soft_purge: purge(records.softened(fresh, covering)),
            cache_ttl_ms: seen.cache_ttl_ms,
            cache_ttl_why: seen.cache_ttl_why,
            namespace: seen.namespace,
            class: seen.class,
        }
    }
}

/// The page; its parameters are those of a question, and `namespace` to look at the object as one of another.
pub(super) async fn object(sources: SharedSources, parameters: Parameters) -> Response {
    let (sources, mut parameters) = (sources.0, parameters.0);
    // Of the form, not of the request.
    parameters.remove("pretty");
    let namespace = parameters.remove("namespace");
    let (request, mut faults) = wire::from_parameters(&parameters);
    if let Some(name) = namespace.as_deref().filter(|name| !is_namespace(name)) {
        let shown = printable(name, MAX_NAMESPACE_BYTES);
        faults.push(format!("namespace is `{shown}`, must be at most {MAX_NAMESPACE_BYTES} lower case letters, digits, `-`, `_` and `.`"));
    }
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let published = match published(&sources) {
        Ok(published) => published,
        Err(response) => return response,
    };
    let view = sources.state.view.load();
    let unreadable = |error: wire::WireError| fault(StatusCode::BAD_REQUEST, &[&error.to_string()]);
    let explained = explained::explain(&sources.state, &published, &view, &request);
    let explained = match explained {
        Ok(explained) => explained,
        Err(error) => return unreadable(error),
    };
    let seen = explained::see_object(&sources.state, &published, &request, namespace.as_deref());
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => return unreadable(error),
    };
    let freshness = &sources.state.freshness;
    let freshness = freshness.records(|records| Freshness::of(seen, records));
    let decision = explained.decision.unwrap_or_default();
    let explanation = explained.explanation.unwrap_or_default();
    let key_hash = &explanation.key_hash;
    let hot: Vec<&HotView> = view
        .hot
        .iter()
        .filter(|it| it.key_hash == *key_hash)
        .collect();
    let failing = view.failing.iter().filter(|it| it.key_hash == *key_hash);
    let all = sources.recent.recent(usize::MAX);
    // Its hash finds the object under whatever name it was asked for.
    let is_of_it = |kept: &&Arc<Kept>| kept.explanation.key_hash == *key_hash;
    let of_it = || all.iter().filter(is_of_it);
    let matching = of_it().count();
    Shown::of(Page {
        copies: copies(&decision, &explanation, &hot),
        failing: failing.collect(),
        decisions: of_it().take(DECISIONS).map(|kept| Row::of(kept)).collect(),
        matching,
        not_matching: all.len() - matching,
        kept: all.len(),
        hot,
        freshness,
        explanation: explanation.clone(),
        decision,
    })
}

/// The nodes that have an object in good times: its home, or all that share it at the site of its first node while it is hot.
fn copies(decision: &DecideResponse, explanation: &Explanation, hot: &[&HotView]) -> Vec<String> {
    let first = decision.candidates.first();
    let here = first.and_then(|first| hot.iter().find(|it| it.site == first.site));
    if let Some(hot) = here {
        return hot.nodes.clone();
    }
    let home = explanation.home.as_ref().map(|home| home.node.as_str());
    let home = home.filter(|node| !node.is_empty());
    let only = home.or(first.map(|first| first.node.as_str()));
    only.map(str::to_owned).into_iter().collect()
}
