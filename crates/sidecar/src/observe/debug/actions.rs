//! What an operator may do from the page: the same calls as the admin door's, by the same desk, into the same audit log.
//!
//! Nothing here is done by a GET. Whoever acts says which revision they looked at (`If-Match`), so that nobody acts on a
//! page that is out of date.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::{Code, Request, Status};

use super::answer::{Shown, fault, refuse};
use super::{Parameters, SharedSources, published, unknown};
use crate::identity::Caller;
use crate::intake::recent::Kept;
use crate::observe::metrics::Sources;
use crate::view::words;
use crate::wire::proto;
use crate::wire::proto::server::admin_service_server::AdminService;
use crate::wire::proto::server::rollout_service_server::RolloutService;
use crate::wire::proto::server::topology_service_server::TopologyService;
use tradewind_engine::model::AdminState;

/// Who acts, where nobody is known by name: the audit log says by which door.
const WHO: &str = "console";

/// A node or a site, and why something is to be done to it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    site: Option<String>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    for_ms: Option<u64>,
}

impl Target {
    fn name(&self) -> &str {
        let name = self.node.as_deref().or(self.site.as_deref());
        name.unwrap_or_default()
    }

    /// What is wrong with it, beyond what the desk finds: it must be one thing that something is done to.
    #[expect(
        clippy::result_large_err,
        reason = "the error is the answer, returned at once"
    )]
    fn is_one(&self) -> Result<(), Response> {
        if self.node.is_some() && self.site.is_some() {
            let both = "both node and site are given, must be one".to_owned();
            return Err(refuse(&[both]));
        }
        Ok(())
    }

    /// The command that drains it, without its reason.
    fn command(&self) -> String {
        let of_site = if self.node.is_none() { "--site " } else { "" };
        format!("tradewind drain {of_site}{}", self.name())
    }

    fn message(&self, state: proto::AdminState) -> proto::SetAdminStateRequest {
        use proto::set_admin_state_request::Target;
        let node = self.node.clone().map(Target::Node);
        proto::SetAdminStateRequest {
            target: node.or_else(|| self.site.clone().map(Target::Site)),
            state: state as i32,
            until: self.for_ms.map(|ms| prost_types::Duration {
                seconds: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
                nanos: i32::try_from(ms % 1_000 * 1_000_000).unwrap_or_default(),
            }),
            who: WHO.to_owned(),
            why: self.reason.clone(),
            only_here: false,
        }
    }
}

/// Something to be done with the rollout that there is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    action: String,
    #[serde(default)]
    reason: String,
}

/// Whether whoever acts has looked at what is in force: the revision is given, and is the one.
#[expect(
    clippy::result_large_err,
    reason = "the error is the answer, returned at once"
)]
fn is_current(sources: &Sources, headers: &HeaderMap) -> Result<(), Response> {
    let published = published(sources)?;
    let revision = published.revision.to_string();
    let given = headers.get(header::IF_MATCH);
    let given = given.and_then(|value| value.to_str().ok());
    match given.map(|given| given.trim_matches('"')) {
        Some(given) if given == revision => Ok(()),
        Some(_) => Err(fault(
            StatusCode::PRECONDITION_FAILED,
            &[&format!(
                "revision {revision} is in force now, look at it first"
            )],
        )),
        None => Err(fault(
            StatusCode::PRECONDITION_REQUIRED,
            &[&format!(
                "if-match is missing: the revision that you looked at, as in `\"{revision}\"`"
            )],
        )),
    }
}

/// Whether whoever acts has looked at what is in force, and names one node or site.
#[expect(
    clippy::result_large_err,
    reason = "the error is the answer, returned at once"
)]
fn may_act((sources, headers): (&Sources, &HeaderMap), target: &Target) -> Result<(), Response> {
    is_current(sources, headers)?;
    target.is_one()
}

/// A call of whoever asks for the action.
pub(super) fn asked<M>(message: M, caller: Option<Extension<Caller>>) -> Request<M> {
    let mut request = Request::new(message);
    if let Some(Extension(caller)) = caller {
        request.extensions_mut().insert(caller);
    }
    request
}

/// What a call was refused for.
pub(super) fn refused(status: &Status) -> Response {
    let code = match status.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    fault(code, &[status.message()])
}

fn done(done: &str, undo: &str) -> Response {
    Shown::of(json!({ "done": done, "undo": undo }))
}

/// Lets a node or a site take no new traffic.
pub(super) async fn drain(
    sources: SharedSources,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    Json(target): Json<Target>,
) -> Response {
    if let Err(response) = may_act((&sources, &headers), &target) {
        return response;
    }
    let message = target.message(proto::AdminState::Drain);
    match sources.desk.set_admin_state(asked(message, caller)).await {
        Ok(set) => {
            let nodes = set.into_inner().nodes_changed as usize;
            let name = target.name();
            let lasting = target.for_ms.map_or_else(
                || "until that is taken back".to_owned(),
                |ms| format!("for {}", words::lasting(ms)),
            );
            let nodes = words::counted(nodes, "node", "nodes");
            done(
                &format!("{name} drains {lasting}; {nodes} changed."),
                &format!("{} --undo --why TEXT", target.command()),
            )
        }
        Err(status) => refused(&status),
    }
}

/// Lets it take traffic again.
pub(super) async fn undrain(
    sources: SharedSources,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    Json(mut target): Json<Target>,
) -> Response {
    if let Err(response) = may_act((&sources, &headers), &target) {
        return response;
    }
    target.for_ms = None;
    if target.reason.is_empty() {
        "taken back in the console".clone_into(&mut target.reason);
    }
    let message = target.message(proto::AdminState::Ready);
    match sources.desk.set_admin_state(asked(message, caller)).await {
        Ok(_set) => {
            let name = target.name();
            done(
                &format!("{name} may take traffic again."),
                &format!("{} --why TEXT", target.command()),
            )
        }
        Err(status) => refused(&status),
    }
}

