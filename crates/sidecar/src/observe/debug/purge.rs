//! Purges by plain HTTP: the same as the admin door's service, by the same desk.

use axum::Extension;
use axum::Json;
use axum::extract::DefaultBodyLimit;
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use serde::Deserialize;
use tonic::Request;

use super::actions::{asked, refused};
use super::answer::{Shown, refuse};
use super::{Parameters, SharedSources, unknown};
use crate::doors::admin::MAX_PURGE_BYTES;
use crate::identity::Caller;
use crate::wire::proto;
use crate::wire::proto::purge_selector::Of;
use crate::wire::proto::server::purge_service_server::PurgeService;
use crate::wire::purge::duration;
use tradewind_engine::document::DurationMs;

/// A purge as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "as the message has them")]
pub(super) struct Purge {
    id: String,
    namespace: String,
    urls: Vec<String>,
    prefixes: Vec<String>,
    tags: Vec<String>,
    hosts: Vec<String>,
    all: bool,
    exact_query: bool,
    soft: bool,
    over: Option<DurationMs>,
    repeat_after: Option<DurationMs>,
    confirm: bool,
    who: String,
    why: String,
    dry_run: bool,
}

impl Purge {
    fn message(self) -> proto::SubmitPurgeRequest {
        let exact_query = self.exact_query;
        let selector = |of: Of| proto::PurgeSelector {
            exact_query: exact_query && matches!(of, Of::Url(_)),
            of: Some(of),
        };
        let named = self.urls.into_iter().map(Of::Url);
        let named = named.chain(self.prefixes.into_iter().map(Of::Prefix));
        let named = named.chain(self.tags.into_iter().map(Of::Tag));
        let named = named.chain(self.hosts.into_iter().map(Of::Host));
        let named = named.chain(self.all.then_some(Of::All(true)));
        proto::SubmitPurgeRequest {
            id: self.id,
            namespace: self.namespace,
            selectors: named.map(selector).collect(),
            soft: self.soft,
            over: self.over.map(|it| duration(it.as_ms())),
            repeat_after: self.repeat_after.map(|it| duration(it.as_ms())),
            confirm: self.confirm,
            who: self.who,
            why: self.why,
            dry_run: self.dry_run,
        }
    }
}

/// The route of purges, which takes as much as the admin door does.
pub(super) fn route() -> MethodRouter<std::sync::Arc<crate::observe::metrics::Sources>> {
    post(purge).layer(DefaultBodyLimit::max(MAX_PURGE_BYTES))
}

async fn purge(
    sources: SharedSources,
    caller: Option<Extension<Caller>>,
    Json(purge): Json<Purge>,
) -> Response {
    match sources.desk.submit(asked(purge.message(), caller)).await {
        Ok(answer) => Shown::of(answer.into_inner()),
        Err(status) => refused(&status),
    }
}

/// Where purges stand.
pub(super) async fn purges(sources: SharedSources, parameters: Parameters) -> Response {
    let parameters = parameters.0;
    let mut faults = unknown(&parameters, &["version"]);
    let version = parameters.get("version");
    let sequence = version.map(|text| u64::from_str_radix(text, 36));
    if let (Some(Err(_)), Some(text)) = (&sequence, version) {
        let shown = tradewind_engine::model::printable(text, 32);
        faults.push(format!(
            "version is `{shown}`, must be as answers have it, like RMV24DO"
        ));
    }
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let sequence = sequence.and_then(Result::ok).unwrap_or(0);
    let request = Request::new(proto::PurgeStatusRequest { sequence });
    match sources.desk.status(request).await {
        Ok(status) => Shown::of(status.into_inner()),
        Err(status) => refused(&status),
    }
}