/// Forgets what a node's breaker holds against it.
pub(super) async fn reset_breaker(
    sources: SharedSources,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    Json(target): Json<Target>,
) -> Response {
    if let Err(response) = may_act((&sources, &headers), &target) {
        return response;
    }
    let node = target.node.clone().unwrap_or_default();
    let message = proto::ResetBreakerRequest { node };
    match sources.desk.reset_breaker(asked(message, caller)).await {
        Ok(_before) => done(
            &format!("{}'s breaker is closed.", target.name()),
            "It opens by itself if the node still fails.",
        ),
        Err(status) => refused(&status),
    }
}

/// Pauses a rollout, lets it go on, takes its next stage, or takes it back.
pub(super) async fn rollout(
    sources: SharedSources,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Response {
    if let Err(response) = is_current(&sources, &headers) {
        return response;
    }
    let (wanted, did, undo) = match order.action.as_str() {
        "pause" => (proto::RolloutOrder::Pause, "paused", "Resume it."),
        "resume" => (proto::RolloutOrder::Resume, "going on", "Pause it."),
        "promote" => (
            proto::RolloutOrder::Promote,
            "at its next stage",
            "tradewind rollout reverse --why TEXT",
        ),
        "abort" => (
            proto::RolloutOrder::Abort,
            "taken back",
            "tradewind rollout start FILE --why TEXT",
        ),
        other => {
            let other = tradewind_engine::model::printable(other, 32);
            let fault = format!("action is `{other}`, must be pause, resume, promote or abort");
            return refuse(&[fault]);
        }
    };
    let why = if order.reason.is_empty() {
        format!("{} in the console", order.action)
    } else {
        order.reason
    };
    let message = proto::OrderRolloutRequest {
        order: wanted as i32,
        who: WHO.to_owned(),
        why,
        ..proto::OrderRolloutRequest::default()
    };
    match sources.desk.order(asked(message, caller)).await {
        Ok(_status) => done(&format!("The rollout is {did}."), undo),
        Err(status) => refused(&status),
    }
}

/// Whether a node, or every node of a site, is drained as things are.
fn is_drained(sources: &Sources, (node, site): (Option<&String>, Option<&String>)) -> bool {
    let published = sources.state.published.load();
    let Some(published) = published.as_deref() else {
        return false;
    };
    let topology = published.snapshot.topology();
    let mut named = topology.nodes().iter().filter(|known| {
        node.is_some_and(|id| **id == *known.id)
            || site.is_some_and(|id| **id == *topology.site(known.site).id)
    });
    let is_any = named.clone().next().is_some();
    is_any && named.all(|known| known.state != AdminState::Ready)
}

/// What would move if a node or a site took nothing, as the sample of decisions has it; of one that takes nothing already,
/// what would move if it did again.
pub(super) async fn impact(sources: SharedSources, parameters: Parameters) -> Response {
    let (sources, parameters) = (sources.0, parameters.0);
    let mut faults = unknown(&parameters, &["node", "site"]);
    let (node, site) = (parameters.get("node"), parameters.get("site"));
    if node.is_some() == site.is_some() {
        faults.push("either node or site is needed".to_owned());
    }
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let recent = sources.recent.recent(usize::MAX);
    let is_gone = |named: &proto::Candidate| {
        node.is_some_and(|id| *id == named.node) || site.is_some_and(|id| *id == named.site)
    };
    let mut to = std::collections::BTreeMap::<&str, usize>::new();
    let (mut all, mut moved) = (0, 0);
    for kept in &recent {
        let kept: &Kept = kept;
        let Some(first) = kept.decision.candidates.first() else {
            continue;
        };
        all += 1;
        if is_gone(first) {
            moved += 1;
            // The next that is named; where none is, other nodes than an answer lists.
            let next = kept.decision.candidates.iter().find(|it| !is_gone(it));
            *to.entry(next.map_or("", |next| &next.node)).or_default() += 1;
        }
    }
    let mut to: Vec<(&str, usize)> = to.into_iter().collect();
    to.sort_by(|(a, x), (b, y)| y.cmp(x).then(a.cmp(b)));
    let ratio = words::ratio(moved, all);
    let names: Vec<&str> = to
        .iter()
        .map(|(node, _)| *node)
        .filter(|node| !node.is_empty())
        .collect();
    let name = node.or(site).map_or("", String::as_str);
    let said = match (all, moved) {
        _ if is_drained(&sources, (node, site)) => {
            format!("{name} takes nothing now. The keys that it owns would come back to it.")
        }
        (0, _) => "No decisions are kept, so what would move is not known.".to_owned(),
        (_, 0) => format!(
            "None of {} kept decisions went to {name}.",
            words::count(all as u64)
        ),
        _ if names.is_empty() => format!("{} of requests would go elsewhere.", words::share(ratio)),
        _ => format!(
            "{} of requests would go elsewhere: to {}.",
            words::share(ratio),
            words::listed(&names, 4)
        ),
    };
    let rows = to.iter().take(20).map(|(node, count)| {
        let node = Some(node).filter(|node| !node.is_empty());
        json!({ "node": node, "share_ratio": words::ratio(*count, moved) })
    });
    Shown::of(json!({
        "decisions": all, "moved_ratio": ratio, "to": rows.collect::<Vec<Value>>(), "words": said,
    }))
}
